"""From the record of a job to what its owner sees."""

import hashlib
from pathlib import PurePosixPath
from typing import Any

from core.jobs import Job, JobResult, JobStatus
from core.preflight import FaceReport, PreflightReport, thumbnail_key
from core.private_urls import public_url
from core.settings import Settings
from core.storage import Storage
from service.jobs.schemas import AcceptedJob, FaceView, JobLinks, JobView, PreflightView, ResultView


class JobPresenter:
    """Makes views. Links to results are signed anew each time."""

    def __init__(self, storage: Storage, settings: Settings) -> None:
        self._storage = storage
        self._base_url = settings.public_url.rstrip("/")
        self._link_ttl_s = settings.link_ttl_s

    def location(self, job: Job) -> str:
        """The address of a job."""
        return f"{self._base_url}/jobs/{job.id}"

    def accepted(self, job: Job) -> AcceptedJob:
        """The short view."""
        return AcceptedJob(id=job.id, status=job.status, links=self._links(job))

    def listed(self, job: Job) -> JobView:
        """The view in a list: without the preflight, whose many links cost as much as all the rest."""
        return self.view(job.model_copy(update={"preflight": None}))

    def view(self, job: Job) -> JobView:
        """The whole view. StorageUnavailable if no link can be signed."""
        return JobView(
            **job.model_dump(include=_SHOWN_AS_IS),
            links=self._links(job),
            attempts=list(job.attempt_log),
            video_url=public_url(job.video_url),
            audio_url=None if job.audio_url is None else public_url(job.audio_url),
            options=job.options.with_urls(public_url),
            preflight=None if job.preflight is None else self._preflight(job, job.preflight),
            result=None if job.result is None else self._result(job, job.result),
        )

    def _links(self, job: Job) -> JobLinks:
        return JobLinks(
            self=self.location(job), cancel=f"{self.location(job)}/cancel", events=f"{self.location(job)}/events"
        )

    def _result(self, job: Job, result: JobResult) -> ResultView:
        url = self._storage.download_url(
            result.key, self._link_ttl_s, f"highsync-{job.id}{PurePosixPath(result.key).suffix}"
        )
        return ResultView(url=url, **result.model_dump(exclude={"key"}))

    def _preflight(self, job: Job, report: PreflightReport) -> PreflightView:
        faces = tuple(
            FaceView(**face.model_dump(), thumbnail_url=self._thumbnail_url(job, face)) for face in report.faces
        )
        return PreflightView(**report.model_dump(exclude={"faces"}), faces=faces)

    def _thumbnail_url(self, job: Job, face: FaceReport) -> str | None:
        if job.status.is_terminal and job.status is not JobStatus.SUCCEEDED:  # its files are gone
            return None
        key, filename = thumbnail_key(job.id, face.id), f"highsync-{job.id}-{face.id}.jpg"
        return self._storage.download_url(key, self._link_ttl_s, filename)


_MADE_HERE = {"links", "attempts", "video_url", "audio_url", "options", "preflight", "result"}
_OUTLOOK = {"queue_position", "eta_s", "eta_basis"}
_SHOWN_AS_IS = set(JobView.model_fields) - _MADE_HERE - _OUTLOOK

_NO_NEWS: dict[str, Any] = {
    "result": {"url": True},
    "preflight": {"faces": {"__all__": {"thumbnail_url": True}}},
    "eta_s": True,
    "eta_basis": True,
}


def version_of(view: JobView) -> str:
    """The same for views that differ only in what their links are signed with, and in estimates of the same facts."""
    return hashlib.sha256(view.model_dump_json(exclude=_NO_NEWS).encode()).hexdigest()[:32]
