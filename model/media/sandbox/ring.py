"""Memory that parent and decoder share: equal slots that the decoder fills and the parent gives back.

A frame's planes lie one after the other in its slot. The parent hands them out as views: nothing is copied, and a slot
is free again when the last array over it is gone. A caller who keeps many frames gets copies instead, so that the
decoder always has two slots to go on with.
"""

import fcntl
import mmap
import os
import weakref
from collections import deque

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

_MOST_SLOTS = 8
_FEWEST_SLOTS = 3
_RING_BYTES = 64 << 20
"""What a ring takes, unless three pictures need more."""

_SLOTS_FOR_THE_DECODER = 2
_MOST_BYTES_PER_PIXEL = 3


def largest_ring_bytes(pixels: int) -> int:
    """What a ring for pictures of so many pixels, and of any format, takes at most."""
    return max(_RING_BYTES, _FEWEST_SLOTS * _MOST_BYTES_PER_PIXEL * pixels)


class ParentRing:
    """The parent's end. `descriptor` is for the decoder; its size is sealed, for both."""

    def __init__(self, slot_bytes: int) -> None:
        self.slot_bytes = slot_bytes
        self.slots = max(_FEWEST_SLOTS, min(_MOST_SLOTS, _RING_BYTES // slot_bytes))
        self.descriptor = os.memfd_create("ring", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.descriptor, self.slots * slot_bytes)
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            self._memory = memoryview(mmap.mmap(self.descriptor, self.slots * slot_bytes))
        except BaseException:
            os.close(self.descriptor)
            raise
        self._lent: set[int] = set()
        self._free: deque[int] = deque()
        """Slots to give back. Finalizers append to it, from whatever thread."""

    def take(self, slot: int) -> Bytes:
        """The content of a filled slot, (slot_bytes,). Raises ValueError when there is no such slot."""
        if not 0 <= slot < self.slots or slot in self._lent:
            raise ValueError("no such slot")
        content = np.frombuffer(self._memory[slot * self.slot_bytes : (slot + 1) * self.slot_bytes], np.uint8)
        if len(self._lent) + _SLOTS_FOR_THE_DECODER >= self.slots:
            self._free.append(slot)
            return content.copy()
        self._lent.add(slot)
        weakref.finalize(content, self._free.append, slot).atexit = False
        return content

    def given_back(self) -> bytes:
        """The slots that nobody uses any more since the last call, a byte each."""
        slots = bytes(self._free.popleft() for _ in range(len(self._free)))
        self._lent.difference_update(slots)
        return slots

    def close(self) -> None:
        """Close the descriptor. The memory goes with the last array over it."""
        os.close(self.descriptor)


class DecoderRing:
    """The decoder's end."""

    def __init__(self, descriptor: int, slots: int) -> None:
        memory = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
        os.close(descriptor)
        self._content: Bytes = np.frombuffer(memory, np.uint8).reshape(slots, -1)
        self.free = deque(range(slots))

    @property
    def slot_bytes(self) -> int:
        """Bytes in a slot."""
        return int(self._content.shape[1])

    def slot(self, number: int) -> Bytes:
        """A slot to write into, (slot_bytes,)."""
        content: Bytes = self._content[number]
        return content
