"""Faults that end a run with one sentence."""


class Refusal(ValueError):
    """What was asked for cannot be done; says the rule, the name and the value got."""


class CallFailed(RuntimeError):
    """A call to a model failed for good where the study wants to stop at that."""
