"""Breaks media files in the ways that break decoders: by bits, by blocks, by numbers, by the parts of containers."""

import random
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Mutation = Callable[[random.Random, bytes, Sequence[bytes]], bytes]
"""Makes a broken file of a whole one; the last argument holds other whole files to take parts of."""

_HEADER_BYTES = 4096
_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
_HUGE_SIDES = (0, 1, 4_097, 16_000, 32_767, 65_535)
_BOXES_OF_BOXES = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf"})


def flip_bits(chance: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    """One to 200 bits, anywhere."""
    broken = bytearray(content)
    for _ in range(round(10 ** chance.uniform(0, 2.3))):
        broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
    return bytes(broken)


def flip_header_bits(chance: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    """One to 30 bits at the start or the end, where containers keep their tables."""
    broken = bytearray(content)
    reach = min(len(broken), _HEADER_BYTES)
    for _ in range(chance.randint(1, 30)):
        place = chance.randrange(reach)
        broken[place if chance.random() < 0.5 else -1 - place] ^= 1 << chance.randrange(8)
    return bytes(broken)


def cut_off(chance: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    """The first part of a file, down to nothing."""
    return content[: int(len(content) * chance.random())]


def overwrite_run(chance: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    """Noise, or one byte again and again, over a run."""
    start, stop = sorted((chance.randrange(len(content)), chance.randrange(len(content))))
    length = min(stop - start, 20_000)
    run = chance.randbytes(length) if chance.random() < 0.5 else bytes([chance.randrange(256)]) * length
    return content[:start] + run + content[start + length :]


def drop_or_repeat_run(chance: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    """A run that is missing, or comes many times."""
    start = chance.randrange(len(content))
    run = content[start : start + chance.randint(1, 5_000)]
    return content[:start] + run * chance.choice((0, 2, 50)) + content[start + len(run) :]


def splice_header(chance: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """The head of one file on the body of another."""
    head = chance.choice(others)
    return head[: chance.randint(4, _HEADER_BYTES)] + content[chance.randint(0, _HEADER_BYTES) :]


def append_file(chance: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Two files one after the other: other pictures, other sound, another container."""
    return content + chance.choice(others)


def swap_atoms(chance: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    """Two boxes of an mp4 file change places; of another file, two blocks."""
    spans = list(_boxes(content, 0, len(content)))
    if len(spans) < 2:
        edges = sorted(chance.sample(range(len(content)), 4))
        spans = [(edges[0], edges[1]), (edges[2], edges[3])]
    (a, b), (c, d) = sorted(chance.sample(spans, 2))
    if b > c:  # one lies in the other: it takes its place
        return content[:a] + content[c:d] + content[b:]
    return content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


def extreme_number(chance: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    """One to eight numbers of the tables become the smallest, the largest, or a sign."""
    broken = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        size, order = chance.choice((1, 2, 4, 8)), chance.choice(("big", "little"))
        number = chance.choice(_EXTREMES) % 256**size
        place = chance.randrange(max(1, min(len(broken), _HEADER_BYTES) - size))
        start = place if chance.random() < 0.6 else max(0, len(broken) - place - size)
        broken[start : start + size] = number.to_bytes(size, order)  # type: ignore[arg-type]
    return bytes(broken)


def huge_sides(chance: random.Random, content: bytes, others: Sequence[bytes]) -> bytes:
    """Wherever the container tells the side of the picture, it tells another one; see `SIDE`. Sound has none."""
    side = chance.choice(_HUGE_SIDES)
    spellings = [
        (struct.pack(">HH", SIDE, SIDE), struct.pack(">HH", side, side)),
        (struct.pack(">II", SIDE << 16, SIDE << 16), struct.pack(">II", side << 16, side << 16)),
        (struct.pack("<II", SIDE, SIDE), struct.pack("<II", side, side)),
        (b"\xb0\x82" + struct.pack(">H", SIDE), b"\xb0\x82" + struct.pack(">H", side)),
        (b"\xba\x82" + struct.pack(">H", SIDE), b"\xba\x82" + struct.pack(">H", side)),
    ]
    broken = content
    for told, lie in spellings:
        broken = broken.replace(told, lie)
    return extreme_number(chance, content, others) if broken == content else broken


def playlist(chance: random.Random, content: bytes, _: Sequence[bytes]) -> bytes:
    """Text that sends decoders to other files and addresses, alone or in front of a whole file."""
    target = chance.choice(("file:///etc/passwd", "http://127.0.0.1:9/a.ts", "/dev/zero", "whole.mp4", "concat:a|b"))
    text = chance.choice(
        (
            f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n",
            f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{target}\n",
            f"ffconcat version 1.0\nfile '{target}'\n",
            f'<?xml version="1.0"?><MPD><Period><BaseURL>{target}</BaseURL></Period></MPD>',
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
        )
    ).encode()
    return text if chance.random() < 0.5 else text + content


SIDE = 384
"""Width and height of the clips that `huge_sides` knows how to find."""

MUTATIONS: Mapping[str, Mutation] = {
    mutation.__name__.replace("_", " "): mutation
    for mutation in (
        flip_bits,
        flip_header_bits,
        cut_off,
        overwrite_run,
        drop_or_repeat_run,
        splice_header,
        append_file,
        swap_atoms,
        extreme_number,
        huge_sides,
        playlist,
    )
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A broken file: what it was, what was done to it."""

    number: int
    source: Path
    mutation: str
    content: bytes


def mutants(sources: Sequence[Path], files: int, seed: int) -> Iterator[Mutant]:
    """So many broken files, the same for the same seed and sources; each mutation as often as any other."""
    whole = {source: source.read_bytes() for source in sources}
    names = list(MUTATIONS)
    for number in range(files):
        chance = random.Random(f"{seed}-{number}")
        source = sources[number % len(sources)] if number < len(sources) else chance.choice(sources)
        name = names[number % len(names)]
        others = [content for other, content in whole.items() if other != source]
        yield Mutant(number, source, name, MUTATIONS[name](chance, whole[source], others))


def _boxes(content: bytes, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Where the boxes of an ISO base media file lie (ISO/IEC 14496-12, 4.2), also those inside others."""
    while start + 8 <= stop:
        size, kind = struct.unpack_from(">I4s", content, start)
        if size < 8 or start + size > stop or not kind.isalnum():
            return
        yield start, start + size
        if kind in _BOXES_OF_BOXES:
            yield from _boxes(content, start + 8, start + size)
        start += size
