"""What parent and decoder say to each other: one request as a file, then packets of JSON over a socket pair.

The parent believes nothing: it checks every packet against its class. Nothing is ever unpickled.
"""

import json
import os
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, BinaryIO

from model.plan import ColorTags, MediaLimits

LARGEST_PACKET_BYTES = 64 << 10


class Operation(StrEnum):
    """What a decoder can be asked for."""

    CONFINEMENT = "confinement"
    PROBE_VIDEO = "probe_video"
    FRAMES = "frames"
    FRAMES_IN_ORDER = "frames_in_order"
    PROBE_AUDIO = "probe_audio"
    VOICE_FORMAT = "voice_format"
    SAMPLES = "samples"


@dataclass(frozen=True, slots=True)
class Request:
    """One operation on one file. indices and source_pts: see `read_frames`."""

    operation: Operation
    limits: MediaLimits
    arguments: Mapping[str, int | str | None] = field(default_factory=dict)
    indices: Sequence[int] = ()
    source_pts: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Confinement:
    """What holds a decoder, as far as the system allows it.

    limits_set: memory, CPU time, files, core dumps. network_cut: a network namespace of its own, without a device.
    calls_filtered: no sockets, files, programs or signals to others, by seccomp. privileges_dropped: no capability is
    left, none can be gained, and root has become nobody.
    """

    limits_set: bool
    network_cut: bool
    calls_filtered: bool
    privileges_dropped: bool

    @property
    def reaches_no_network(self) -> bool:
        """Whether a decoder that was taken over cannot send anything anywhere."""
        return self.network_cut or self.calls_filtered


# --- What the decoder says.


@dataclass(frozen=True, slots=True)
class Ready:
    """The first word: the decoder is confined and has not yet read the file."""

    confinement: Confinement


@dataclass(frozen=True, slots=True)
class Alive:
    """The decoder gets on, though there is nothing to show yet."""


@dataclass(frozen=True, slots=True)
class PicturesFollow:
    """Asks for memory for pictures of one size."""

    width: int
    height: int
    subsampling: int


@dataclass(frozen=True, slots=True)
class SoundFollows:
    """Asks for memory for runs of float32 samples."""

    channels: int


@dataclass(frozen=True, slots=True)
class PictureReady:
    """A frame whose planes are in a slot. The parent owns the slot until it gives it back."""

    slot: int
    index: int
    pts: int
    duration: int
    time_seconds: float
    color: ColorTags


@dataclass(frozen=True, slots=True)
class SamplesReady:
    """A run of samples, (channels, samples), in a slot."""

    slot: int
    samples: int


@dataclass(frozen=True, slots=True)
class Facts:
    """The answer to a probe: the fields of VideoFacts, AudioFacts or VoiceFormat."""

    content: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Done:
    """The last word when all went well."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The last word about a file that cannot be dubbed: a MediaError by its name, with its message."""

    error: str
    message: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The last word when the system does not let the file be read."""

    errno: int
    message: str


@dataclass(frozen=True, slots=True)
class Broken:
    """The last word of a decoder with a bug."""

    trace: str


Message = (
    Ready
    | Alive
    | PicturesFollow
    | SoundFollows
    | PictureReady
    | SamplesReady
    | Facts
    | Done
    | Refused
    | Unreadable
    | Broken
)
MESSAGES: dict[str, type[Message]] = {kind.__name__: kind for kind in Message.__args__}


def pack(message: Message) -> bytes:
    """A message as one packet."""
    return json.dumps([type(message).__name__, asdict(message)], default=str).encode()


def write_request(request: Request) -> int:
    """The request as an open file without a name; its descriptor."""
    indices, source_pts = array("q", request.indices), array("q", request.source_pts)
    head = {
        "operation": request.operation,
        "limits": asdict(request.limits),
        "arguments": dict(request.arguments),
        "indices": len(indices),
        "source_pts": len(source_pts),
    }
    descriptor = os.memfd_create("request")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(json.dumps(head).encode() + b"\n")
        indices.tofile(file)
        source_pts.tofile(file)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def read_request(file: BinaryIO) -> Request:
    """The request that `write_request` wrote."""
    head = json.loads(file.readline())
    indices, source_pts = array("q"), array("q")
    indices.frombytes(file.read(head["indices"] * indices.itemsize))
    source_pts.frombytes(file.read(head["source_pts"] * source_pts.itemsize))
    return Request(Operation(head["operation"]), MediaLimits(**head["limits"]), head["arguments"], indices, source_pts)
