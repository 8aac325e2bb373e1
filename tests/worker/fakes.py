"""An honest fake of the model library: same calls, same order of progress, real files, no networks and no pictures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from model.faces.detector import Detection
from model.faces.track import Faces, ShotFace
from model.faces.tracks import Track
from model.plan import AudioFacts, ColorTags, DubOptions, DubPlan, MediaLimits, Segment, VideoFacts, Voice
from model.preflight import Preflight, preflight
from model.progress import OnProgress, Stage, StageProgress
from model.stages.decode_media import MediaFacts
from model.survey import Survey

FRAMES_PER_SEGMENT = 4

VIDEO = VideoFacts(
    width=64,
    height=48,
    rotation_degrees=0,
    fps=Fraction(25),
    frames=12,
    duration_seconds=0.48,
    time_base=Fraction(1, 25),
    codec="fake",
    pixel_format="yuv420p",
    color=ColorTags(1, 1, 1, 1),
    sample_aspect_ratio=Fraction(1),
    has_audio=False,
)
AUDIO = AudioFacts(codec="fake", sample_rate_hz=16_000, channels=1, duration_seconds=0.48)


@dataclass(frozen=True)
class FakeReport:
    """What the fake compose() says of its file."""

    frames: int
    width: int = VIDEO.width
    height: int = VIDEO.height
    fps: float = 25.0
    duration_seconds: float = 0.48
    frames_synced: int = 12
    frames_passed_through: int = 0
    frames_outside: int = 0
    weights: str = "fake"


def do_nothing(progress: StageProgress) -> None:
    """The usual interference with a fake render: none."""


@dataclass
class FakePipeline:
    """Plans `segments` segments, writes each as a line of text, and joins the lines.

    `interfere` is called at every progress and may do what happens in the middle of a render: cancel, stop, raise.
    """

    segments: int = 3
    interfere: Callable[[StageProgress], None] = do_nothing
    analysed: int = 0
    rendered: list[int] = field(default_factory=list)
    voices: list[bytes] = field(default_factory=list)

    def survey(
        self,
        video: Path,
        audio: Path | None,
        options: DubOptions,
        limits: MediaLimits,
        *,
        may_be_silent: bool,
        on_progress: OnProgress,
    ) -> Survey:
        self._tell(Stage.DECODE_MEDIA, 1, 1, on_progress)
        self._tell(Stage.TRACK_FACES, 1, 1, on_progress)
        self.analysed += 1
        frames = self.segments * FRAMES_PER_SEGMENT
        boxes = np.tile(np.array([0, 0, 8, 8], np.int32), (frames, 1))
        faces = Faces(boxes, (self._face(frames),), 1, VIDEO, ((0, frames),), tuple(range(frames)), frames)
        return Survey(
            video,
            audio,
            MediaFacts(VIDEO, AUDIO if audio else None, (AUDIO,) * len(options.passages)),
            faces,
            options,
            limits,
        )

    def _face(self, frames: int) -> ShotFace:
        track = Track()
        for frame in range(frames):
            track.add(frame, Detection(0.0, 0.0, 40.0, 70.0, 0.9))
        return ShotFace(0, 0, 0, frames, track)

    def preflight(self, found: Survey) -> Preflight:
        return preflight(found, 512)

    def thumbnails(self, found: Survey, folder: Path, on_progress: OnProgress) -> dict[str, Path]:
        path = folder / "s0f0.jpg"
        path.write_text("a face")
        return {"s0f0": path}

    def plan(self, found: Survey) -> DubPlan:
        voice = found.audio_path or found.options.passages[0].audio_path
        assert voice is not None
        found.faces.follow(found.options.face)
        frames = self.segments * FRAMES_PER_SEGMENT
        return DubPlan(
            video_path=found.video_path,
            video=VIDEO,
            options=found.options,
            source_frames=tuple(range(frames)),
            pts=tuple(range(frames)),
            duration_seconds=frames / 25,
            shots=((0, frames),),
            segments=tuple(
                Segment(index, index * FRAMES_PER_SEGMENT, (index + 1) * FRAMES_PER_SEGMENT, 0, ((0, 0, 8, 8),) * 4)
                for index in range(self.segments)
            ),
            voices=(Voice(voice, 0, frames),),
        )

    def render_segment(self, plan: DubPlan, segment: Segment, out_path: Path, on_progress: OnProgress) -> None:
        self._tell(Stage.CROP_FACES, segment.frames, segment.frames, on_progress)
        for done in range(segment.frames + 1):
            self._tell(Stage.DENOISE, done, segment.frames, on_progress)
        out_path.write_bytes(f"segment {segment.index} of {plan.video_path.read_text()}\n".encode())
        self.rendered.append(segment.index)
        self.voices.append(plan.voices[segment.voice].path.read_bytes())

    def compose(
        self, plan: DubPlan, segment_paths: Mapping[int, Path], out_path: Path, on_progress: OnProgress
    ) -> FakeReport:
        self._tell(Stage.COMPOSITE, plan.frames, plan.frames, on_progress)
        out_path.write_bytes(b"".join(segment_paths[index].read_bytes() for index in sorted(segment_paths)))
        self._tell(Stage.ENCODE_MEDIA, plan.frames, plan.frames, on_progress)
        return FakeReport(plan.frames)

    def _tell(self, stage: Stage, done: int, total: int, on_progress: OnProgress) -> None:
        progress = StageProgress(stage, done, total)
        self.interfere(progress)
        on_progress(progress)
