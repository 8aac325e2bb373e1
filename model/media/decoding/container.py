"""The one door through which a media file reaches FFmpeg.

An input file is hostile until proven otherwise. Playlists, concat scripts and session descriptions make FFmpeg open
other files and addresses. So only real containers are on the list, and every nested open is refused: the list alone
would trust each demuxer's own nesting, the refusal alone would let exotic demuxers parse.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import av
from av.container import InputContainer
from av.error import FFmpegError

from model.errors import CorruptMedia, MediaTooLarge, ModelError, NotMedia
from model.media.decoding.source import MediaSource

_ACCEPTED_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,wav,mp3,flac,ogg,aac"


@contextmanager
def open_media(source: MediaSource) -> Iterator[InputContainer]:
    """Open a media file from its start, for reading. One at a time: containers of one source share its file.

    Raises NotMedia when it is none of the accepted containers, MediaTooLarge when it holds too many streams. FFmpeg's
    errors inside the block mean that the content is broken: they become CorruptMedia. OSError when it cannot be read.
    """
    limits = source.limits
    source.file.seek(0)
    with _translating(NotMedia, "The file is not a video or audio file of an accepted container."):
        container = av.open(
            source.file,
            mode="r",
            options={
                "format_whitelist": _ACCEPTED_CONTAINERS,
                "protocol_whitelist": "file",
                "max_pixels": str(limits.max_pixels),
            },
            io_open=_refuse_nested_open,
            metadata_errors="replace",
        )
    with container, _translating(CorruptMedia, "The file opens, but its content cannot be decoded."):
        if len(container.streams) > limits.max_streams:
            raise MediaTooLarge(f"The file holds {len(container.streams)} streams; {limits.max_streams} are allowed.")
        yield container


@contextmanager
def _translating(error: type[ModelError], message: str) -> Iterator[None]:
    """Turn what FFmpeg raises into an error of ours."""
    try:
        yield
    except (MemoryError, BlockingIOError) as fault:  # the latter: no memory for a thread
        raise MediaTooLarge("Decoding the file takes more memory than is allowed.") from fault
    except FFmpegError as fault:
        raise error(message) from fault
    except OSError as fault:
        if fault.errno != errno.EINVAL:  # a broken file sends FFmpeg to places before its start
            raise
        raise error(message) from fault


def _refuse_nested_open(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise PermissionError("a media file may not open other files")
