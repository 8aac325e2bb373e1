"""A dub from files to file, with the real networks at a tiny size."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.errors import NoFaceFound
from model.faces.detector import Detection
from model.media.reader import VideoReader, probe_video
from model.media.segment_file import SegmentWriter, read_segment
from model.pipeline import Pipeline, segment_seed
from model.plan import (
    ColorTags,
    DubOptions,
    DubPlan,
    MediaLimits,
    Output,
    Segment,
    SyncMode,
    plan_from_json,
    plan_to_json,
)
from model.progress import Stage, StageProgress
from model.weights import load_model
from tests.media_factory import make_video, make_voice
from tests.mouths import planes, untouched
from tests.synthetic_faces import SteadyDetector

LIMITS = MediaLimits()
QUICK = DubOptions(num_inference_steps=1, guidance_scale=1.0)
LOSSLESS = replace(QUICK, output=Output(quality=0))
"""The encode loses nothing, so that what comes out can be compared sample by sample."""

FACE = Detection(x=100.0, y=60.0, w=80.0, h=96.0, confidence=0.9)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    model = load_model("tiny", device=torch.device("cpu"), dtype=torch.float32)
    return Pipeline(model, SteadyDetector(FACE))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("video") / "clip.mp4", width=320, height=240, frames=16)


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_voice(tmp_path_factory.mktemp("voice") / "voice.wav", seconds=0.56)


@pytest.fixture(scope="module")
def plan(pipeline: Pipeline, video: Path, voice: Path) -> DubPlan:
    return pipeline.analyse(video, voice, QUICK, LIMITS)


def test_a_plan_survives_as_json(plan: DubPlan) -> None:
    assert plan_from_json(plan_to_json(plan)) == plan


def test_a_dub_keeps_size_and_times_and_changes_the_mouth_only(
    pipeline: Pipeline, video: Path, voice: Path, tmp_path: Path
) -> None:
    # Given a clip of 16 frames and a voice as long as 14
    # When it is dubbed
    report = pipeline.dub(video, voice, tmp_path / "out.mp4", QUICK)
    # Then 14 frames come out, at the source's times, and only the mouth differs beyond what an encode costs
    source = list(VideoReader(video).frames(0, 14))
    result = list(VideoReader(tmp_path / "out.mp4").frames())
    assert (report.frames, report.frames_synced, report.frames_passed_through) == (14, 14, 0)
    assert (report.width, report.height, report.weights) == (320, 240, "tiny (untrained)")
    assert [frame.time_seconds for frame in result] == [frame.time_seconds for frame in source]
    x0, y0, x1, y1 = pipeline.analyse(video, voice, QUICK, LIMITS).segments[0].boxes[0]
    difference = np.stack([np.abs(a.planes.y.astype(int) - b.planes.y) for a, b in zip(source, result, strict=True)])
    inside = difference[:, (y0 + y1) // 2 : y1 - 10, x0 + 20 : x1 - 20]
    outside = difference.copy()
    outside[:, y0:y1, x0:x1] = 0
    assert inside.mean() > 5
    assert outside.max() <= 12
    assert outside.mean() < 1


BT2020 = ColorTags(range=1, primaries=9, transfer=16, matrix=9)

SOURCES: dict[str, tuple[str, dict[str, Any]]] = {
    "29.97 fps": ("mp4", {"fps": Fraction(30_000, 1001)}),
    "30 fps": ("mkv", {"fps": 30, "color": ColorTags(range=1, primaries=6, transfer=6, matrix=6)}),
    "50 fps": ("mov", {"fps": 50}),
    "variable rate": ("mp4", {"time_base": Fraction(1, 1000), "pts": [0, 40, 90, 100, 180, 275]}),
    "rotated": ("mp4", {"width": 240, "height": 320, "rotation": 90}),
    "odd size": ("mkv", {"width": 321, "height": 241, "codec": "ffv1"}),
    "VP9": ("webm", {"codec": "libvpx-vp9"}),
    "AV1": ("mp4", {"codec": "libsvtav1", "options": {"preset": "12", "svtav1-params": "lp=1"}}),
    "ProRes": ("mov", {"codec": "prores_ks", "pixel_format": "yuv422p10le"}),
    "HEVC": ("mp4", {"codec": "libx265", "color": BT2020, "options": {"x265-params": "log-level=none"}}),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_any_source_keeps_times_size_colours_and_all_but_the_mouth(
    pipeline: Pipeline, kind: str, voice: Path, tmp_path: Path
) -> None:
    # Given a source of six frames
    suffix, details = SOURCES[kind]
    video = make_video(tmp_path / f"source.{suffix}", **({"width": 320, "height": 240, "frames": 6} | details))
    # When it is dubbed
    report = pipeline.dub(video, voice, tmp_path / "out.mp4", LOSSLESS)
    # Then it has the source's times, colours and upright size, and outside the mouth the source's samples
    facts = probe_video(tmp_path / "out.mp4", LIMITS)
    upright = (321, 241) if kind == "odd size" else (320, 240)
    assert report.frames_synced == 6
    assert (facts.width, facts.height, facts.rotation_degrees) == (*upright, 0)
    assert facts.color == details.get("color", probe_video(video, LIMITS).color)
    assert times(tmp_path / "out.mp4") == times(video)
    check_only_the_mouth_differs(pipeline.analyse(video, voice, LOSSLESS, LIMITS), tmp_path / "out.mp4")


@pytest.mark.parametrize(
    ("mode", "shown"),
    [(SyncMode.LOOP, (*range(6), *range(6), *range(2))), (SyncMode.HOLD, (*range(6), *[5] * 8))],
)
def test_a_video_under_a_longer_voice_is_dubbed_to_its_end(
    pipeline: Pipeline, voice: Path, tmp_path: Path, mode: SyncMode, shown: tuple[int, ...]
) -> None:
    # Given six frames under a voice as long as 14
    options = replace(LOSSLESS, sync_mode=mode)
    video = make_video(tmp_path / "source.mp4", width=320, height=240, frames=6)
    # When they are dubbed
    report = pipeline.dub(video, voice, tmp_path / "out.mp4", options)
    # Then 14 frames come out, 40 ms each: the source's own outside the mouth, in the mode's order
    plan = pipeline.analyse(video, voice, options, LIMITS)
    assert plan.source_frames == shown
    assert (report.frames_synced, report.frames_passed_through) == (14, 0)
    assert times(tmp_path / "out.mp4") == pytest.approx([index / 25 for index in range(14)])
    check_only_the_mouth_differs(plan, tmp_path / "out.mp4")


def times(path: Path) -> list[float]:
    return [frame.time_seconds for frame in VideoReader(path).frames()]


def check_only_the_mouth_differs(plan: DubPlan, dubbed: Path) -> None:
    """In each frame of a lossless dub every sample outside the mouth is the source's, and within it most are not."""
    source = [frame.planes.writable() for frame in VideoReader(plan.video_path).frames()]
    boxes = {segment.first + i: box for segment in plan.segments for i, box in enumerate(segment.boxes)}
    for index, frame in enumerate(VideoReader(dubbed).frames()):
        before, after = planes(source[plan.source_frames[index]]), planes(frame.planes)
        for name, outside in untouched(frame.planes, boxes[index]).items():
            differs = before[name] != after[name]
            assert not differs[outside].any(), (index, name)
            assert differs[~outside].mean() > 0.5, (index, name)


def test_a_segment_renders_the_same_alone_and_after_others(
    pipeline: Pipeline, video: Path, voice: Path, plan: DubPlan, tmp_path: Path
) -> None:
    # Given a plan of two overlapping segments
    two = _in_two_segments(plan)
    # When the second is rendered after the first, and alone by a pipeline that has rendered nothing yet
    for segment in two.segments:
        pipeline.render_segment(two, segment, tmp_path / f"{segment.index}.mkv")
    Pipeline(pipeline.model, SteadyDetector(FACE)).render_segment(two, two.segments[1], tmp_path / "alone.mkv")
    # Then both are the same, bit by bit
    assert all(
        np.array_equal(a, b)
        for a, b in zip(read_segment(tmp_path / "1.mkv"), read_segment(tmp_path / "alone.mkv"), strict=True)
    )


def test_overlapping_segments_fade_into_each_other(pipeline: Pipeline, plan: DubPlan, tmp_path: Path) -> None:
    # Given a dark segment and a bright one that overlap by four frames
    two = _in_two_segments(plan)
    size = pipeline.model.config.crop_size
    paths = {}
    for segment, brightness in zip(two.segments, (40, 220), strict=True):
        paths[segment.index] = tmp_path / f"{segment.index}.mkv"
        with SegmentWriter(paths[segment.index], segment.frames, size) as writer:
            for _ in range(segment.frames):
                writer.write(np.full((size, size, 3), brightness, np.uint8))
    # When they are composed
    report = pipeline.compose(two, paths, tmp_path / "out.mp4")
    # Then the mouth brightens frame by frame over the overlap, and stays as it is before and after
    x0, y0, x1, y1 = two.segments[0].boxes[0]
    mouth = (slice(y0 + (y1 - y0) * 6 // 10, y0 + (y1 - y0) * 8 // 10), slice((x0 + x1) // 2 - 8, (x0 + x1) // 2 + 8))
    brightness = [float(frame.planes.y[mouth].mean()) for frame in VideoReader(tmp_path / "out.mp4").frames()]
    overlap = range(two.segments[1].first, two.segments[0].stop)
    assert report.frames_synced == two.frames == len(brightness)
    assert max(brightness[: overlap.start]) - min(brightness[: overlap.start]) < 4
    assert max(brightness[overlap.stop :]) - min(brightness[overlap.stop :]) < 4
    steps = np.diff(brightness[overlap.start - 1 : overlap.stop + 1])
    assert (steps > 15).all()


def test_silence_follows_a_voice_that_ends_before_the_video(pipeline: Pipeline, video: Path, tmp_path: Path) -> None:
    short = make_voice(tmp_path / "short.wav", seconds=0.2)
    report = pipeline.dub(video, short, tmp_path / "out.mp4", replace(QUICK, sync_mode=SyncMode.SILENCE))
    assert report.frames == 16
    assert report.duration_seconds == pytest.approx(0.64)


def test_bounce_shows_the_video_backwards_under_a_longer_voice(pipeline: Pipeline, video: Path, tmp_path: Path) -> None:
    long = make_voice(tmp_path / "long.wav", seconds=1.0)
    plan = pipeline.analyse(video, long, replace(QUICK, sync_mode=SyncMode.BOUNCE), LIMITS)
    assert plan.source_frames == (*range(16), *range(14, 5, -1))
    assert sum(segment.frames - segment.overlap for segment in plan.segments) == 25


def test_a_video_without_a_face_is_refused(pipeline: Pipeline, video: Path, voice: Path) -> None:
    with pytest.raises(NoFaceFound):
        Pipeline(pipeline.model, SteadyDetector()).analyse(video, voice, QUICK, LIMITS)


def test_progress_names_every_stage_and_can_stop_the_render(
    pipeline: Pipeline, video: Path, voice: Path, tmp_path: Path
) -> None:
    # Given a listener that notes what it hears
    seen: list[StageProgress] = []
    pipeline.dub(video, voice, tmp_path / "out.mp4", QUICK, on_progress=seen.append)
    # Then every stage was heard, never beyond its total
    assert {progress.stage for progress in seen} == set(Stage)
    assert all(progress.frames_done <= progress.frames_total for progress in seen)

    # And when a listener raises while denoising, the render stops with just that, leaving nothing behind
    class Stopped(Exception): ...

    def stop(progress: StageProgress) -> None:
        if progress.stage is Stage.DENOISE:
            raise Stopped

    with pytest.raises(Stopped):
        pipeline.dub(video, voice, tmp_path / "stopped.mp4", QUICK, on_progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_every_segment_has_noise_of_its_own_and_the_first_the_published() -> None:
    seeds = [segment_seed(42, index) for index in range(100)]
    assert seeds[0] == 42
    assert len(set(seeds)) == 100
    assert all(0 <= seed < 2**63 for seed in seeds)


def _in_two_segments(plan: DubPlan) -> DubPlan:
    """The plan's 14 frames cut into [0, 9) and [5, 14)."""
    boxes = plan.segments[0].boxes
    segments = (Segment(0, 0, 9, 0, boxes[:9]), Segment(1, 5, 14, 4, boxes[5:14]))
    return replace(plan, segments=segments)
