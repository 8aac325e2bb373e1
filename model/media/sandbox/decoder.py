"""The parent's side: starts a decoder for one file, hears what it says, and ends it."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from model import errors
from model.errors import CorruptMedia, MediaError, MediaTimeout, MediaTooLarge
from model.media.frame import Frame
from model.media.picture import Picture
from model.media.sandbox.ring import Bytes, ParentRing
from model.media.sandbox.wire import (
    LARGEST_PACKET_BYTES,
    MESSAGES,
    Alive,
    Broken,
    Confinement,
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
    write_request,
)
from model.plan import MediaLimits

_SOUND_SLOT_BYTES = 256 << 10
_LONGEST_MESSAGE = 300
_LAST_WORDS_SECONDS = 5.0
"""How long a decoder that has hung up may take to end."""

_NATIVE_ENVIRONMENT = ("LD_LIBRARY_PATH", "TZDIR")

_Facts = TypeVar("_Facts")


class DecoderBroken(Exception):
    """The decoder met a bug of ours, or could not start."""


class Decoder:
    """A process that decodes one file. A context manager: the process does not outlive the block.

    Raises, while it is read from, the MediaErrors of the file, which include the process's own end: MediaTimeout when
    it stood still, MediaTooLarge when memory ran out, CorruptMedia when it crashed. OSError when the file cannot be
    read; DecoderBroken for bugs.
    """

    def __init__(self, path: Path, request: Request) -> None:
        self._path = path
        self._request = request
        self._limits = request.limits
        self._ring: ParentRing | None = None

    def __enter__(self) -> Self:
        with (
            self._path.open("rb") as media,
            os.fdopen(write_request(self._request), "rb") as request,
            ExitStack() as undo,
        ):
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undo.enter_context(ours)
            with theirs:
                self._process = _start(theirs.fileno(), media.fileno(), request.fileno())
            undo.pop_all()
        self._connection = ours
        self._connection.settimeout(self._limits.decoder_silence_seconds)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        if self._ring is not None:
            self._ring.close()
        self._kill()

    def confinement(self) -> Confinement:
        """What holds the decoder."""
        return next(message.confinement for message in self._messages() if isinstance(message, Ready))

    def facts(self, kind: type[_Facts]) -> _Facts:
        """The answer to a probe."""
        for message in self._messages():
            if isinstance(message, Facts):
                try:
                    return TypeAdapter(kind).validate_python(message.content)
                except ValueError as error:
                    raise _no_sense() from error
        raise _no_sense()

    def frames(self) -> Iterator[Frame]:
        """The frames asked for. Their planes are views into memory shared with the decoder, until they are let go."""
        layout: PicturesFollow | None = None
        for message in self._messages():
            match message:
                case PicturesFollow():
                    layout = message
                    self._share(_picture_bytes(layout, self._limits))
                case PictureReady() if layout is not None:
                    picture = _picture(self._take(message.slot), layout, message)
                    yield Frame(message.index, message.pts, message.duration, message.time_seconds, picture)
                    del picture

    def samples(self) -> Iterator[NDArray[np.float32]]:
        """The sound asked for, in runs of (channels, n) float32."""
        channels = 0
        for message in self._messages():
            match message:
                case SoundFollows():
                    channels = message.channels
                    self._share(_SOUND_SLOT_BYTES)
                case SamplesReady():
                    run = self._take(message.slot).view(np.float32)
                    if not 0 <= channels * message.samples <= run.size or channels < 1:
                        raise _no_sense()
                    yield run[: channels * message.samples].reshape(channels, message.samples)

    def _messages(self) -> Iterator[Message]:
        """What the decoder says until it is done; what went wrong is raised."""
        while True:
            match message := self._receive():
                case Done():
                    return
                case Refused(error=name, message=text):
                    raise _media_error(name, text)
                case Unreadable(errno=number, message=text):
                    raise OSError(number, text, str(self._path))
                case Broken(trace=trace):
                    raise DecoderBroken(trace)
                case Alive():
                    continue
                case _:
                    yield message

    def _receive(self) -> Message:
        try:
            self._give_back()
            packet = self._connection.recv(LARGEST_PACKET_BYTES)
        except TimeoutError:
            raise _stood_still(self._limits) from None
        except (BrokenPipeError, ConnectionResetError):
            packet = b""
        if not packet:
            raise self._cause_of_death()
        return _unpacked(packet)

    def _share(self, slot_bytes: int) -> None:
        """Make memory for the decoder to write into, once."""
        if self._ring is not None:
            raise _no_sense()
        self._ring = ParentRing(slot_bytes)
        with suppress(BrokenPipeError, ConnectionResetError):  # receiving finds out why
            socket.send_fds(self._connection, [bytes([self._ring.slots])], [self._ring.descriptor])

    def _take(self, slot: int) -> Bytes:
        try:
            if self._ring is not None:
                return self._ring.take(slot)
        except ValueError:
            pass
        raise _no_sense()

    def _give_back(self) -> None:
        if self._ring is not None and (slots := self._ring.given_back()):
            self._connection.send(slots)

    def _cause_of_death(self) -> Exception:
        """Why a decoder hung up that was not done."""
        try:
            status = self._process.wait(_LAST_WORDS_SECONDS)
        except subprocess.TimeoutExpired:
            return _stood_still(self._limits)
        match -status:
            case signal.SIGALRM:
                return _stood_still(self._limits)
            case signal.SIGXCPU:
                seconds = self._limits.decoder_cpu_seconds
                return MediaTimeout(f"Decoding the file takes more than {seconds} s of processor time.")
            case signal.SIGKILL:
                return MediaTooLarge("The system ended the decoder, most likely for want of memory.")
            case number if number > 0:
                return CorruptMedia(f"The decoder crashed on this file ({signal.Signals(number).name}).")
            case _:
                return DecoderBroken(f"the decoder ended with status {status} and without a word")

    def _kill(self) -> None:
        """End the decoder with everything it may have started, and wait for it."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def confinement(limits: MediaLimits) -> Confinement:
    """What this system allows to be taken away from a decoder."""
    with Decoder(Path(os.devnull), Request(Operation.CONFINEMENT, limits)) as decoder:
        return decoder.confinement()


def _start(*descriptors: int) -> "subprocess.Popen[bytes]":
    """Start a decoder in a process group of its own."""
    return subprocess.Popen(  # noqa: S603  our own program
        [sys.executable, "-P", "-S", "-m", "model.media.sandbox", *map(str, descriptors)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=_environment(),
        pass_fds=descriptors,
        start_new_session=True,
    )


def _environment() -> dict[str, str]:
    """What a decoder gets to know of the parent's environment: where code is, and none of its secrets."""
    places = [Path(errors.__file__).parents[1], *map(Path, sys.path)]
    return {
        "PYTHONPATH": os.pathsep.join(str(place.absolute()) for place in places),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "1",  # a process with threads may not leave its user namespace
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",  # a heap reserves address space, which is limited
        "LC_ALL": "C.UTF-8",
        **{name: os.environ[name] for name in _NATIVE_ENVIRONMENT if name in os.environ},
    }


def _picture_bytes(layout: PicturesFollow, limits: MediaLimits) -> int:
    """Bytes of the planes of a picture, when it is one that may be."""
    width, height, step = layout.width, layout.height, layout.subsampling
    if width < 1 or height < 1 or width * height > limits.max_pixels or step not in (1, 2):
        raise _no_sense()
    return width * height + 2 * (-(-width // step) * -(-height // step))


def _picture(content: Bytes, layout: PicturesFollow, message: PictureReady) -> Picture:
    """The planes that lie one after the other in a slot."""
    width, height, step = layout.width, layout.height, layout.subsampling
    across, down = -(-width // step), -(-height // step)
    first, second = width * height, width * height + across * down
    y = content[:first].reshape(height, width)
    u = content[first:second].reshape(down, across)
    v = content[second : second + across * down].reshape(down, across)
    return Picture(y, u, v, message.color)


def _unpacked(packet: bytes) -> Message:
    """A message the decoder sent. A decoder that was taken over may send anything."""
    try:
        kind, content = json.loads(packet)
        return _adapter(kind).validate_python(content)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _no_sense() from error


@cache
def _adapter(kind: str) -> "TypeAdapter[Message]":
    return TypeAdapter(MESSAGES[kind])


def _media_error(name: str, text: str) -> MediaError:
    kind = getattr(errors, name, None)
    if not (isinstance(kind, type) and issubclass(kind, MediaError)):
        return _no_sense()
    return kind("".join(letter for letter in text if letter.isprintable())[:_LONGEST_MESSAGE])


def _stood_still(limits: MediaLimits) -> MediaTimeout:
    return MediaTimeout(f"The decoder gave no frame for {limits.decoder_silence_seconds:g} seconds.")


def _no_sense() -> CorruptMedia:
    return CorruptMedia("The decoder gave no sensible answer.")
