"""Generated crops on disk between rendering and composing: lossless RGB, FFV1 in Matroska, written and read as streams.

The file declares its number of frames before the first, so that one cut short is never taken for a whole one. FFV1's
decoder paints over damage instead of reporting it, so each picture carries its CRC-32 in the channel that RGB leaves
free.
"""

import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from av.video.stream import VideoStream
from numpy.typing import NDArray

from model.errors import CorruptMedia
from model.media.decoding.container import open_media
from model.media.decoding.source import MediaSource
from model.plan import MediaLimits

_FRAMES_TAG = "HIGHSYNC_FRAMES"
_STORED_FORMAT = "bgra"
_ENCODER_OPTIONS = {"level": "3", "g": "1", "slices": "4"}


class SegmentWriter:
    """Writes exactly `frames` pictures of size x size. A context manager; the file appears when it is complete."""

    def __init__(self, path: Path, frames: int, size: int) -> None:
        self._path = path
        self._partial = path.with_name(f"{path.name}.partial")
        self._frames = frames
        self._written = 0
        self._container = av.open(f"file:{self._partial}", "w", format="matroska")
        self._container.metadata[_FRAMES_TAG] = str(frames)
        self._stream: VideoStream = self._container.add_stream("ffv1", rate=25, options=_ENCODER_OPTIONS)
        self._stream.width = self._stream.height = size
        self._stream.pix_fmt = _STORED_FORMAT
        self._stream.codec_context.time_base = Fraction(1, 25)

    def __enter__(self) -> Self:
        return self

    def write(self, rgb: NDArray[np.uint8]) -> None:
        """Append one picture, (S, S, 3) uint8 RGB."""
        frame = av.VideoFrame.from_ndarray(_sealed(rgb), format=_STORED_FORMAT)
        frame.pts = self._written
        self._container.mux(self._stream.encode(frame))
        self._written += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._container.mux(self._stream.encode(None))
        self._container.close()
        if kind is not None:
            self._partial.unlink(missing_ok=True)
        elif self._written != self._frames:
            self._partial.unlink(missing_ok=True)
            raise ValueError(f"{self._frames} frames were declared, {self._written} written")
        else:
            self._partial.replace(self._path)


def read_segment(path: Path) -> Iterator[NDArray[np.uint8]]:
    """The pictures of a segment file in order, (S, S, 3) uint8 RGB. CorruptMedia unless all are there and intact."""
    with path.open("rb") as file, open_media(MediaSource(file, MediaLimits())) as container:
        stream = container.streams.video[0]
        declared = container.metadata.get(_FRAMES_TAG, "")
        frames = 0
        if stream.codec_context.pix_fmt != _STORED_FORMAT:
            raise CorruptMedia("The file is no segment file.")
        for frame in container.decode(stream):
            yield _unsealed(np.asarray(frame.to_ndarray(), np.uint8))
            frames += 1
        if str(frames) != declared:
            raise CorruptMedia(f"The segment file holds {frames} of {declared or 'an unknown number of'} frames.")


def _sealed(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture with its checksum, (S, S, 4) BGRA."""
    bgra = np.zeros((*rgb.shape[:2], 4), np.uint8)
    bgra[..., :3] = rgb[..., ::-1]
    _seal(bgra)[:] = _checksum(rgb)
    return bgra


def _unsealed(bgra: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture (S, S, 3) RGB. Raises CorruptMedia when it is not the one that was written."""
    rgb = np.ascontiguousarray(bgra[..., 2::-1])
    if not np.array_equal(_seal(bgra), _checksum(rgb)):
        raise CorruptMedia("The segment file is damaged.")
    return rgb


def _seal(bgra: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Where the checksum is: the first four samples of the fourth channel."""
    return bgra.reshape(-1, 4)[:4, 3]


def _checksum(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.frombuffer(zlib.crc32(np.ascontiguousarray(rgb).data).to_bytes(4, "big"), np.uint8)
