"""Choosing the face to dub among all faces of a clip."""

import pytest

from model.errors import FaceTrackNotFound, NoFaceAtPoint, NoFaceFound
from model.faces.track import Faces
from model.plan import AUTO, FacePoint, Geometry
from model.stages.track_faces import track_faces
from tests.synthetic_faces import PaintedFrame, WhiteRectangleDetector, painted_facts

LEFT, RIGHT = (30, 60, 60, 80), (200, 60, 50, 70)
LEFT_BOX, RIGHT_BOX = [24, 60, 96, 148], [195, 60, 255, 137]


def survey(stride: int = 1, geometry: Geometry = Geometry.TRACKED) -> Faces:
    """Two people through a shot of 10 frames; then the right one alone for 8."""
    frames = [PaintedFrame(t, LEFT, scene=0, others=(RIGHT,)) for t in range(10)]
    frames += [PaintedFrame(10 + t, None, scene=1, others=(RIGHT,)) for t in range(8)]
    return track_faces(frames, painted_facts(18), WhiteRectangleDetector(stride), geometry)


@pytest.mark.parametrize("stride", [1, 5])
def test_every_face_has_an_id_the_largest_of_its_shot_first(stride: int) -> None:
    faces = survey(stride)
    assert [(face.id, face.first, face.stop) for face in faces.faces] == [
        ("s0f0", 0, 10),
        ("s0f1", 0, 10),
        ("s1f0", 10, 18),
    ]
    assert [faces.boxes(face).tolist()[0] for face in faces.faces] == [LEFT_BOX, RIGHT_BOX, RIGHT_BOX]
    assert [face.id for face in survey(stride).faces] == [face.id for face in faces.faces], "the same at every look"


def test_auto_takes_the_largest_face_of_each_shot() -> None:
    track = survey().follow(AUTO)
    assert track.boxes.tolist() == [LEFT_BOX] * 10 + [RIGHT_BOX] * 8


def test_an_id_means_that_face_alone_in_its_one_shot() -> None:
    track = survey().follow("s0f1")
    assert track.boxes.tolist() == [RIGHT_BOX] * 10 + [[0, 0, 0, 0]] * 8
    assert track.shots == ((0, 10), (10, 18))


def test_auto_and_the_largest_face_by_its_id_are_boxed_alike() -> None:
    faces = survey()
    assert faces.follow("s0f0").boxes[:10].tolist() == faces.follow(AUTO).boxes[:10].tolist()


@pytest.mark.parametrize(
    ("point", "box", "frames"),
    [
        (FacePoint(30, 70, 0.0), LEFT_BOX, range(10)),
        (FacePoint(225.5, 100, 0.399), RIGHT_BOX, range(10)),
        (FacePoint(225.5, 100, 0.4), RIGHT_BOX, range(10, 18)),
    ],
)
def test_a_point_means_the_face_that_is_there_at_that_time(point: FacePoint, box: list[int], frames: range) -> None:
    boxes = survey().follow(point).boxes
    assert boxes[frames.start : frames.stop].tolist() == [box] * len(frames)
    assert boxes.any(axis=1).sum() == len(frames)


def test_of_two_faces_around_a_point_the_one_with_the_nearer_middle_is_meant() -> None:
    frames = [PaintedFrame(t, (100, 60, 60, 80), others=((161, 60, 60, 80),)) for t in range(5)]
    faces = track_faces(frames, painted_facts(5), WhiteRectangleDetector(), Geometry.TRACKED)
    boxes = {x: faces.follow(FacePoint(x, 100, 0.0)).boxes[0].tolist() for x in (157, 163)}
    assert boxes[157][0] == 94
    assert boxes[163][0] == 155


@pytest.mark.parametrize("track_id", ["s0f2", "s1f1", "s2f0", "nobody"])
def test_a_track_that_does_not_exist_is_named(track_id: str) -> None:
    with pytest.raises(FaceTrackNotFound, match=track_id):
        survey().follow(track_id)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        (FacePoint(150, 100, 0.0), "No face is at .150, 100. at 0 s"),
        (FacePoint(60, 100, 0.5), "No face is at"),
        (FacePoint(60, 100, 0.72), "it ends at 0.72 s"),
        (FacePoint(60, 100, 1e9), "it ends at 0.72 s"),
    ],
)
def test_a_point_without_a_face_is_named(point: FacePoint, message: str) -> None:
    with pytest.raises(NoFaceAtPoint, match=message):
        survey().follow(point)


def test_the_published_geometry_knows_no_tracks() -> None:
    faces = survey(geometry=Geometry.PUBLISHED)
    assert faces.follow().present.all()
    with pytest.raises(FaceTrackNotFound):
        faces.follow("s0f0")


def test_a_clip_without_a_face_has_none_to_choose() -> None:
    faces = track_faces([PaintedFrame(0, None)], painted_facts(), WhiteRectangleDetector(), Geometry.TRACKED)
    for choice in (AUTO, "s0f0", FacePoint(1, 1, 0)):
        with pytest.raises(NoFaceFound):
            faces.follow(choice)


def test_of_a_crowd_the_eight_largest_can_be_chosen() -> None:
    crowd = tuple((10 + 30 * (i % 10), 20 + 50 * (i // 10), 20, 32 + i) for i in range(12))
    frames = [PaintedFrame(t, None, others=crowd) for t in range(4)]
    faces = track_faces(frames, painted_facts(4), WhiteRectangleDetector(), Geometry.TRACKED)
    heights = [float(face.track.boxes[0, 3]) for face in faces.faces]
    assert heights == sorted((h for *_, h in crowd), reverse=True)[:8]
