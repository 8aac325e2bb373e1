"""Passages: only parts of a video are dubbed, each with its voice and face, exact to the frame; the rest is its own."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.errors import (
    CorruptMedia,
    FaceTrackNotFound,
    NoAudioStream,
    NoFaceFound,
    SegmentNotInVideo,
    SilentAudio,
)
from model.faces.detector import Detection
from model.media.audio import read_samples
from model.media.reader import VideoReader, probe_video
from model.pipeline import Pipeline, _composed_pictures
from model.plan import (
    AudioCodec,
    Container,
    DubOptions,
    DubPlan,
    MediaLimits,
    Output,
    Passage,
    SyncMode,
    Voice,
    plan_from_json,
    plan_to_json,
)
from model.progress import ignore_progress
from model.survey import Survey, plan_dub, survey
from model.weights import load_model
from tests.media_factory import make_video, make_voice, rgb_picture
from tests.synthetic_faces import SteadyDetector

LIMITS = MediaLimits()
LOSSLESS = Output(Container.MOV, audio_codec=AudioCodec.PCM)
LEFT = Detection(20, 60, 80, 96, 0.9)
RIGHT = Detection(200, 60, 70, 84, 0.9)


class Detector(SteadyDetector):
    """Sees the same faces in every picture that is not black."""

    def detect(self, frame_rgb: NDArray[np.uint8]) -> list[Detection]:
        return super().detect(frame_rgb) if frame_rgb.mean() > 40 else []


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(load_model("tiny", device=torch.device("cpu"), dtype=torch.float32), Detector(LEFT, RIGHT))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds: a shot of 30 frames with two faces and sound, and one of 20 black frames."""
    pictures = [rgb_picture(i, 320, 240) if i < 30 else np.zeros((240, 320, 3), np.uint8) for i in range(50)]
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    return make_video(path, width=320, height=240, frames=50, pictures=pictures, audio_seconds=2.0)


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_voice(tmp_path_factory.mktemp("voice") / "voice.wav", seconds=2.0, frequency=300.0)


@pytest.fixture(scope="module")
def surveyed(video: Path, voice: Path) -> Survey:
    """The video and the voice, looked at once."""
    return look(video, voice, Passage(0, 2))


def look(video: Path, voice: Path | None, *passages: Passage, **options: Any) -> Survey:
    dub_options = DubOptions(passages=passages, num_inference_steps=1, guidance_scale=1.0, **options)
    return survey(video, voice, dub_options, LIMITS, Detector(LEFT, RIGHT))


def plan(surveyed: Survey, *passages: Passage, **options: Any) -> DubPlan:
    """The plan of these passages, whose own voices are like the dub's."""
    media = replace(surveyed.media, passages=(surveyed.media.audio,) * len(passages))
    return plan_dub(replace(surveyed, media=media, options=replace(surveyed.options, passages=passages, **options)))


def spans(dub: DubPlan) -> list[tuple[int, int]]:
    return [(voice.first, voice.stop) for voice in dub.voices]


def test_a_passage_is_rendered_from_its_first_frame_to_its_last_and_all_frames_stay(
    surveyed: Survey, voice: Path
) -> None:
    dub = plan(surveyed, Passage(0.2, 0.6), Passage(0.8, 1.0))
    assert [(segment.first, segment.stop, segment.voice) for segment in dub.segments] == [(5, 15, 0), (20, 25, 1)]
    assert dub.source_frames == tuple(range(50))
    assert dub.duration_seconds == 2.0
    assert dub.voices == (Voice(voice, 5, 15, 0.2), Voice(voice, 20, 25, 0.8))
    assert plan_from_json(plan_to_json(dub)) == dub


@pytest.mark.parametrize(
    ("start", "end", "frames"),
    [(0, 2.0, (0, 50)), (0.0, 2.0009, (0, 50)), (0.219, 0.381, (5, 10)), (0.221, 0.379, (6, 9)), (1.99, 2.0, None)],
)
def test_times_mean_the_nearest_frames(surveyed: Survey, start: float, end: float, frames: Any) -> None:
    if frames is None:
        with pytest.raises(SegmentNotInVideo, match="Segment 1 is too short"):
            plan(surveyed, Passage(0, 0.2), Passage(start, end))
    else:
        assert spans(plan(surveyed, Passage(start, end))) == [frames]


def test_times_of_a_fractional_rate_may_be_rounded(tmp_path: Path, voice: Path) -> None:
    video = make_video(tmp_path / "ntsc.mp4", width=320, height=240, frames=40, fps=Fraction(30_000, 1001))
    assert spans(plan_dub(look(video, voice, Passage(0.334, 0.667)))) == [(10, 20)]


def test_a_passage_outside_the_video_is_refused(surveyed: Survey) -> None:
    with pytest.raises(SegmentNotInVideo, match=r"Segment 0 ends at 2.1 s, the video at 2 s"):
        plan(surveyed, Passage(1.9, 2.1))


def test_each_passage_has_its_own_voice_and_face_or_the_dubs(surveyed: Survey, voice: Path) -> None:
    own = Path("own.wav")
    dub = plan(surveyed, Passage(0, 0.2), Passage(0.2, 0.4, own, face="s0f1"), face="s0f0")
    assert [voice.path for voice in dub.voices] == [voice, own]
    assert [voice.skip_seconds for voice in dub.voices] == [0.0, 0.0]
    left, right = (segment.boxes[0] for segment in dub.segments)
    assert left[2] < right[0]


def test_the_dubs_voice_is_not_needed_when_every_passage_has_its_own(video: Path, voice: Path) -> None:
    found = look(video, None, Passage(0, 0.4, voice))
    assert spans(plan_dub(found)) == [(0, 10)]
    with pytest.raises(NoAudioStream):
        plan(found, Passage(0, 0.4, voice), Passage(0.4, 0.8))


def test_a_passage_without_a_face_changes_its_sound_only_unless_none_has_one(surveyed: Survey) -> None:
    dub = plan(surveyed, Passage(0.4, 0.8), Passage(1.4, 1.8))
    assert {segment.voice for segment in dub.segments} == {0}
    assert len(dub.voices) == 2
    with pytest.raises(NoFaceFound):
        plan(surveyed, Passage(1.4, 1.8))
    with pytest.raises(FaceTrackNotFound):
        plan(surveyed, Passage(0.4, 0.8, face="s7f0"))


@pytest.mark.parametrize(
    ("passages", "mode"),
    [
        ([(0.5, 0.5)], "cut_off"),
        ([(0.5, 0.4)], "cut_off"),
        ([(-0.1, 0.4)], "cut_off"),
        ([(0, float("inf"))], "cut_off"),
        ([(0, 0.5), (0.4, 0.8)], "cut_off"),
        ([(0.5, 0.8), (0, 0.5)], "cut_off"),
        ([(0, 0.5)], "loop"),
    ],
)
def test_what_is_no_part_of_a_video_or_out_of_order_is_refused(passages: list[Any], mode: str) -> None:
    with pytest.raises(ValueError, match=r"no part|begins before|changes the length"):
        DubOptions(passages=tuple(Passage(*times) for times in passages), sync_mode=SyncMode(mode))


def test_an_error_of_one_of_many_files_names_its_segment(video: Path, voice: Path, tmp_path: Path) -> None:
    silent = make_voice(tmp_path / "silent.wav", seconds=0.4, silent=True)
    with pytest.raises(SilentAudio, match="Segment 1: "):
        look(video, None, Passage(0, 0.4, voice), Passage(0.4, 0.8, silent))


def test_a_fault_in_the_videos_own_sound_is_known_before_anything_is_rendered(tmp_path: Path, voice: Path) -> None:
    broken = make_voice(tmp_path / "nan.wav", samples=np.full((1, 8000), np.nan, np.float32), codec="pcm_f32le")
    video = _with_sound(make_video(tmp_path / "a.mp4", width=320, height=240), broken, tmp_path / "b.mkv")
    assert plan_dub(look(video, voice)).keeps_sound is False
    with pytest.raises(CorruptMedia, match="The video's own sound: "):
        look(video, voice, Passage(0, 0.2))


def test_only_the_passages_differ_in_picture_and_in_sound(
    pipeline: Pipeline, video: Path, voice: Path, tmp_path: Path
) -> None:
    # Given two passages, one with a voice of its own
    own = make_voice(tmp_path / "own.wav", seconds=0.4, frequency=500.0, rate=48_000)
    passages = (Passage(0.2, 0.4), Passage(0.8, 1.2, own))
    options = DubOptions(passages=passages, num_inference_steps=1, guidance_scale=1.0, output=LOSSLESS)
    # When the video is dubbed
    report = pipeline.dub(video, voice, tmp_path / "out.mov", options)
    # Then all frames are there at their times, and only those of the passages have another mouth
    assert (report.frames, report.frames_synced, report.frames_outside) == (50, 15, 35)
    source, result = (list(VideoReader(path).frames()) for path in (video, tmp_path / "out.mov"))
    assert [frame.time_seconds for frame in result] == [frame.time_seconds for frame in source]
    difference = [int(np.abs(a.planes.y.astype(int) - b.planes.y).max()) for a, b in zip(source, result, strict=True)]
    changed = [index for index, most in enumerate(difference) if most > 25]
    assert changed == [*range(5, 10), *range(20, 30)]
    # And the sound around them is the video's own, sample by sample to 24 bits, and in them it is not
    before, after = (_sound(path) for path in (video, tmp_path / "out.mov"))
    inside = np.zeros(before.shape[1], bool)
    inside[round(0.2 * 48_000) : round(0.4 * 48_000)] = inside[round(0.8 * 48_000) : round(1.2 * 48_000)] = True
    assert np.abs(before - after[:, : before.shape[1]])[:, ~inside].max() < 2**-22
    assert np.abs(before - after[:, : before.shape[1]])[:, inside].max() > 0.2


def test_pictures_outside_passages_and_without_a_face_are_the_sources_bit_for_bit(
    pipeline: Pipeline, surveyed: Survey, video: Path, tmp_path: Path
) -> None:
    # Given two rendered passages; the second goes on for ten black frames, in which there is no face
    dub = plan(surveyed, Passage(0.2, 0.4), Passage(1.0, 1.6))
    paths = {segment.index: tmp_path / f"{segment.index}.mkv" for segment in dub.segments}
    for segment in dub.segments:
        pipeline.render_segment(dub, segment, paths[segment.index])
    # When the pictures are composed
    pictures = list(_composed_pictures(dub, paths, ignore_progress))
    # Then no sample of any plane is another, but where a face was dubbed
    source = [frame.planes for frame in VideoReader(video).frames()]
    changed = [index for index, (a, b) in enumerate(zip(source, pictures, strict=True)) if not _are_equal(a, b)]
    assert changed == [*range(5, 10), *range(25, 30)]


def test_a_segment_hears_its_own_voice_from_its_start_and_the_dubs_at_its_time(
    pipeline: Pipeline, surveyed: Survey
) -> None:
    whole = plan(surveyed, Passage(0.4, 0.8))
    (segment,) = whole.segments
    skipped = replace(whole, voices=(replace(whole.voices[0], skip_seconds=0.0),))
    at_once, later = pipeline._features(whole, segment), pipeline._features(skipped, segment)
    features = pipeline._encoded(whole.voices[0], whole)
    assert torch.equal(at_once, features.at([0.4 + i / 25 for i in range(10)]))
    assert torch.equal(later, features.at([i / 25 for i in range(10)]))


def _are_equal(one: Any, other: Any) -> bool:
    return all(np.array_equal(getattr(one, plane), getattr(other, plane)) for plane in "yuv")


def _sound(path: Path) -> NDArray[np.float32]:
    sound = np.concatenate(list(read_samples(path, LIMITS, 48_000, "stereo")), axis=1)
    return sound[:, : 2 * 48_000]


def _with_sound(video: Path, sound: Path, out: Path) -> Path:
    """The video with another file's sound, neither encoded again."""
    import av

    with av.open(str(video)) as picture, av.open(str(sound)) as heard, av.open(str(out), "w") as container:
        tracks = [(picture, picture.streams.video[0]), (heard, heard.streams.audio[0])]
        streams = [container.add_stream_from_template(stream) for _, stream in tracks]
        for (source, stream), target in zip(tracks, streams, strict=True):
            for packet in source.demux(stream):
                if packet.dts is not None:
                    packet.stream = target
                    container.mux(packet)
    assert probe_video(out, LIMITS).has_audio
    return out
