"""Video in: facts, and upright frames in any order, exact in index and time, in constant memory.

The file is opened and decoded in a confined process (`model.media.sandbox`), one for each call. What runs there, and
what a frame's index and time mean: `model.media.decoding.video`.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from model.media.frame import Frame
from model.media.sandbox.decoder import Decoder
from model.media.sandbox.wire import Operation, Request
from model.plan import MediaLimits, VideoFacts

__all__ = ["Frame", "VideoReader", "probe_video", "read_frames"]


def probe_video(path: Path, limits: MediaLimits) -> VideoFacts:
    """Read what the container and the first frame say; refuse what is over the limits before it costs anything.

    `frames` and `duration_seconds` are the container's word; only a whole decoding pass knows.
    Raises NotMedia, NoVideoStream, NoVideoFrames, CorruptMedia, MediaTooLarge, MediaTimeout.
    """
    with Decoder(path, Request(Operation.PROBE_VIDEO, limits)) as decoder:
        return decoder.facts(VideoFacts)


class VideoReader:
    """The frames of one video file, decoded as they are asked for."""

    def __init__(self, path: Path, limits: MediaLimits | None = None) -> None:
        self._path = path
        self._limits = limits or MediaLimits()

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Frames [start, stop) in order; to the end of the video without a stop.

        Raises NotMedia, NoVideoStream, NoVideoFrames, MediaTooLarge, MediaTimeout, and CorruptMedia, which also means
        that the video ends before `stop`.
        """
        request = Request(Operation.FRAMES, self._limits, {"start": start, "stop": stop})
        with Decoder(self._path, request) as decoder:
            yield from decoder.frames()


def read_frames(
    path: Path, indices: Iterable[int], source_pts: Sequence[int] = (), limits: MediaLimits | None = None
) -> Iterator[Frame]:
    """Frames in the order of `indices`: any jumps, repeats and runs backwards, in bounded memory.

    source_pts: times of frames 0, 1, … as an earlier decoding pass gave them, as many as are known. With them a jump
    is a seek to the key frame before it; without them everything before a frame is decoded once first.
    Raises the errors of `VideoReader.frames`.
    """
    request = Request(
        Operation.FRAMES_IN_ORDER, limits or MediaLimits(), indices=array("q", indices), source_pts=source_pts
    )
    with Decoder(path, request) as decoder:
        yield from decoder.frames()
