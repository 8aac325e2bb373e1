"""Segments cover what is to be rendered, once but for the overlap, and never cross a cut or a jump."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.faces.track import FaceTrack
from model.plan import Geometry, Segment
from model.segments import plan_segments


def track_of(present: list[bool], shots: list[tuple[int, int]]) -> FaceTrack:
    """A track whose box of frame i tells i."""
    boxes = [(i, 1, i + 20, 21) if there else (0, 0, 0, 0) for i, there in enumerate(present)]
    pts = tuple(40 * i for i in range(len(present)))
    return FaceTrack(np.array(boxes, np.int32).reshape(-1, 4), tuple(shots), pts, 40 * len(present))


def one_shot(frames: int) -> FaceTrack:
    return track_of([True] * frames, [(0, frames)])


@st.composite
def clips(draw) -> tuple[list[int], FaceTrack]:
    """A timeline (once, looped, bounced or held) over a track with cuts and losses."""
    lengths = draw(st.lists(st.integers(1, 90), min_size=1, max_size=4))
    frames = sum(lengths)
    stops = np.cumsum(lengths).tolist()
    lost = draw(st.lists(st.tuples(st.integers(0, frames), st.integers(0, 20)), max_size=3))
    present = [not any(first <= i < first + n for first, n in lost) for i in range(frames)]
    track = track_of(present, list(zip([0, *stops], stops, strict=False)))
    forward = list(range(frames))
    timeline = draw(
        st.sampled_from(
            [
                forward,
                forward * 2,
                forward + forward[-2:0:-1] + forward,
                forward + [frames - 1] * 30,
                forward[: frames // 2],
            ]
        )
    )
    return timeline, track


limits = st.integers(1, 8).flatmap(lambda overlap: st.tuples(st.integers(3 * overlap, 60), st.just(overlap)))


def shot_of(track: FaceTrack, frame: int) -> int:
    return next(i for i, (first, stop) in enumerate(track.shots) if first <= frame < stop)


@settings(max_examples=300)
@given(clip=clips(), limit=limits)
def test_the_rules_of_segments(clip, limit):
    timeline, track = clip
    max_frames, overlap = limit
    segments = plan_segments(timeline, track, Geometry.TRACKED, max_frames, overlap)

    covered = np.zeros(len(timeline), int)
    for segment in segments:
        covered[segment.first : segment.stop] += 1
    shared = np.zeros(len(timeline), int)
    for segment in segments:
        shared[segment.first : segment.first + segment.overlap] += 1
    present = track.present[timeline].astype(int)
    assert (covered - shared == present).all(), "every present frame once but for the overlap, no absent one"
    assert covered.max(initial=0) <= 2, "overlaps are between neighbours only"

    assert [segment.index for segment in segments] == list(range(len(segments)))
    for before, after in pairwise(segments):
        assert after.overlap in (0, overlap)
        assert after.first == before.stop - overlap if after.overlap else after.first >= before.stop
    for segment in segments:
        shown = timeline[segment.first : segment.stop]
        assert 1 <= segment.frames <= max_frames
        assert segment.boxes == tuple((i, 1, i + 20, 21) for i in shown)
        assert len({shot_of(track, frame) for frame in shown}) == 1, "no segment crosses a cut"
        assert np.abs(np.diff(shown)).max(initial=0) <= 1, "no segment crosses a jump of the source"


@given(frames=st.integers(1, 2000))
def test_a_long_run_is_divided_into_the_fewest_segments_and_evenly(frames):
    segments = plan_segments(range(frames), one_shot(frames), Geometry.TRACKED)
    lengths = [segment.frames for segment in segments]
    assert max(lengths) - min(lengths) <= 1
    assert max(lengths) <= 100
    assert len(segments) == 1 or (len(segments) - 1) * 100 - (len(segments) - 2) * 6 < frames


def test_a_clip_of_a_hundred_frames_is_one_segment_and_one_more_makes_two():
    assert [(s.first, s.stop, s.overlap) for s in plan_segments(range(100), one_shot(100), Geometry.TRACKED)] == [
        (0, 100, 0)
    ]
    assert [(s.first, s.stop, s.overlap) for s in plan_segments(range(101), one_shot(101), Geometry.TRACKED)] == [
        (0, 53, 0),
        (47, 101, 6),
    ]


def runs(segments: tuple[Segment, ...]) -> list[tuple[int, int]]:
    return [(segment.first, segment.stop) for segment in segments]


def test_a_loop_ends_a_segment_where_the_source_starts_again():
    assert runs(plan_segments([*range(10), *range(10)], one_shot(10), Geometry.TRACKED)) == [(0, 10), (10, 20)]


def test_a_bounce_and_a_hold_go_on():
    assert runs(plan_segments([0, 1, 2, 3, 2, 1, 0, 1, 1, 1], one_shot(4), Geometry.TRACKED)) == [(0, 10)]


def test_published_segments_are_whole_shots_that_begin_with_a_face():
    track = track_of([True, False, True, False, True, True, True], [(0, 3), (3, 5), (5, 7)])
    segments = plan_segments(range(7), track, Geometry.PUBLISHED)
    assert runs(segments) == [(0, 3), (5, 7)]
    assert segments[0].boxes[1] == (0, 0, 0, 0)
    assert runs(plan_segments(range(7), track, Geometry.TRACKED)) == [(0, 1), (2, 3), (4, 5), (5, 7)]


def test_no_output_no_segments():
    assert plan_segments([], one_shot(3), Geometry.TRACKED) == ()


def test_a_dub_without_faces_in_its_part_has_no_segments():
    assert plan_segments(range(2), track_of([False, False, True], [(0, 3)]), Geometry.TRACKED) == ()


@pytest.mark.parametrize(("max_frames", "overlap"), [(17, 6), (0, 0)])
def test_an_overlap_that_would_reach_beyond_the_neighbour_is_refused(max_frames, overlap):
    with pytest.raises(ValueError, match="overlap"):
        plan_segments(range(50), one_shot(50), Geometry.TRACKED, max_frames, overlap)
