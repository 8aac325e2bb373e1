"""The sound track of a dub: the video's own sound, untouched but where a voice is heard."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.media.audio import read_samples
from model.media.reader import probe_video
from model.media.sound import FADE_SECONDS, Samples, Soundtrack, Tape
from model.plan import DubOptions, DubPlan, MediaLimits, VideoFacts, Voice
from tests.media_factory import make_video, make_voice

LIMITS = MediaLimits()
RATE = 48_000
FRAME = RATE // 25
FADE = round(FADE_SECONDS * RATE)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds with a tone."""
    return make_video(tmp_path_factory.mktemp("video") / "clip.mp4", frames=50, audio_seconds=2.0)


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """0.8 s of loud noise at the video's rate, in two channels."""
    samples = np.random.default_rng(3).uniform(-0.9, 0.9, (2, 4 * RATE // 5)).astype(np.float32)
    return make_voice(tmp_path_factory.mktemp("voice") / "voice.wav", rate=RATE, samples=samples)


def plan_of(video: Path, *voices: Voice, keeps_sound: bool = True) -> DubPlan:
    return DubPlan(
        video_path=video,
        video=probe_video(video, LIMITS),
        options=DubOptions(),
        source_frames=tuple(range(50)),
        pts=tuple(range(0, 50 * 512, 512)),
        duration_seconds=2.0,
        shots=(),
        segments=(),
        voices=voices,
        keeps_sound=keeps_sound,
    )


def whole(plan: DubPlan) -> Samples:
    return np.concatenate(list(Soundtrack(plan).runs(RATE, "stereo")), axis=1)


def sound_of(path: Path, samples: int) -> Samples:
    return Tape(read_samples(path, LIMITS, RATE, "stereo"), "stereo").take(samples)


def test_around_a_voice_every_sample_is_the_videos_own_and_inside_every_one_the_voices(
    video: Path, voice: Path
) -> None:
    sound, own = whole(plan_of(video, Voice(voice, 10, 25))), sound_of(video, 2 * RATE)
    start, stop = 10 * FRAME, 25 * FRAME
    assert sound.shape == (2, 2 * RATE)
    assert np.array_equal(sound[:, :start], own[:, :start])
    assert np.array_equal(sound[:, stop:], own[:, stop:])
    said = sound_of(voice, stop - start)
    assert np.array_equal(sound[:, start + FADE : stop - FADE], said[:, FADE:-FADE])


def test_the_fades_add_up_to_one(video: Path, tmp_path: Path) -> None:
    """A voice that says just what the video says cannot be told from it."""
    own = sound_of(video, 2 * RATE)
    echo = make_voice(tmp_path / "echo.wav", rate=RATE, samples=own[:, 10 * FRAME :], codec="pcm_f32le")
    sound = whole(plan_of(video, Voice(echo, 10, 25)))
    assert np.abs(sound - own).max() < 1e-6


def test_between_voices_that_touch_nothing_of_the_video_is_heard(video: Path, voice: Path, tmp_path: Path) -> None:
    quiet = make_voice(tmp_path / "quiet.wav", seconds=0.1, rate=RATE, channels=2, silent=True)
    sound = whole(plan_of(video, Voice(quiet, 10, 15), Voice(quiet, 15, 20)))
    assert not sound[:, 10 * FRAME + FADE : 20 * FRAME - FADE].any()
    assert sound[:, 10 * FRAME : 10 * FRAME + FADE // 2].any()


def test_a_longer_voice_is_cut_and_silence_follows_a_shorter_one(video: Path, voice: Path) -> None:
    sound, said = whole(plan_of(video, Voice(voice, 0, 5), Voice(voice, 20, 50))), sound_of(voice, 30 * FRAME)
    assert np.array_equal(sound[:, : 5 * FRAME - FADE], said[:, : 5 * FRAME - FADE])
    assert np.array_equal(sound[:, 20 * FRAME + FADE :], said[:, FADE:])
    assert not sound[:, 40 * FRAME + 1 :].any()


def test_a_voice_may_be_heard_from_its_middle_on(video: Path, voice: Path) -> None:
    sound, said = whole(plan_of(video, Voice(voice, 5, 10, skip_seconds=0.2))), sound_of(voice, 20 * FRAME)
    assert np.array_equal(sound[:, 5 * FRAME + FADE : 10 * FRAME - FADE], said[:, 5 * FRAME + FADE : 10 * FRAME - FADE])


def test_without_a_sound_to_keep_there_is_silence_around_and_the_voice_gives_the_format(
    video: Path, tmp_path: Path
) -> None:
    voice = make_voice(tmp_path / "voice.wav", seconds=0.4, rate=22_050)
    plan = plan_of(video, Voice(voice, 10, 20), keeps_sound=False)
    wanted = Soundtrack(plan).format
    assert (wanted.rate_hz, wanted.channels) == (22_050, 1)
    sound = whole(plan)
    assert not sound[:, : 10 * FRAME].any()
    assert sound[:, 10 * FRAME : 20 * FRAME].any()
    assert not sound[:, 20 * FRAME :].any()


def test_one_channel_becomes_two_as_loud(video: Path, tmp_path: Path) -> None:
    mono = make_voice(tmp_path / "mono.wav", seconds=0.4, rate=RATE)
    sound = whole(plan_of(video, Voice(mono, 10, 20)))
    assert np.abs(sound[:, 10 * FRAME + FADE : 20 * FRAME - FADE]).max() == pytest.approx(0.4, abs=0.001)


@pytest.mark.parametrize("start_seconds", [0.25, -0.25, 1e12, -1e12])
def test_a_sound_that_begins_after_or_before_the_picture_stays_with_it(
    video: Path, voice: Path, start_seconds: float
) -> None:
    plan, own = plan_of(video, Voice(voice, 40, 50)), sound_of(video, 3 * RATE)
    short = replace(LIMITS, max_duration_seconds=10.0)
    moved = replace(plan, video=replace(plan.video, sound_start_seconds=start_seconds), limits=short)
    sound = whole(moved)[:, : 40 * FRAME]
    if abs(start_seconds) > 2:
        assert not sound.any()
    elif start_seconds > 0:
        assert not sound[:, : RATE // 4].any()
        assert np.array_equal(sound[:, RATE // 4 :], own[:, : 40 * FRAME - RATE // 4])
    else:
        assert np.array_equal(sound, own[:, RATE // 4 : RATE // 4 + 40 * FRAME])


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mov", "clip.mkv"])
def test_the_files_themselves_say_when_the_sound_begins(tmp_path: Path, name: str) -> None:
    def facts(first_frame: int) -> VideoFacts:
        pts = list(range(first_frame, first_frame + 10))
        path = make_video(tmp_path / name, frames=10, pts=pts, b_frames=0, audio_seconds=0.8)
        return probe_video(path, LIMITS)

    assert facts(0).sound_start_seconds == pytest.approx(0.0, abs=0.03)
    assert facts(10).sound_start_seconds == pytest.approx(-0.4, abs=0.03)


def test_a_tape_gives_all_runs_in_any_pieces_then_silence() -> None:
    samples = np.arange(1, 101, dtype=np.float32).reshape(1, -1)
    tape = Tape(iter(np.split(samples, [3, 40, 41], axis=1)), "mono", delay=5)
    pieces = [tape.take(size) for size in (3, 0, 4, 60, 1, 50)]
    assert np.array_equal(np.concatenate(pieces, axis=1)[0], [*[0] * 5, *range(1, 101), *[0] * 13])
