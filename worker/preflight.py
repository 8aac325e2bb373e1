"""From the model library's preflight to the report in a job's record, and how long a render is expected to take."""

import math
from collections import defaultdict, deque
from statistics import median

from core.preflight import (
    ExpectedTime,
    FaceReport,
    PreflightNotice,
    PreflightReport,
    ShotReport,
    VideoReport,
    VoiceReport,
)
from model.plan import AudioFacts, DubOptions
from model.preflight import Preflight, SeenFace

_REMEMBERED = 20


class RenderSpeed:
    """Seconds per rendered frame of this worker's last jobs, by what a frame costs: steps, and guidance or none."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, bool], deque[float]] = defaultdict(lambda: deque(maxlen=_REMEMBERED))

    def note(self, options: DubOptions, frames: int, seconds: float) -> None:
        """Remember that so many frames were rendered and composed in so many seconds."""
        self._seen[_kind(options)].append(seconds / frames)

    def expect(self, options: DubOptions, frames: int) -> ExpectedTime | None:
        """How long so many frames will take; None before the first job of this kind."""
        seen = self._seen.get(_kind(options))
        if not seen or not frames:
            return None
        steps, guided = _kind(options)
        kind = f"{steps} steps {'with' if guided else 'without'} guidance"
        basis = f"the median of this worker's last {len(seen)} jobs of {kind}: {median(seen):.3g} s per rendered frame"
        return ExpectedTime(seconds=round(frames * median(seen), 1), basis=basis)


def _kind(options: DubOptions) -> tuple[int, bool]:
    return options.num_inference_steps, options.guidance_scale > 1.0


def preflight_report(found: Preflight, expected_time: ExpectedTime | None) -> PreflightReport:
    """The report in the record's words."""
    facts = found.video
    return PreflightReport(
        video=VideoReport(
            width=facts.width,
            height=facts.height,
            rotation_degrees=facts.rotation_degrees,
            fps=float(facts.fps),
            frames=found.frames,
            duration_s=found.duration_seconds,
            codec=facts.codec,
            pixel_format=facts.pixel_format,
            interlaced=facts.interlaced,
            has_audio=facts.has_audio,
        ),
        voice=None if found.audio is None else _voice(found.audio),
        frames_with_face=found.frames_with_face,
        frames_to_render=found.frames_to_render,
        shots=tuple(
            ShotReport(first_frame=shot.first, frames=shot.stop - shot.first, start_s=shot.start_seconds)
            for shot in found.shots
        ),
        shots_total=found.shots_total,
        faces=tuple(map(_face, found.faces)),
        faces_total=found.faces_total,
        warnings=tuple(PreflightNotice(code=w.code, message=w.message, faces=w.faces) for w in found.warnings),
        expected_time=expected_time,
    )


def _voice(audio: AudioFacts) -> VoiceReport:
    return VoiceReport(
        codec=audio.codec,
        sample_rate_hz=audio.sample_rate_hz,
        channels=audio.channels,
        duration_s=audio.duration_seconds,
        peak_dbfs=round(20 * math.log10(audio.peak), 1),
    )


def _face(face: SeenFace) -> FaceReport:
    return FaceReport(
        id=face.id,
        shot=face.shot,
        first_frame=face.first,
        frames=face.frames,
        share=round(face.frames / (face.stop - face.first), 3),
        width=round(face.width, 1),
        height=round(face.height, 1),
        profile_share=face.profile,
        thumbnail_frame=face.thumbnail_frame,
    )
