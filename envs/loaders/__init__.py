"""Dilemmas from files, one format each."""
