"""Stage track_faces: from frames to the boxes of the one face that is dubbed."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import NoFaceFound
from model.faces.detector import FaceDetector, make_detector
from model.faces.track import FaceTrack
from model.media.reader import VideoReader, probe_video
from model.plan import Geometry, MediaLimits
from model.progress import Stage
from model.stages.track_faces import track_faces
from tests.synthetic_faces import PaintedFrame, WhiteRectangleDetector, painted_facts, painted_frames

FACE = (120, 60, 60, 80)
FACE_BOX = [114, 60, 186, 148]


def track(frames, geometry: Geometry = Geometry.TRACKED, detector: FaceDetector | None = None, **options) -> FaceTrack:
    frames = list(frames)
    facts, detector = painted_facts(len(frames)), detector or WhiteRectangleDetector()
    return track_faces(frames, facts, detector, geometry, **options).follow()


@pytest.mark.parametrize("geometry", Geometry)
@pytest.mark.parametrize("stride", [1, 5])
def test_a_still_face_is_boxed_in_every_frame(geometry, stride):
    faces = track(painted_frames([FACE] * 12), geometry, WhiteRectangleDetector(stride))
    assert faces.boxes.tolist() == [FACE_BOX] * 12
    assert faces.present.all()
    assert faces.shots == ((0, 12),)


@settings(max_examples=25)
@given(lengths=st.lists(st.integers(4, 9), min_size=1, max_size=4), stride=st.sampled_from([1, 5]), data=st.data())
def test_each_shot_follows_its_own_face_and_no_box_crosses_a_cut(lengths, stride, data):
    faces_of_shots = [
        data.draw(st.none() | st.tuples(st.integers(20, 200), st.integers(10, 100), st.just(50), st.just(60)))
        for _ in lengths
    ]
    starts = np.cumsum([0, *lengths]).tolist()
    frames = [
        PaintedFrame(starts[shot] + t, face, scene=shot)
        for shot, (frames_of_shot, face) in enumerate(zip(lengths, faces_of_shots, strict=True))
        for t in range(frames_of_shot)
    ]
    if not any(faces_of_shots):
        with pytest.raises(NoFaceFound):
            track(frames, detector=WhiteRectangleDetector(stride))
        return
    faces = track(frames, detector=WhiteRectangleDetector(stride))
    assert faces.shots == tuple(pairwise(starts))
    for (first, stop), face in zip(faces.shots, faces_of_shots, strict=True):
        assert faces.present[first:stop].tolist() == [face is not None] * (stop - first)
        if face is not None:
            x, y, _, _ = face
            assert faces.boxes[first:stop].tolist() == [[x - 5, y, x + 55, y + 66]] * (stop - first)


@pytest.mark.parametrize(("frames_lost", "bridged"), [(6, True), (20, False)])
def test_a_short_loss_is_bridged_and_a_long_one_passes_through(frames_lost, bridged):
    frames = [PaintedFrame(t, FACE, turned_away=10 <= t < 10 + frames_lost) for t in range(20 + frames_lost)]
    faces = track(frames)
    assert faces.shots == ((0, len(frames)),)
    assert faces.present[:10].all()
    assert faces.present[-10:].all()
    assert faces.present[10:-10].all() == bridged
    assert faces.present[10:-10].any() == bridged


def test_published_boxes_are_zero_where_the_face_is_lost():
    faces = track(painted_frames([FACE] * 3 + [None] + [FACE] * 2), Geometry.PUBLISHED)
    assert faces.present.tolist() == [True, True, True, False, True, True]
    assert faces.shots == ((0, 3), (3, 4), (4, 6))


def test_a_slow_detector_looks_at_few_frames_but_at_the_ends_of_every_shot():
    detector = WhiteRectangleDetector(stride=5)
    first = [PaintedFrame(t, FACE, scene=1) for t in range(13)]
    second = [PaintedFrame(13 + t, FACE, scene=2) for t in range(6)]
    faces = track(first + second, detector=detector)
    assert detector.looks == len([0, 5, 10, 12, 13, 18])
    assert faces.present.all()


def test_boxes_are_in_pixels_of_the_source_however_large_it_is():
    large = [PaintedFrame(t, (600, 300, 240, 320), width=1600, height=1200) for t in range(4)]
    faces = track_faces(large, painted_facts(4, 1600, 1200), WhiteRectangleDetector(), Geometry.TRACKED).follow()
    assert np.abs(faces.boxes - [576, 300, 864, 652]).max() <= 6


def test_the_times_of_the_frames_are_kept():
    faces = track(painted_frames([FACE] * 4))
    assert faces.pts == (0, 40, 80, 120)
    assert faces.duration == 160


def test_every_frame_is_reported_and_a_listener_may_stop_the_pass():
    heard = []
    track(painted_frames([FACE] * 4), on_progress=heard.append)
    assert [(p.stage, p.frames_done, p.frames_total) for p in heard] == [
        (Stage.TRACK_FACES, done, 4) for done in (1, 2, 3, 4)
    ]

    class Stopped(Exception):
        pass

    def stop(_):
        raise Stopped

    with pytest.raises(Stopped):
        track(painted_frames([FACE] * 4), on_progress=stop)


@pytest.mark.parametrize("geometry", Geometry)
@pytest.mark.parametrize("frames", [0, 1, 30])
def test_a_video_without_a_face_is_refused(geometry, frames):
    with pytest.raises(NoFaceFound, match=r"64 px"):
        track(painted_frames([None] * frames), geometry)


def test_one_frame_with_a_face_is_a_video():
    assert track(painted_frames([FACE])).boxes.tolist() == [FACE_BOX]


def test_frames_are_let_go_as_they_pass():
    alive = 0
    most_alive = 0

    class CountedFrame(PaintedFrame):
        def __del__(self):
            nonlocal alive
            alive -= 1

    def frames():
        nonlocal alive, most_alive
        for index in range(50):
            alive += 1
            most_alive = max(most_alive, alive)
            yield CountedFrame(index, FACE)

    track_faces(frames(), painted_facts(50), WhiteRectangleDetector(), Geometry.TRACKED)
    assert most_alive <= 3


@pytest.mark.parametrize("detector_name", ["dlib", "yunet"])
def test_a_real_talking_head_is_one_shot_with_its_face_in_every_frame(detector_name, real_media_dir, request):
    yunet = request.getfixturevalue("yunet_path") if detector_name == "yunet" else None
    path, limits = real_media_dir / "speaker.mp4", MediaLimits()
    frames = VideoReader(path, limits).frames(0, 75)
    faces = track_faces(frames, probe_video(path, limits), make_detector(yunet), Geometry.TRACKED).follow()
    assert faces.present.all()
    assert faces.shots == ((0, 75),)
    assert len(set((faces.boxes[:, 3] - faces.boxes[:, 1]).tolist())) == 1
    assert np.abs(np.diff(faces.boxes, axis=0)).max() <= 8
