"""The words for what a render is doing, and the callback that reports it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """One word per stage: file name, function name, progress stage, metric label and log event."""

    DECODE_MEDIA = "decode_media"
    TRACK_FACES = "track_faces"
    CROP_FACES = "crop_faces"
    ENCODE_AUDIO = "encode_audio"
    PLAN_WINDOWS = "plan_windows"
    DENOISE = "denoise"
    COMPOSITE = "composite"
    ENCODE_MEDIA = "encode_media"


@dataclass(frozen=True, slots=True)
class StageProgress:
    """How far one stage has come. `frames_total` is 0 when it is not known yet."""

    stage: Stage
    frames_done: int
    frames_total: int


OnProgress = Callable[[StageProgress], None]
"""Called often during a render. It may raise to stop the render: the exception passes through unchanged."""


def ignore_progress(progress: StageProgress) -> None:
    """Report to nobody."""
