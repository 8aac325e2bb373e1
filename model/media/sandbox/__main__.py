"""What a decoder process runs: python -m model.media.sandbox SOCKET MEDIA REQUEST, three open descriptors.

Everything is imported before the process is confined: afterwards it can open no file. The only file it reads is MEDIA.
"""

import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import NoReturn

import av.subtitles.codeccontext  # loaded by PyAV when it meets subtitles, which would be too late
import av.subtitles.stream  # noqa: F401
import numpy as np
from numpy.typing import NDArray

from model.errors import MediaError, MediaTooLarge
from model.media.decoding.audio import decode_samples, probe_audio, voice_format
from model.media.decoding.source import MediaSource
from model.media.decoding.video import decode_frames, decode_frames_in_order, probe_video
from model.media.frame import Frame
from model.media.picture import Picture
from model.media.sandbox.confinement import confine
from model.media.sandbox.ring import DecoderRing
from model.media.sandbox.wire import (
    LARGEST_PACKET_BYTES,
    Alive,
    Broken,
    Done,
    Facts,
    Message,
    Operation,
    PictureReady,
    PicturesFollow,
    Ready,
    Refused,
    Request,
    SamplesReady,
    SoundFollows,
    Unreadable,
    pack,
    read_request,
)

_PULSE_SECONDS = 1.0
_GRACE_SECONDS = 10.0
"""How much longer than its parent a decoder waits before it ends itself: for when there is no parent any more."""


class Parent:
    """The way to the parent, and back. While the decoder decodes, an alarm runs that ends the process."""

    def __init__(self, connection: socket.socket, silence_seconds: float) -> None:
        self._connection = connection
        self._alarm_seconds = silence_seconds + _GRACE_SECONDS
        self._last_word = time.monotonic()

    def say(self, message: Message) -> None:
        """Send a message."""
        self._set_alarm()
        self._connection.send(pack(message))
        self._last_word = time.monotonic()

    def pulse(self) -> None:
        """Tell, once in a while, that decoding goes on. A parent that does not listen is busy: it need not hear."""
        self._set_alarm()
        if time.monotonic() - self._last_word < _PULSE_SECONDS:
            return
        self._last_word = time.monotonic()
        try:
            self._connection.send(pack(Alive()), socket.MSG_DONTWAIT)
        except BlockingIOError:
            return

    def memory(self) -> DecoderRing:
        """Receive the memory that was asked for."""
        slots, descriptors, _, _ = socket.recv_fds(self._connection, 1, 1)
        if not slots or not descriptors:
            _leave()
        return DecoderRing(descriptors[0], slots[0])

    def free_slot(self, ring: DecoderRing) -> int:
        """A slot to fill. Waits, with the alarm off, until the parent gives one back."""
        if not ring.free:
            signal.setitimer(signal.ITIMER_REAL, 0)
            given_back = self._connection.recv(LARGEST_PACKET_BYTES)
            if not given_back:
                _leave()
            ring.free.extend(given_back)
            self._set_alarm()
        return ring.free.popleft()

    def wait_for_end(self) -> None:
        """Wait until the parent hangs up: a process that ends with words unheard takes its own last words with it."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        while self._connection.recv(LARGEST_PACKET_BYTES):
            pass

    def _set_alarm(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, self._alarm_seconds)


def main() -> None:
    """Serve one request."""
    descriptors = [int(text) for text in sys.argv[1:]]
    with os.fdopen(descriptors[2], "rb") as file:
        request = read_request(file)
    parent = Parent(socket.socket(fileno=descriptors[0]), request.limits.decoder_silence_seconds)
    with suppress(BrokenPipeError, ConnectionResetError):  # the parent wants no more
        _answer(request, descriptors[1], parent)
        parent.wait_for_end()
    _leave()


def _answer(request: Request, media_descriptor: int, parent: Parent) -> None:
    """Confine this process, serve the request, and end with a last word, whatever happens."""
    try:
        parent.say(Ready(confine(request.limits)))
        with os.fdopen(media_descriptor, "rb", buffering=0) as media:
            _serve(request, MediaSource(media, request.limits, parent.pulse), parent)
        parent.say(Done())
    except MediaError as error:
        parent.say(Refused(type(error).__name__, str(error)))
    except MemoryError:
        parent.say(Refused(MediaTooLarge.__name__, "Decoding the file takes more memory than is allowed."))
    except (BrokenPipeError, ConnectionResetError):
        raise
    except OSError as error:
        parent.say(Unreadable(error.errno or 0, error.strerror or str(error)))
    except Exception:  # noqa: BLE001  the parent raises it
        parent.say(Broken(traceback.format_exc()[-LARGEST_PACKET_BYTES // 2 :]))


def _serve(request: Request, source: MediaSource, parent: Parent) -> None:
    arguments = request.arguments
    match request.operation:
        case Operation.CONFINEMENT:
            pass
        case Operation.PROBE_VIDEO:
            parent.say(Facts(asdict(probe_video(source))))
        case Operation.PROBE_AUDIO:
            parent.say(Facts(asdict(probe_audio(source))))
        case Operation.VOICE_FORMAT:
            parent.say(Facts(asdict(voice_format(source))))
        case Operation.FRAMES:
            _send_frames(decode_frames(source, **arguments), parent)  # type: ignore[arg-type]
        case Operation.FRAMES_IN_ORDER:
            _send_frames(decode_frames_in_order(source, request.indices, request.source_pts), parent)
        case Operation.SAMPLES:
            _send_samples(decode_samples(source, **arguments), parent)  # type: ignore[arg-type]


def _send_frames(frames: Iterator[Frame], parent: Parent) -> None:
    ring: DecoderRing | None = None
    for frame in frames:
        picture = frame.planes
        if ring is None:
            parent.say(PicturesFollow(picture.width, picture.height, picture.subsampling))
            ring = parent.memory()
        slot = parent.free_slot(ring)
        _fill(ring.slot(slot), picture)
        parent.say(PictureReady(slot, frame.index, frame.pts, frame.duration, frame.time_seconds, picture.color))


def _fill(slot: NDArray[np.uint8], picture: Picture) -> None:
    """Copy the planes into a slot, one after the other."""
    start = 0
    for plane in (picture.y, picture.u, picture.v):
        np.copyto(slot[start : start + plane.size].reshape(plane.shape), plane)
        start += plane.size


def _send_samples(runs: Iterator[NDArray[np.float32]], parent: Parent) -> None:
    ring: DecoderRing | None = None
    for run in runs:
        if ring is None:
            parent.say(SoundFollows(len(run)))
            ring = parent.memory()
        most = ring.slot_bytes // run.itemsize // len(run)
        for start in range(0, run.shape[1], most):
            part = run[:, start : start + most]
            slot = parent.free_slot(ring)
            np.copyto(ring.slot(slot).view(np.float32)[: part.size].reshape(part.shape), part)
            parent.say(SamplesReady(slot, part.shape[1]))


def _leave() -> NoReturn:
    """End without the interpreter's tidying up, which would open files."""
    os._exit(0)


if __name__ == "__main__":
    main()
