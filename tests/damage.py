"""Files with a few wrong bytes."""

import random
from collections.abc import Callable, Iterator


def damages(count: int, seed: int = 0) -> Iterator[Callable[[bytes], bytes]]:
    """`count` ways to spoil a file: each puts two random bytes at two random places."""
    generator = random.Random(seed)
    for _ in range(count):
        yield lambda whole: _spoiled(whole, generator)


def _spoiled(whole: bytes, generator: random.Random) -> bytes:
    damaged = bytearray(whole)
    for _ in range(2):
        damaged[generator.randrange(len(whole))] = generator.randrange(256)
    return bytes(damaged)
