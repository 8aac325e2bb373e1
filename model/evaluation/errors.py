"""What can go wrong in an evaluation: one class per thing the user can fix. Everything else is a bug."""


class EvaluationError(Exception):
    """The folder of results cannot be scored. `str(error)` is a full sentence for the user."""
