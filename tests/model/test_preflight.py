"""What a preflight tells of its inputs, and what it warns of. Small files, a detector that finds painted faces."""

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.errors import EncoderUnavailable, NoAudioStream, SilentAudio
from model.faces.detector import Detection
from model.media import writer
from model.pipeline import Pipeline
from model.plan import DubOptions, FaceChoice, FacePoint, MediaLimits, Passage
from model.preflight import MAX_FACES, MAX_SHOTS, Preflight, WarningCode, preflight
from model.survey import Survey, plan_dub, survey
from model.weights import load_model
from tests.media_factory import make_video, make_voice
from tests.synthetic_faces import SteadyDetector

LIMITS = MediaLimits()
CROP_SIZE = 512
FACE = Detection(100, 60, 80, 96, 0.9)
SMALL = Detection(20, 20, 40, 60, 0.9)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("video") / "clip.mp4", width=320, height=240, frames=12)


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_voice(tmp_path_factory.mktemp("voice") / "voice.wav", seconds=0.48)


def look(
    video: Path,
    voice: Path | None,
    *faces: Detection,
    face: FaceChoice = "auto",
    passages: tuple[Passage, ...] = (),
    detector: Any = None,
) -> Survey:
    options = DubOptions(face=face, passages=passages)
    return survey(video, voice, options, LIMITS, detector or SteadyDetector(*faces), may_be_silent=True)


def report(video: Path, voice: Path | None, *faces: Detection, **options: Any) -> Preflight:
    return preflight(look(video, voice, *faces, **options), CROP_SIZE)


def codes(found: Preflight) -> set[WarningCode]:
    return {warning.code for warning in found.warnings}


def test_an_ordinary_clip_is_described_without_a_warning(video: Path, voice: Path) -> None:
    found = report(video, voice, FACE)
    assert (found.video.width, found.video.height, found.frames, found.duration_seconds) == (320, 240, 12, 0.48)
    assert found.audio is not None
    assert found.audio.peak == pytest.approx(0.4, abs=0.001)
    assert (found.frames_with_face, found.frames_to_render) == (12, 12)
    assert [(shot.first, shot.stop, shot.start_seconds) for shot in found.shots] == [(0, 12, 0.0)]
    (face,) = found.faces
    assert (face.id, face.shot, face.first, face.stop, face.frames) == ("s0f0", 0, 0, 12, 12)
    assert (face.width, face.height, face.thumbnail_frame) == (80, 96, 6)
    assert found.warnings == ()


def test_nothing_of_it_runs_a_network(video: Path, voice: Path, tmp_path: Path) -> None:
    class Called(Exception): ...

    def refuse(*_: object) -> None:
        raise Called

    model = load_model("tiny", device=torch.device("cpu"), dtype=torch.float32)
    for network in (model.denoising_unet, model.reference_unet, model.vae, model.audio_encoder):
        network.register_forward_pre_hook(refuse)
    pipeline = Pipeline(model, SteadyDetector(FACE))

    found = pipeline.survey(video, voice, DubOptions(), LIMITS)
    pipeline.preflight(found)
    pipeline.thumbnails(found, tmp_path)

    plan = pipeline.plan(found)
    with pytest.raises(Called):
        pipeline.render_segment(plan, plan.segments[0], tmp_path / "0.mkv")


def test_a_clip_without_a_face_is_a_finding(video: Path, voice: Path) -> None:
    found = report(video, voice)
    assert codes(found) == {WarningCode.NO_FACE_FOUND}
    assert (found.frames_with_face, found.frames_to_render, found.faces) == (0, 0, ())


@pytest.mark.parametrize(
    ("face", "code"),
    [("s3f0", WarningCode.FACE_TRACK_NOT_FOUND), (FacePoint(1, 1, 0), WarningCode.NO_FACE_AT_POINT)],
)
def test_a_chosen_face_that_is_not_there_is_a_finding(
    video: Path, voice: Path, face: FaceChoice, code: WarningCode
) -> None:
    found = report(video, voice, FACE, face=face)
    assert codes(found) == {code}
    assert found.frames_to_render == 0
    assert len(found.faces) == 1


def test_an_encoder_that_is_not_there_is_a_finding_and_stops_a_dub(
    video: Path, voice: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = look(video, voice, FACE)
    monkeypatch.setattr(writer, "_opens", lambda codec: False)
    assert codes(preflight(found, CROP_SIZE)) == {WarningCode.ENCODER_UNAVAILABLE}
    with pytest.raises(EncoderUnavailable):
        plan_dub(found)


def test_without_a_voice_the_whole_video_counts(video: Path) -> None:
    found = report(video, None, FACE)
    assert found.audio is None
    assert (found.frames_to_render, found.warnings) == (12, ())


def test_a_dub_needs_a_voice_that_can_be_heard(video: Path, tmp_path: Path) -> None:
    silent = make_voice(tmp_path / "silent.wav", seconds=0.48, silent=True)
    assert codes(report(video, silent, FACE)) == {WarningCode.SILENT_AUDIO}
    with pytest.raises(SilentAudio):
        survey(video, silent, DubOptions(), LIMITS, SteadyDetector(FACE))
    with pytest.raises(NoAudioStream):
        plan_dub(look(video, None, FACE))


def test_a_voice_that_is_hardly_there_is_told(video: Path, tmp_path: Path) -> None:
    samples = np.full((1, 7680), 0.005, np.float32)
    quiet = make_voice(tmp_path / "quiet.wav", samples=samples)
    (warning,) = report(video, quiet, FACE).warnings
    assert warning.code is WarningCode.QUIET_AUDIO
    assert "-46 dBFS" in warning.message


@pytest.mark.parametrize(("seconds", "warned"), [(0.4, False), (1.0, True), (0.2, True)])
def test_lengths_that_differ_are_told_with_both(video: Path, tmp_path: Path, seconds: float, warned: bool) -> None:
    found = report(video, make_voice(tmp_path / "voice.wav", seconds=seconds), FACE)
    assert (WarningCode.LENGTH_MISMATCH in codes(found)) == warned
    if warned:
        assert "0.48 s" in found.warnings[0].message
        assert f"{seconds:.2f} s" in found.warnings[0].message


def test_of_several_faces_those_in_the_shot_are_named_unless_one_is_chosen(video: Path, voice: Path) -> None:
    (warning,) = report(video, voice, SMALL, FACE).warnings
    assert (warning.code, warning.faces) == (WarningCode.SEVERAL_FACES, ("s0f0", "s0f1"))
    assert report(video, voice, SMALL, FACE, face="s0f0").warnings == ()


def test_segments_are_looked_at_one_by_one(video: Path, voice: Path, tmp_path: Path) -> None:
    silent = make_voice(tmp_path / "silent.wav", seconds=0.16, silent=True)
    long = make_voice(tmp_path / "long.wav", seconds=1.0)
    passages = (Passage(0, 0.16, silent), Passage(0.16, 0.32, long, face="s0f1"), Passage(0.32, 0.4))
    found = report(video, voice, FACE, SMALL, passages=passages)
    assert found.frames_to_render == 10
    assert {warning.code: warning.message for warning in found.warnings} == {
        WarningCode.SMALL_FACE: "The face is less than 64 px high: its mouth has too few pixels to be convincing.",
        WarningCode.SEVERAL_FACES: "A shot shows several faces; `auto` dubs the one largest over the whole shot.",
        WarningCode.SILENT_AUDIO: "The voice of segment 0 holds no sound at all: every sample is zero.",
        WarningCode.LENGTH_MISMATCH: "Segment 1 lasts 0.16 s and the voice 1.00 s: it is cut, or silence follows it.",
    }


def test_a_segment_that_is_not_in_the_video_is_a_finding(video: Path, voice: Path) -> None:
    found = report(video, voice, FACE, passages=(Passage(0.2, 3.0),))
    assert codes(found) == {WarningCode.SEGMENT_NOT_IN_VIDEO}
    assert found.frames_to_render == 0


def test_a_segment_without_a_face_is_told(video: Path, voice: Path) -> None:
    class Blinking(SteadyDetector):
        """Looks away in the second half."""

        seen = 0

        def detect(self, frame_rgb: NDArray[np.uint8]) -> list[Detection]:
            self.seen += 1
            return self._faces if self.seen <= 3 else []

    found = report(video, voice, detector=Blinking(FACE), passages=(Passage(0, 0.12), Passage(0.4, 0.48)))
    assert codes(found) == {WarningCode.NO_FACE_IN_SEGMENT}
    assert [warning.message[:24] for warning in found.warnings] == ["No frame of segment 1 sh"]


def test_a_small_face_is_told_when_it_is_the_one_that_is_dubbed(video: Path, voice: Path) -> None:
    (warning,) = report(video, voice, FACE, SMALL, face=FacePoint(40, 50, 0.1)).warnings
    assert (warning.code, warning.faces) == (WarningCode.SMALL_FACE, ("s0f1",))
    assert WarningCode.SMALL_FACE not in codes(report(video, voice, FACE, SMALL))


def test_a_face_larger_than_what_is_generated_is_told(video: Path, voice: Path) -> None:
    found = look(video, voice, FACE)
    assert codes(preflight(found, 64)) == {WarningCode.ENLARGED_MOUTH}
    assert codes(preflight(found, 96)) == set()


@pytest.mark.parametrize(("turn", "profile"), [(None, None), (0.1, 0.0), (0.7, 1.0)])
def test_a_face_from_the_side_is_told_by_a_detector_that_sees_noses(
    video: Path, voice: Path, turn: float | None, profile: float | None
) -> None:
    found = report(video, voice, replace(FACE, turn=turn))
    assert found.faces[0].profile == profile
    assert (WarningCode.PROFILE_FACE in codes(found)) == (profile == 1.0)


def test_a_variable_frame_rate_is_told_and_rounding_to_a_clock_is_not(voice: Path, tmp_path: Path) -> None:
    def clip(name: str, pts: Iterable[int]) -> Path:
        times = list(pts)
        return make_video(
            tmp_path / name, width=320, height=240, frames=len(times), pts=times, time_base=Fraction(1, 1000)
        )

    steady = report(clip("steady.mkv", (round(i * 1001 / 24) for i in range(12))), voice, FACE)
    uneven = report(clip("uneven.mkv", (0, 40, 80, 200, 240, 280, 320, 360, 400, 440)), voice, FACE)
    assert WarningCode.VARIABLE_FRAME_RATE not in codes(steady)
    assert WarningCode.VARIABLE_FRAME_RATE in codes(uneven)


def test_an_interlaced_video_is_told(voice: Path, tmp_path: Path) -> None:
    options = {"x264-params": "tff=1"}
    video = make_video(tmp_path / "fields.mp4", width=320, height=240, frames=12, options=options)
    assert codes(report(video, voice, FACE)) == {WarningCode.INTERLACED}


def test_a_report_is_bounded_however_many_shots_and_faces_there_are(video: Path) -> None:
    one = look(video, None, *(replace(FACE, h=90.0 + i, x=1.0 + 100 * i) for i in range(3)))
    many = [replace(face, shot=shot) for shot in range(MAX_SHOTS + 5) for face in one.faces.faces]
    crowd = replace(one, faces=replace(one.faces, shots=one.faces.shots * (MAX_SHOTS + 5), faces=tuple(many)))

    found = preflight(crowd, CROP_SIZE)

    assert (found.shots_total, len(found.shots)) == (MAX_SHOTS + 5, MAX_SHOTS)
    assert (found.faces_total, len(found.faces)) == (3 * found.shots_total, MAX_FACES)
    assert {face.height for face in found.faces} == {92.0}, "the largest are named"
    assert [face.shot for face in found.faces] == sorted(face.shot for face in found.faces)


def test_each_face_has_a_picture_of_itself(tmp_path: Path) -> None:
    """Left of the clip is red, right is blue: so are the pictures of the two faces."""
    picture = np.zeros((480, 640, 3), np.uint8)
    picture[:, :320, 0] = picture[:, 320:, 2] = 200
    video = make_video(tmp_path / "two.mp4", width=640, height=480, frames=150, gop=50, pictures=[picture] * 150)
    pipeline = Pipeline(load_model("tiny", device=torch.device("cpu"), dtype=torch.float32), SteadyDetector())
    left, right = Detection(40, 100, 160, 200, 0.9), Detection(400, 100, 120, 150, 0.9)
    found = look(video, None, left, right)

    paths = pipeline.thumbnails(found, tmp_path)

    assert sorted(paths) == ["s0f0", "s0f1"]
    pictures = {name: cv2.imread(str(path)) for name, path in paths.items()}
    assert all(max(thumbnail.shape) == 160 for thumbnail in pictures.values())
    assert pictures["s0f0"].mean(axis=(0, 1)).argmax() == 2, "red, in OpenCV's order"
    assert pictures["s0f1"].mean(axis=(0, 1)).argmax() == 0


def test_the_pictures_are_made_one_by_one_and_a_listener_may_stop_it(video: Path, tmp_path: Path) -> None:
    class Stopped(Exception): ...

    def stop(_: object) -> None:
        raise Stopped

    pipeline = Pipeline(load_model("tiny", device=torch.device("cpu"), dtype=torch.float32), SteadyDetector())
    with pytest.raises(Stopped):
        pipeline.thumbnails(look(video, None, FACE), tmp_path, stop)
