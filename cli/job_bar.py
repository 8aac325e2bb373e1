"""One line in the terminal that moves with a job."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from client import Job, JobStatus


class JobBar:
    """A context manager; `show` moves the bar to where the job is."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("     {task.description:>13}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
        self._bars = Progress(*columns, console=console)
        self._bar = self._bars.add_task(JobStatus.QUEUED.value, total=1.0)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def show(self, job: Job) -> None:
        """The stage while it runs, the status otherwise; full when it has succeeded."""
        running = job.progress if job.status is JobStatus.RUNNING else None
        fraction = 1.0 if job.status is JobStatus.SUCCEEDED else job.progress.fraction if job.progress else 0.0
        self._bars.update(self._bar, description=running.stage if running else job.status.value, completed=fraction)
