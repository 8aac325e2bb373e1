"""Cut the output into segments: short enough for any device's memory, overlapping so that no seam shows."""

from collections.abc import Iterator, Sequence
from itertools import count, pairwise

import numpy as np
from numpy.typing import NDArray

from model.faces.track import FaceTrack
from model.plan import Box, Geometry, Segment

MAX_SEGMENT_FRAMES = 100
OVERLAP_FRAMES = 6


def plan_segments(
    source_frames: Sequence[int],
    track: FaceTrack,
    geometry: Geometry,
    max_frames: int = MAX_SEGMENT_FRAMES,
    overlap: int = OVERLAP_FRAMES,
) -> tuple[Segment, ...]:
    """Segments of the output whose frame i shows source frame source_frames[i], in order.

    A run of frames to render ends where a frame is not to be rendered, where a shot ends, and where the source jumps
    (a loop starts again); standing still or turning round, as in hold and bounce, is no jump. A run longer than
    `max_frames` is divided evenly into segments that share `overlap` frames with the next.
    Rendered are the frames that show the face; in the published geometry all frames of a shot that begins with one.
    Raises ValueError when `max_frames` is less than three times `overlap`, or not positive.
    """
    if max_frames < max(1, 3 * overlap):
        raise ValueError(f"segments of {max_frames} frames cannot overlap by {overlap}")
    index = count()
    return tuple(
        Segment(
            index=next(index),
            first=first,
            stop=stop,
            overlap=0 if first == run_first else overlap,
            boxes=_boxes(track, source_frames[first:stop]),
        )
        for run_first, run_stop in _runs(source_frames, track, geometry)
        for first, stop in divide(run_first, run_stop, max_frames, overlap)
    )


def _runs(source_frames: Sequence[int], track: FaceTrack, geometry: Geometry) -> Iterator[tuple[int, int]]:
    """[first, stop) runs of output frames that are rendered in one go."""
    shots = _shot_numbers(track)
    rendered = _rendered(track, geometry)
    breaks = [0]
    for i, (before, after) in enumerate(pairwise(source_frames), start=1):
        if abs(after - before) > 1 or shots[after] != shots[before] or rendered[after] != rendered[before]:
            breaks.append(i)
    for first, stop in pairwise([*breaks, len(source_frames)]):
        if first < stop and rendered[source_frames[first]]:
            yield first, stop


def _shot_numbers(track: FaceTrack) -> list[int]:
    """The number of the shot of each source frame."""
    return [number for number, (first, stop) in enumerate(track.shots) for _ in range(first, stop)]


def _rendered(track: FaceTrack, geometry: Geometry) -> NDArray[np.bool_]:
    """(F,) which source frames are rendered."""
    if geometry is not Geometry.PUBLISHED:
        return track.present
    lengths = [stop - first for first, stop in track.shots]
    return np.repeat([bool(track.present[first]) for first, _ in track.shots], lengths)


def divide(first: int, stop: int, max_frames: int, overlap: int) -> list[tuple[int, int]]:
    """Divide a run of frames [first, stop) into the fewest segments [first, stop), as even as they can be."""
    if stop - first <= max_frames:
        return [(first, stop)]
    steps = stop - first - overlap
    parts = -(-steps // (max_frames - overlap))
    starts = [first + part * steps // parts for part in range(parts + 1)]
    return [(start, next_start + overlap) for start, next_start in pairwise(starts)]


def _boxes(track: FaceTrack, source_frames: Sequence[int]) -> tuple[Box, ...]:
    return tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in track.boxes[list(source_frames)].tolist())
