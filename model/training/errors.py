"""What can go wrong in training: one class per thing the user can fix. Everything else is a bug."""


class TrainingError(Exception):
    """Base of all errors that whoever trains can act on. `str(error)` is a full sentence for them."""


class DatasetError(TrainingError):
    """The dataset is missing, damaged, of another form, or holds nothing to train on."""


class ConfigError(TrainingError):
    """The training's configuration cannot be read, names a setting there is not, or does not fit data or weights."""
