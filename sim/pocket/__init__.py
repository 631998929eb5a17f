"""The small language model of the project: its text, training, evaluation and weights."""
