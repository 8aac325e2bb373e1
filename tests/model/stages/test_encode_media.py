"""Stage encode_media: one encode, exactly as planned."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from model.media.audio import probe_audio, read_audio_mono_16k
from model.media.picture import Picture
from model.media.reader import VideoReader, probe_video, read_frames
from model.plan import ColorTags, DubOptions, DubPlan, MediaLimits, SyncMode, Voice, plan_to_json
from model.progress import StageProgress
from model.stages.encode_media import encode_media
from model.timeline import plan_timeline
from tests.media_factory import make_video, make_voice

ROOT = Path(__file__).parents[3]
LIMITS = MediaLimits()


def plan_of(video: Path, voice: Path, mode: SyncMode = SyncMode.CUT_OFF) -> DubPlan:
    """A plan without any face: every frame passes through."""
    frames = list(VideoReader(video).frames())
    facts, audio = probe_video(video, LIMITS), probe_audio(voice, LIMITS)
    end = frames[-1].pts + frames[-1].duration
    timeline = plan_timeline([f.pts for f in frames], end, facts.time_base, audio.duration_seconds, mode)
    return DubPlan(
        video_path=video,
        video=facts,
        options=DubOptions(sync_mode=mode),
        source_frames=timeline.source_frames,
        pts=timeline.pts,
        duration_seconds=timeline.duration_seconds,
        shots=(),
        segments=(),
        voices=(Voice(voice, 0, len(timeline.pts)),),
    )


def source_pictures(plan: DubPlan) -> Iterator[Picture]:
    return (frame.planes for frame in read_frames(plan.video_path, plan.source_frames))


def encode(plan: DubPlan, out: Path) -> Path:
    encode_media(source_pictures(plan), plan, out)
    return out


def times_seconds(path: Path) -> list[Fraction]:
    facts = probe_video(path, LIMITS)
    return [frame.pts * facts.time_base for frame in VideoReader(path).frames()]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return 99.0 if error == 0 else 10 * np.log10(255**2 / error)


VFR = [0, 40, 90, 100, 180, 200, 275, 300, 333, 400, 450, 480]

SOURCES = {
    "25 fps": {"frames": 20},
    "23.976 fps": {"fps": Fraction(24_000, 1001), "frames": 20},
    "59.94 fps": {"fps": Fraction(60_000, 1001), "frames": 40},
    "variable rate": {"time_base": Fraction(1, 1000), "pts": VFR, "frames": len(VFR)},
}


@pytest.mark.parametrize("kind", list(SOURCES))
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("mode", list(SyncMode))
def test_frames_and_times_are_exactly_those_of_the_plan(tmp_path: Path, mode: SyncMode, suffix: str, kind: str) -> None:
    video = make_video(tmp_path / f"source.{suffix}", **SOURCES[kind])  # type: ignore[arg-type]
    plan = plan_of(video, make_voice(tmp_path / "voice.wav", seconds=1.1), mode)

    out = encode(plan, tmp_path / "out.mp4")

    assert times_seconds(out) == [pts * plan.video.time_base for pts in plan.pts]
    assert probe_video(out, LIMITS).duration_seconds == pytest.approx(plan.duration_seconds, abs=0.002)


def test_an_avi_timed_in_frames_keeps_its_times(tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.avi", codec="mpeg4", fps=Fraction(30_000, 1001), frames=12, b_frames=0)
    plan = plan_of(video, make_voice(tmp_path / "voice.wav"))

    out = encode(plan, tmp_path / "out.mp4")

    assert times_seconds(out) == [Fraction(1001 * i, 30_000) for i in range(12)]


def test_nanosecond_times_with_long_gaps_are_kept_to_the_microsecond(tmp_path: Path) -> None:
    plan = plan_of(make_video(tmp_path / "a.mp4", frames=4), make_voice(tmp_path / "voice.wav"))
    nanoseconds = (0, 40_000_000, 5_040_000_500, 5_080_000_000)
    video = replace(plan.video, time_base=Fraction(1, 10**9))
    slow = replace(plan, video=video, pts=nanoseconds, duration_seconds=5.2)

    times = times_seconds(encode(slow, tmp_path / "out.mp4"))

    assert [float(time) for time in times] == pytest.approx([ns / 1e9 for ns in nanoseconds], abs=1e-6)


@pytest.mark.parametrize(
    "color", [ColorTags(1, 1, 1, 1), ColorTags(2, 1, 13, 1), ColorTags(1, 6, 6, 6), ColorTags(1, 9, 16, 9)]
)
def test_colors_keep_their_tags_and_their_look(tmp_path: Path, color: ColorTags) -> None:
    video = make_video(tmp_path / "a.mp4", color=color, frames=3)
    plan = plan_of(video, make_voice(tmp_path / "voice.wav"))

    out = encode(plan, tmp_path / "out.mp4")

    assert probe_video(out, LIMITS).color == color
    for before, after in zip(VideoReader(video).frames(), VideoReader(out).frames(), strict=True):
        assert np.abs(before.to_rgb().astype(int) - after.to_rgb()).mean() < 3


@pytest.mark.parametrize(("width", "height"), [(64, 48), (63, 47), (66, 35), (2, 2), (16, 400)])
def test_sizes_are_kept(tmp_path: Path, width: int, height: int) -> None:
    video = make_video(tmp_path / "a.mkv", codec="ffv1", width=width, height=height, frames=3)
    plan = plan_of(video, make_voice(tmp_path / "voice.wav"))

    facts = probe_video(encode(plan, tmp_path / "out.mp4"), LIMITS)

    assert (facts.width, facts.height) == (width, height)


def test_the_shape_of_samples_is_kept_and_rotation_is_done(tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", sample_aspect_ratio=Fraction(4, 3), rotation=90, frames=3)
    plan = plan_of(video, make_voice(tmp_path / "voice.wav"))

    facts = probe_video(encode(plan, tmp_path / "out.mp4"), LIMITS)

    assert (facts.width, facts.height, facts.rotation_degrees) == (48, 64, 0)
    assert facts.sample_aspect_ratio == Fraction(3, 4)


@pytest.mark.parametrize(
    ("rate", "channels", "expected_rate"),
    [(16_000, 1, 16_000), (22_050, 1, 22_050), (44_100, 2, 44_100), (48_000, 6, 48_000), (96_000, 2, 96_000),
     (192_000, 2, 96_000), (10_000, 1, 11_025)],
)  # fmt: skip
def test_the_voice_keeps_its_rate_and_channels_where_aac_can(
    tmp_path: Path, rate: int, channels: int, expected_rate: int
) -> None:
    voice = make_voice(tmp_path / "voice.wav", rate=rate, channels=channels, seconds=0.4)
    plan = plan_of(make_video(tmp_path / "a.mp4"), voice)

    facts = probe_audio(encode(plan, tmp_path / "out.mp4"), LIMITS)

    assert (facts.codec, facts.sample_rate_hz, facts.channels) == ("aac", expected_rate, channels)


def test_a_voice_that_is_aac_already_is_whole(tmp_path: Path) -> None:
    voice = make_voice(tmp_path / "voice.m4a", codec="aac", rate=16_000)
    plan = plan_of(make_video(tmp_path / "a.mp4", frames=25), voice)

    heard = read_audio_mono_16k(encode(plan, tmp_path / "out.mp4"))

    assert np.abs(heard[14_000:15_500]).max() > 0.3


def click_at(path: Path, second: float, seconds: float) -> Path:
    samples = np.zeros((1, round(16_000 * seconds)), np.float32)
    samples[0, round(16_000 * second) :][:160] = 0.8
    return make_voice(path, samples=samples)


def test_sound_and_picture_keep_their_distance(tmp_path: Path) -> None:
    plan = plan_of(make_video(tmp_path / "a.mp4", frames=50), click_at(tmp_path / "voice.wav", 1.0, 2.0))

    heard = read_audio_mono_16k(encode(plan, tmp_path / "out.mp4"))

    loud = np.flatnonzero(np.abs(heard) > 0.4)
    assert loud[0] / 16_000 == pytest.approx(1.0, abs=0.002)


def test_silence_follows_a_voice_that_ends_first(tmp_path: Path) -> None:
    plan = plan_of(make_video(tmp_path / "a.mp4", frames=50), make_voice(tmp_path / "v.wav"), SyncMode.SILENCE)

    heard = read_audio_mono_16k(encode(plan, tmp_path / "out.mp4"))

    assert len(heard) == pytest.approx(32_000, abs=1024)
    assert np.abs(heard[:15_000]).max() > 0.3
    assert np.abs(heard[17_500:]).max() < 0.01


def test_a_voice_that_ends_later_is_cut(tmp_path: Path) -> None:
    plan = plan_of(make_video(tmp_path / "a.mp4", frames=25), make_voice(tmp_path / "v.wav", seconds=3.0))

    assert probe_audio(encode(plan, tmp_path / "out.mp4"), LIMITS).duration_seconds == pytest.approx(1.0, abs=0.07)


def test_the_file_plays_while_it_downloads(tmp_path: Path) -> None:
    plan = plan_of(make_video(tmp_path / "a.mp4"), make_voice(tmp_path / "voice.wav"))

    content = encode(plan, tmp_path / "out.mp4").read_bytes()

    assert 0 < content.index(b"moov") < content.index(b"mdat")


def test_nothing_of_the_sources_metadata_leaks(tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", metadata={"title": "secret", "comment": "<script>", "location": "+48+2/"})
    plan = plan_of(video, make_voice(tmp_path / "voice.wav"))

    with av.open(str(encode(plan, tmp_path / "out.mp4"))) as container:
        assert not {"title", "comment", "location"} & container.metadata.keys()
        assert container.chapters() == []


def test_progress_counts_every_frame(tmp_path: Path) -> None:
    plan = plan_of(make_video(tmp_path / "a.mp4"), make_voice(tmp_path / "voice.wav"))
    seen: list[StageProgress] = []

    encode_media(source_pictures(plan), plan, tmp_path / "out.mp4", seen.append)

    assert [progress.frames_done for progress in seen] == list(range(1, 11))
    assert {progress.frames_total for progress in seen} == {10}


@pytest.mark.parametrize("change", [-1, 1])
def test_another_number_of_pictures_than_planned_leaves_nothing(tmp_path: Path, change: int) -> None:
    plan = plan_of(make_video(tmp_path / "a.mp4"), make_voice(tmp_path / "voice.wav"))
    pictures = list(source_pictures(plan))
    pictures = pictures[:-1] if change < 0 else [*pictures, pictures[-1]]

    with pytest.raises(ValueError, match="argument"):
        encode_media(pictures, plan, tmp_path / "out.mp4")

    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.mp4", "voice.wav"]


def test_stopping_midway_leaves_nothing(tmp_path: Path) -> None:
    plan = plan_of(make_video(tmp_path / "a.mp4"), make_voice(tmp_path / "voice.wav"))

    def stop(progress: StageProgress) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        encode_media(source_pictures(plan), plan, tmp_path / "out.mp4", stop)

    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.mp4", "voice.wav"]


PEAK_OF_A_RUN = """
import sys
from pathlib import Path

import numpy as np

from model.media.picture import Picture
from model.plan import plan_from_json
from model.stages.encode_media import encode_media

plan_path, out_path, keeps = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "keep"
plan, kept = plan_from_json(plan_path.read_bytes()), []

def pictures():
    for index in range(plan.frames):
        y = np.full((plan.video.height, plan.video.width), index % 200, np.uint8)
        u, v = (np.full((y.shape[0] // 2, y.shape[1] // 2), 128, np.uint8) for _ in range(2))
        picture = Picture(y, u, v, plan.video.color)
        if keeps:
            kept.append(picture)
        yield picture

encode_media(pictures(), plan, out_path)
status = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""
"""Encodes fresh pictures in a process of its own; prints the most memory it ever held, in KiB."""


def peak_mib(plan: DubPlan, folder: Path, *, keep: bool = False) -> float:
    (folder / "plan.json").write_bytes(plan_to_json(plan))
    command = [sys.executable, "-c", PEAK_OF_A_RUN, folder / "plan.json", folder / "out.mp4", "keep" if keep else ""]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout) / 1024


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    # Given the plans of a short and a long video, whose further 1400 pictures hold 154 MiB
    facts = probe_video(make_video(tmp_path / "a.mp4", width=320, height=240, frames=1), LIMITS)
    voice = make_voice(tmp_path / "voice.wav", seconds=1.0)
    short, long = (
        DubPlan(
            video_path=tmp_path / "a.mp4",
            video=facts,
            options=DubOptions(),
            source_frames=(0,) * frames,
            pts=tuple(512 * i for i in range(frames)),
            duration_seconds=frames / 25,
            shots=(),
            segments=(),
            voices=(Voice(voice, 0, frames),),
        )
        for frames in (100, 1500)
    )
    # When both are encoded, and the long one also by somebody who keeps its pictures
    peak_of_short = peak_mib(short, tmp_path)
    # Then the long one needs no more; the pictures that were kept would be seen
    assert peak_mib(long, tmp_path) - peak_of_short < 40
    assert peak_mib(long, tmp_path, keep=True) - peak_of_short > 140


def test_untouched_pictures_stay_close_to_the_source(real_media_dir: Path, tmp_path: Path) -> None:
    video = real_media_dir / "speaker.mp4"
    plan = plan_of(video, make_voice(tmp_path / "voice.wav", seconds=0.8))

    out = encode(plan, tmp_path / "out.mp4")

    pairs = zip(VideoReader(video).frames(0, 20), VideoReader(out).frames(), strict=True)
    assert min(psnr(before.planes.y, after.planes.y) for before, after in pairs) >= 45.0
