"""The client itself."""

import math
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from client.batches import Batches
from client.download import download
from client.errors import JobNotOver, WaitedTooLong, raise_unless_succeeded
from client.models import AcceptedJob, Job, JobPage, JobStatus, Preflight, Result
from client.upload import upload
from client.webhooks import Webhooks
from client.wire import Wire

LOCAL = "http://127.0.0.1:8000"
_LOOK_EVERY_S = 1.0
_LONGEST_WAIT_S = 30.0
_CALM_S = 0.2
"""Between two requests that wait for a change. What happens meanwhile is in the answer to the second."""

_URL_SCHEMES = ("http://", "https://", "upload://")

Source = str | Path
"""A local file, which is uploaded; or, as a text, a URL of http, https or upload."""


@dataclass(frozen=True, slots=True)
class _Look:
    """A job at one moment. `version` is its ETag, if the service has such; look again after `pause_s` seconds."""

    job: Job
    version: str | None
    pause_s: float

    @classmethod
    def at(cls, reply: httpx.Response) -> Self:
        """What an answer shows."""
        version = reply.headers.get("ETag")
        return cls(Job.model_validate_json(reply.content), version, _CALM_S if version else _pause_s(reply))


class HighSync:
    """
    One service, used by one key. A context manager; may be used from several threads.

    Requests that can be repeated without harm are repeated, for up to `patience_s` seconds in a row, while the service
    is away. `timeout_s` is how long one answer may take. `trust_env` lets the environment name proxies and
    certificates; without it nothing stands between this machine and the service. `ca_file` (PEM) has the certificate
    authority to trust in place of the usual ones, such as that of the studio's own proxy.

    Every method raises the classes of `client.errors`, and OSError for local files.
    """

    def __init__(
        self,
        url: str = LOCAL,
        api_key: str | None = None,
        *,
        timeout_s: float = 60.0,
        patience_s: float = 60.0,
        trust_env: bool = False,
        ca_file: str | Path | None = None,
    ) -> None:
        self._longest_wait_s = min(_LONGEST_WAIT_S, timeout_s / 2)
        self._wire = Wire(
            url, api_key, timeout_s=timeout_s, patience_s=patience_s, trust_env=trust_env, ca_file=ca_file
        )
        self.batches = Batches(self._wire)
        self.webhooks = Webhooks(self._wire)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._wire.close()

    def dub(
        self,
        video: Source,
        audio: Source | None,
        out: str | Path,
        *,
        on_change: Callable[[Job], None] = lambda job: None,
        timeout_s: float | None = None,
        **options: Any,
    ) -> Job:
        """
        Bring in what is local, submit, follow to the end, and write the result to `out`.

        `options` are those of the job, such as `seed=7`; `audio` is None when its `segments` all have voices of their
        own. Raises JobFailed, JobCanceled or JobExpired when there is no result, and WaitedTooLong after `timeout_s`;
        the job then goes on, and can be waited for and downloaded.
        """
        accepted = self.submit(video, audio, **options)
        job = self.wait(accepted.id, timeout_s, on_change)
        self.download(job.id, out)
        return job

    def submit(
        self,
        video: Source,
        audio: Source | None,
        *,
        webhook_url: str | None = None,
        webhook_events: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        start_deadline_s: float | None = None,
        deadline_s: float | None = None,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> AcceptedJob:
        """
        Bring in what is local, voices of `segments` too, and post the job. Under one `idempotency_key` there is one
        job, however often it is submitted; without one, each call has its own. It expires when it is not started, or
        not done, so many seconds after it was accepted. The webhook is told `webhook_events`, or else how it ended.
        """
        body: dict[str, Any] = {"video_url": self._url_of(video), "options": self._with_urls(options)}
        wishes = {
            "audio_url": None if audio is None else self._url_of(audio),
            "webhook_url": webhook_url,
            "webhook_events": None if webhook_events is None else list(webhook_events),
            "metadata": None if metadata is None else dict(metadata),
            "start_deadline_s": start_deadline_s,
            "deadline_s": deadline_s,
        }
        body |= {name: wish for name, wish in wishes.items() if wish is not None}
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        reply = self._wire.ask("POST", "/jobs", json=body, headers=headers)
        return AcceptedJob.model_validate_json(reply.content)

    def preflight(
        self, video: Source, audio: Source | None = None, *, timeout_s: float | None = None, **options: Any
    ) -> Preflight:
        """
        What the inputs are and what may go wrong: a job that only looks, followed to its end. No result is made.

        Raises JobFailed for what cannot be looked at, JobCanceled, JobExpired, and WaitedTooLong after `timeout_s`.
        """
        job = self.wait(self.submit(video, audio, preflight_only=True, **options).id, timeout_s)
        raise_unless_succeeded(job)
        assert job.preflight is not None  # noqa: S101  what "succeeded" means here
        return job.preflight

    def upload(self, path: str | Path) -> str:
        """Bring a file to the service; its `upload://` id, good for as many jobs as you like."""
        return upload(self._wire, Path(path))

    def job(self, job_id: str) -> Job:
        """The job as it is now."""
        return self._look(job_id).job

    def jobs(self, status: JobStatus | str | None = None, *, batch_id: str | None = None) -> Iterator[Job]:
        """All jobs, or those in this state or batch, newest first; asked for page by page as you go on."""
        wishes = {"limit": "100", "status": status, "batch": batch_id}
        query = {name: str(wish) for name, wish in wishes.items() if wish is not None}
        while True:
            page = JobPage.model_validate_json(self._wire.ask("GET", "/jobs", params=query).content)
            yield from page.jobs
            if page.next_cursor is None:
                return
            query["cursor"] = page.next_cursor

    def cancel(self, job_id: str) -> Job:
        """Cancel the job; may be repeated. A running one stops a moment later. Raises JobNotCancelable."""
        return Job.model_validate_json(self._wire.ask("POST", f"{_path(job_id)}/cancel").content)

    def retry(
        self,
        job_id: str,
        *,
        start_deadline_s: float | None = None,
        deadline_s: float | None = None,
        idempotency_key: str | None = None,
    ) -> AcceptedJob:
        """
        Submit a job that failed, was canceled or has expired once more, as a new one: `retry_of` of that is this one.
        Deadlines count anew, and may be others. Raises JobNotRetryable, and UploadNotFound for inputs that are gone.
        """
        wishes = {"start_deadline_s": start_deadline_s, "deadline_s": deadline_s}
        body = {name: wish for name, wish in wishes.items() if wish is not None}
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        reply = self._wire.ask("POST", f"{_path(job_id)}/retry", json=body, headers=headers)
        return AcceptedJob.model_validate_json(reply.content)

    def purge(self, job_id: str) -> None:
        """Have the service forget a job that is over, with its result. Raises JobNotOver for any other."""
        job = self.job(job_id)
        if not job.status.is_terminal:
            raise JobNotOver(f"job {job_id} is {job.status}")
        self._wire.ask("DELETE", _path(job_id), repeatable=False)

    def watch(self, job_id: str, timeout_s: float | None = None) -> Iterator[Job]:
        """
        The job each time it has changed, until and including its end. Raises WaitedTooLong when that takes longer than
        `timeout_s` seconds.
        """
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        look = self._look(job_id)
        yield look.job
        while not look.job.status.is_terminal:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise WaitedTooLong(f"job {job_id} is {look.job.status} after {timeout_s:g} s")
            time.sleep(min(look.pause_s, left_s))
            before = look.job
            look = self._look_again(job_id, look, deadline - time.monotonic())
            if look.job != before:
                yield look.job

    def wait(
        self, job_id: str, timeout_s: float | None = None, on_change: Callable[[Job], None] = lambda job: None
    ) -> Job:
        """The job when it is over, however it ended. Raises WaitedTooLong after `timeout_s` seconds."""
        for job in self.watch(job_id, timeout_s):
            on_change(job)
        return job

    def download(self, job_id: str, out: str | Path) -> Path:
        """
        Write the result of a job to `out`, which appears whole or not at all; its sha256 is checked. A download that
        was broken off goes on where it stopped. Raises JobNotOver, JobFailed, JobCanceled, JobExpired, DownloadDamaged.
        """

        def find() -> Result:
            job = self.job(job_id)
            raise_unless_succeeded(job)
            assert job.result is not None  # noqa: S101  what "succeeded" means
            return job.result

        return download(self._wire, find, Path(out))

    def _url_of(self, source: Source) -> str:
        is_url = isinstance(source, str) and source.startswith(_URL_SCHEMES)
        return str(source) if is_url else self.upload(source)

    def _with_urls(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options with the voices of segments brought in."""
        if "segments" not in options:
            return dict(options)
        voices = [segment.get("audio_url") for segment in options["segments"]]
        urls = [{} if voice is None else {"audio_url": self._url_of(voice)} for voice in voices]
        return {**options, "segments": [{**each, **url} for each, url in zip(options["segments"], urls, strict=True)]}

    def _look(self, job_id: str) -> _Look:
        """The job as it is now."""
        return _Look.at(self._wire.ask("GET", _path(job_id)))

    def _look_again(self, job_id: str, last: _Look, time_left_s: float) -> _Look:
        """The job when it has changed, or after a while; at once where the service cannot wait for changes."""
        if last.version is None:
            return self._look(job_id)
        wait_s = max(0.0, min(self._longest_wait_s, time_left_s))
        started = time.monotonic()
        reply = self._wire.ask(
            "GET", _path(job_id), params={"wait": f"{wait_s:.3f}"}, headers={"If-None-Match": last.version}
        )
        if reply.status_code != httpx.codes.NOT_MODIFIED:
            return _Look.at(reply)
        has_waited = time.monotonic() - started >= wait_s / 2  # something on the way may answer from its memory
        return replace(last, pause_s=_CALM_S if has_waited else _pause_s(reply))


def _pause_s(reply: httpx.Response) -> float:
    pause = reply.headers.get("Retry-After", "")
    return float(pause) if pause.isdecimal() else _LOOK_EVERY_S


def _path(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}"
