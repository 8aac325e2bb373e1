"""`highsync submit`, `batch`, `status`, `watch`, `cancel`, `download`: a service elsewhere, through its API.

For people the commands print tables and bars; with `--json`, one JSON object per line and nothing else on stdout.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from rich.table import Column, Table

from cli.console import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_UNAVAILABLE, err, out, say_error
from cli.job_bar import JobBar
from client import (
    Batch,
    ClientError,
    HighSync,
    InvalidBatch,
    Job,
    JobStatus,
    LimitReached,
    ServiceUnavailable,
    Unreachable,
    WrongField,
)
from client.errors import raise_unless_succeeded

LATEST = 20
ID_DIGITS = 36
"""An id has to stay in one piece, however narrow the terminal is."""


@dataclass(frozen=True, slots=True)
class Remote:
    """
    Which service, by whose key, whether a program reads what is printed, how long it may be away (seconds), and whose
    certificates are trusted, if not the usual ones.
    """

    url: str
    api_key: str | None
    as_json: bool
    patience_s: float = 10.0
    ca_file: str | None = None

    def run(self, command: Callable[[HighSync], None]) -> int:
        """Run a command against the service; the exit code."""
        try:
            with HighSync(self.url, self.api_key, patience_s=self.patience_s, ca_file=self.ca_file) as service:
                command(service)
        except (Unreachable, ServiceUnavailable, LimitReached) as error:
            say_error(str(error))
            return EXIT_UNAVAILABLE
        except (ClientError, OSError) as error:
            say_error(str(error))
            return EXIT_FAILED
        except KeyboardInterrupt:
            say_error("stopped; the job goes on")
            return EXIT_INTERRUPTED
        return EXIT_OK

    def show(self, view: BaseModel, text: str | Table) -> None:
        """Print a view of the API: as it came, or in words."""
        if self.as_json:
            print(view.model_dump_json())  # noqa: T201  for programs: no layout
        else:
            out.print(text)


def submit(
    remote: Remote,
    video: str,
    audio: str,
    options: Mapping[str, Any],
    *,
    wishes: Mapping[str, Any],
    target: Path | None,
) -> int:
    """Post a job; with a target, follow it and write its result there. The exit code.

    wishes: what else `HighSync.submit` takes by name.
    """

    def command(service: HighSync) -> None:
        accepted = service.submit(video, audio, **{**wishes, **options})
        remote.show(accepted, accepted.id)
        if target is not None:
            _follow(remote, service, accepted.id)
            service.download(accepted.id, target)

    return remote.run(command)


def status(remote: Remote, job_ids: Sequence[str], state: str | None) -> int:
    """Show these jobs, or the latest ones; the exit code."""

    def command(service: HighSync) -> None:
        if job_ids:
            for job in map(service.job, job_ids):
                remote.show(job, _facts(job))
            return
        latest = tuple(islice(service.jobs(state), LATEST))
        if not remote.as_json:
            out.print(_list(latest))
            return
        for job in latest:
            remote.show(job, job.id)

    return remote.run(command)


def watch(remote: Remote, job_id: str) -> int:
    """Follow a job to its end; the exit code, EXIT_OK when it has succeeded."""
    return remote.run(lambda service: _follow(remote, service, job_id))


def cancel(remote: Remote, job_id: str) -> int:
    """Cancel a job; the exit code."""

    def command(service: HighSync) -> None:
        job = service.cancel(job_id)
        remote.show(job, f"{job.id}: {job.status}" if job.status.is_terminal else f"{job.id}: stopping")

    return remote.run(command)


def batch(remote: Remote, jobs: Sequence[Any], *, webhook_url: str | None, dry_run: bool, wait: bool) -> int:
    """Post many jobs as one batch, or only check them; with `wait`, follow it. EXIT_OK when all have succeeded."""

    def command(service: HighSync) -> None:
        if dry_run:
            check = service.batches.check(jobs)
            _say_wrong(check.errors)
            remote.show(check, f"{check.jobs} jobs, {len(check.errors)} errors")
            if check.errors:
                raise ClientError("the batch would be refused")
            return
        made = service.batches.submit(jobs, webhook_url=webhook_url)
        remote.show(made, made.id)
        if wait:
            over = service.batches.wait(made.id, on_change=lambda now: remote.show(now, _counts(now)))
            if over.counts[JobStatus.SUCCEEDED] < over.size:
                raise ClientError(f"batch {over.id}: {_counts(over)}")

    def told(service: HighSync) -> None:
        try:
            command(service)
        except InvalidBatch as error:
            _say_wrong(error.errors)
            raise

    return remote.run(told)


def read_lines(path: Path) -> list[Any]:
    """The jobs of a file that has one as JSON on each line. ValueError names the line that is none."""
    jobs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").rstrip().splitlines(), start=1):
        try:
            jobs.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    return jobs


def download(remote: Remote, job_id: str, target: Path) -> int:
    """Write the result of a job to a file; the exit code."""

    def command(service: HighSync) -> None:
        service.download(job_id, target)
        remote.show(service.job(job_id), str(target))

    return remote.run(command)


def parse_pairs(pairs: Sequence[str]) -> dict[str, Any]:
    """`name=value` → a mapping. A value is JSON where it can be read as such, else a text. ValueError without a `=`."""
    parsed: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise ValueError(f"{pair!r} is not NAME=VALUE")
        try:
            parsed[name] = json.loads(value)
        except ValueError:
            parsed[name] = value
    return parsed


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """As `parse_pairs`, and a dotted name goes into an object: `output.codec=hevc` → `{"output": {"codec": "hevc"}}`.

    ValueError also when a name reaches into something that is no object.
    """
    options: dict[str, Any] = {}
    for name, value in parse_pairs(pairs).items():
        *path, leaf = name.split(".")
        place = options
        for step in path:
            place = place.setdefault(step, {})
            if not isinstance(place, dict):
                raise ValueError(f"{name!r}: {step!r} is no object")
        place[leaf] = value
    return options


def _follow(remote: Remote, service: HighSync, job_id: str) -> None:
    """Show each change until the end. Raises the errors of a job that has no result."""
    if remote.as_json:
        for job in service.watch(job_id):
            remote.show(job, job.id)
    else:
        with JobBar(err) as bar:
            job = service.wait(job_id, on_change=bar.show)
    raise_unless_succeeded(job)


def _say_wrong(errors: Sequence[WrongField]) -> None:
    for wrong in errors:
        err.print(f"line {wrong.line}: {wrong.field}: {wrong.reason} ({wrong.code})")


def _counts(batch: Batch) -> str:
    return ", ".join(f"{count} {status}" for status, count in batch.counts.items() if count)


def _list(jobs: Sequence[Job]) -> Table:
    table = Table(Column("job", no_wrap=True, min_width=ID_DIGITS), "status", "done", "submitted (UTC)")
    for job in jobs:
        table.add_row(job.id, job.status.value, _done(job), f"{job.created_at:%Y-%m-%d %H:%M:%S}")
    return table


def _facts(job: Job) -> Table:
    table = Table(Column(no_wrap=True), Column(overflow="fold"), show_header=False)
    table.add_row("job", job.id)
    table.add_row("status", job.status.value)
    table.add_row("done", _done(job))
    if job.queue_position is not None:
        table.add_row("place in the queue", str(job.queue_position))
    if job.eta_s is not None:
        table.add_row("probably done", f"in {job.eta_s:.0f} s (by {job.eta_basis})")
    moments = (
        ("submitted", job.created_at),
        ("to start by", job.start_deadline_at),
        ("to be done by", job.deadline_at),
        ("started", job.started_at),
        ("over", job.finished_at),
    )
    for name, moment in moments:
        if moment is not None:
            table.add_row(f"{name} (UTC)", f"{moment:%Y-%m-%d %H:%M:%S}")
    for attempt in job.attempts:
        table.add_row(f"attempt {attempt.number}", f"{attempt.worker}: {attempt.outcome or 'runs'}")
    table.add_row("video", job.video_url)
    if job.audio_url is not None:
        table.add_row("voice", job.audio_url)
    if job.result is not None:
        table.add_row("result", f"{job.result.width}x{job.result.height}, {job.result.frames} frames, {job.result.url}")
    if job.error is not None:
        table.add_row("error", f"{job.error.code}: {job.error.message} {job.error.hint}")
    return table


def _done(job: Job) -> str:
    if job.progress is None:
        return "100%" if job.status is JobStatus.SUCCEEDED else ""
    eta = "" if job.progress.eta_s is None else f", {job.progress.eta_s:.0f} s to go"
    return f"{job.progress.fraction:.0%} ({job.progress.stage}{eta})"
