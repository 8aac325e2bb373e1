"""What a job is: settings, errors, jobs, the job store, storage, the queue, metrics and logging."""

__version__ = "0.1.0"
