"""Rules of games: numbers in, numbers out, and words for language models."""
