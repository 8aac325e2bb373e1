"""Why a render stops early without having failed. Raised from progress callbacks, caught in `worker.render`."""


class Interruption(Exception):
    """Base of the reasons. The lease that is gone, `core.job_store.LeaseLost`, is the one reason that core names."""


class JobCanceled(Interruption):
    """The user asked for the job to be canceled."""


class ShuttingDown(Interruption):
    """This worker was asked to stop; another one will go on from the last checkpoint."""
