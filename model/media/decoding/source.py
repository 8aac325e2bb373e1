"""What a decoder is given: an open file, its limits, and somebody to tell that it gets on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from model.plan import MediaLimits


def nobody_listens() -> None:
    """The pulse of a decoder that nobody watches."""


@dataclass(frozen=True, slots=True)
class MediaSource:
    """A media file, open for reading, and what decoding it may cost.

    `pulse` is called whenever the decoder got on by a frame or a packet: a watchdog hears from it that none hangs.
    """

    file: BinaryIO
    limits: MediaLimits
    pulse: Callable[[], None] = nobody_listens
