"""One question per file: from the tables of a run to a result table."""
