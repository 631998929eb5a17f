"""One figure per analyzer, of the same name: result table -> Figure."""
