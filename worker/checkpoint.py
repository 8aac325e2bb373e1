"""What survives a lost worker: the plan and every finished segment of a job, kept in storage.

A checkpoint belongs to exact inputs, options and weights. When the next attempt finds others (the URL gives another
file now, or the weights were changed), it starts from nothing. What has come to harm in storage is made again.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import structlog
from pydantic import TypeAdapter, ValidationError

from core.storage import ObjectDamaged, ObjectNotFound
from model.plan import DubOptions, DubPlan, Segment
from worker.patience import PatientStorage

PLAN_TYPE = "application/json"
SEGMENT_TYPE = "video/x-matroska"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """All that decides what a segment looks like. audio_sha256s: of the job's voice, and of each segment's own."""

    video_sha256: str
    audio_sha256s: tuple[str | None, ...]
    weights_sha256: str
    options: DubOptions


@dataclass(frozen=True, slots=True)
class _SavedPlan:
    fingerprint: Fingerprint
    plan: DubPlan


_SAVED_PLAN = TypeAdapter(_SavedPlan)


class Checkpoint:
    """The checkpoint of one job. `scratch` is a folder for the files on their way."""

    def __init__(self, storage: PatientStorage, job_id: str, scratch: Path) -> None:
        self._storage = storage
        self._folder = f"jobs/{job_id}"
        self._scratch = scratch

    def load_plan(self, fingerprint: Fingerprint) -> DubPlan | None:
        """The plan of an earlier attempt with the same fingerprint, now for the files of these names in `scratch`."""
        path = self._scratch / "saved-plan.json"
        try:
            self._storage.fetch_file(self._plan_key, path)
            saved = _SAVED_PLAN.validate_json(path.read_bytes())
        except ObjectNotFound:
            return None
        except ObjectDamaged as error:
            log.warning("checkpoint_damaged", reason=error.message)
            return None
        except ValidationError:
            log.warning("checkpoint_unreadable", reason="written by another version of the service")
            return None
        if saved.fingerprint != fingerprint:
            log.info("checkpoint_outdated", was=asdict(saved.fingerprint))
            return None
        video = self._scratch / saved.plan.video_path.name
        voices = tuple(replace(voice, path=self._scratch / voice.path.name) for voice in saved.plan.voices)
        return replace(saved.plan, video_path=video, voices=voices)

    def save_plan(self, fingerprint: Fingerprint, plan: DubPlan) -> None:
        """Keep a new plan; segments of any other plan go first."""
        self._storage.delete_prefix(self._segments_folder)
        path = self._scratch / "new-plan.json"
        path.write_bytes(_SAVED_PLAN.dump_json(_SavedPlan(fingerprint, plan)))
        self._storage.put_file(self._plan_key, path, PLAN_TYPE)

    def finished_segments(self) -> frozenset[str]:
        """The keys of the segments that need no rendering any more."""
        return frozenset(self._storage.list(self._segments_folder))

    def segment_key(self, segment: Segment) -> str:
        """Where a segment is kept."""
        return f"{self._segments_folder}/{segment.index}.mkv"

    def load_segment(self, segment: Segment, path: Path) -> bool:
        """Bring a finished segment to `path`. False when it is of no use any more, and has to be rendered again."""
        try:
            self._storage.fetch_file(self.segment_key(segment), path)
        except ObjectDamaged as error:
            log.warning("checkpoint_damaged", reason=error.message)
            return False
        return True

    def save_segment(self, segment: Segment, path: Path) -> None:
        """Keep a rendered segment."""
        self._storage.put_file(self.segment_key(segment), path, SEGMENT_TYPE)

    @property
    def _plan_key(self) -> str:
        return f"{self._folder}/plan.json"

    @property
    def _segments_folder(self) -> str:
        return f"{self._folder}/segments"
