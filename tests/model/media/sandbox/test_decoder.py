"""A decoder from its parent's side: the same frames, clear errors however it ends, and nothing left behind."""

import gc
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from model.errors import CorruptMedia, MediaError, MediaTimeout, MediaTooLarge
from model.media.audio import probe_audio, read_samples
from model.media.decoding.audio import decode_samples
from model.media.decoding.source import MediaSource
from model.media.decoding.video import decode_frames, decode_frames_in_order
from model.media.frame import Frame
from model.media.reader import VideoReader, probe_video, read_frames
from model.media.sandbox import decoder as parent_side
from model.media.sandbox.ring import ParentRing
from model.media.sandbox.wire import Message, PictureReady, PicturesFollow, SamplesReady, SoundFollows, pack
from model.plan import ColorTags, MediaLimits
from tests.media_factory import make_video, make_voice

LIMITS = MediaLimits()
LONG = 100
"""Frames enough that a decoder is never done with them before its parent has taken some."""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("clip") / "a.mp4", frames=LONG, gop=10)


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    """Every test here: no process, no zombie, no descriptor, no shared memory more than before."""
    gc.collect()
    before = children(), descriptors(), shared_memory()
    yield
    gc.collect()
    assert (children(), descriptors(), shared_memory()) == before


def children() -> set[str]:
    """This process's children, zombies too."""
    return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def shared_memory() -> int:
    """Mappings of rings in this process."""
    return Path("/proc/self/maps").read_text().count("memfd:ring")


def same(one: Frame, other: Frame) -> bool:
    return (one.index, one.pts, one.duration, one.time_seconds, one.planes.color) == (
        other.index, other.pts, other.duration, other.time_seconds, other.planes.color,
    ) and all(
        np.array_equal(getattr(one.planes, plane), getattr(other.planes, plane)) for plane in ("y", "u", "v")
    )  # fmt: skip


KINDS: dict[str, Callable[[Path], Path]] = {
    "4:2:0": lambda folder: make_video(folder / "a.mp4", frames=40),
    "odd sides": lambda folder: make_video(
        folder / "a.mkv", width=63, height=47, frames=5, codec="ffv1", pixel_format="yuv420p"
    ),
    "rotated": lambda folder: make_video(folder / "a.mp4", width=96, height=64, frames=3, rotation=90),
    "ten bits, variable rate": lambda folder: make_video(
        folder / "a.mov", frames=3, codec="prores_ks", pixel_format="yuv422p10le", time_base=Fraction(1, 600),
        pts=[0, 7, 100],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_frames_are_those_decoded_here(tmp_path: Path, kind: str) -> None:
    path = KINDS[kind](tmp_path)
    with path.open("rb") as file:
        here = list(decode_frames(MediaSource(file, LIMITS)))

    confined = list(VideoReader(path).frames())

    assert len(confined) == len(here)
    assert all(same(a, b) for a, b in zip(confined, here, strict=True))


def test_frames_in_any_order_are_those_decoded_here(clip: Path) -> None:
    order = [5, 5, 5, 99, *range(40, 20, -1), 0]
    pts = [frame.pts for frame in VideoReader(clip).frames()]
    with clip.open("rb") as file:
        here = list(decode_frames_in_order(MediaSource(file, LIMITS), order, pts))

    confined = list(read_frames(clip, iter(order), pts))

    assert all(same(a, b) for a, b in zip(confined, here, strict=True))


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_the_sound_is_that_decoded_here(tmp_path: Path, channels: int) -> None:
    path = make_voice(tmp_path / "a.wav", seconds=3.0, rate=44_100, channels=channels)
    with path.open("rb") as file:
        here = np.concatenate(list(decode_samples(MediaSource(file, LIMITS), 48_000)), axis=1)

    confined = np.concatenate([run.copy() for run in read_samples(path, LIMITS, 48_000)], axis=1)

    assert np.array_equal(confined, here)


def test_frames_outlive_their_decoder_and_keep_their_pictures(clip: Path) -> None:
    frames = VideoReader(clip).frames()
    kept = list(islice(frames, 20))
    frames.close()  # type: ignore[attr-defined]
    with clip.open("rb") as file:
        assert all(same(a, b) for a, b in zip(kept, decode_frames(MediaSource(file, LIMITS)), strict=False))


def test_memory_does_not_grow_with_the_frames_that_pass(clip: Path) -> None:
    mapped = [shared_memory() for _ in VideoReader(clip).frames()]

    assert set(mapped) == {1}


def test_a_caller_who_stops_early_leaves_nothing(clip: Path) -> None:
    for _ in VideoReader(clip).frames():
        break


def test_readers_can_be_nested(clip: Path) -> None:
    pairs = zip(VideoReader(clip).frames(), read_frames(clip, range(LONG)), strict=True)

    assert all(same(a, b) for a, b in pairs)


def start(frames: Iterator[Frame]) -> int:
    """Let one frame come: the decoder's process id. (Servers that other tests share are children, too.)"""
    others = children()
    next(frames)
    (pid,) = children() - others
    return int(pid)


def end(frames: Iterator[Frame], kind: signal.Signals) -> list[Frame]:
    """Let one frame come, then send a signal to the decoder, and take what still comes."""
    os.kill(start(frames), kind)
    return list(frames)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (signal.SIGSEGV, CorruptMedia),
        (signal.SIGABRT, CorruptMedia),
        (signal.SIGBUS, CorruptMedia),
        (signal.SIGSYS, CorruptMedia),
        (signal.SIGKILL, MediaTooLarge),
        (signal.SIGXCPU, MediaTimeout),
        (signal.SIGALRM, MediaTimeout),
    ],
)
def test_a_decoder_that_dies_is_an_error_of_the_file(clip: Path, kind: signal.Signals, error: type[MediaError]) -> None:
    with pytest.raises(error):
        end(VideoReader(clip).frames(), kind)

    assert probe_video(clip, LIMITS).frames == LONG


def test_a_decoder_that_stands_still_is_ended(clip: Path) -> None:
    limits = replace(LIMITS, decoder_silence_seconds=2.0)

    with pytest.raises(MediaTimeout, match="2 seconds"):
        end(VideoReader(clip, limits).frames(), signal.SIGSTOP)


def test_a_slow_caller_is_no_standstill(clip: Path) -> None:
    frames = VideoReader(clip, replace(LIMITS, decoder_silence_seconds=3.0)).frames()
    pid = start(frames)
    os.kill(pid, signal.SIGSTOP)
    signal.sigtimedwait([], 0.2)
    os.kill(pid, signal.SIGCONT)

    assert len(list(frames)) == LONG - 1


def test_memory_over_the_limit_is_too_large(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", width=2048, height=2048, frames=2, codec="ffv1", pixel_format="yuv444p")

    with pytest.raises(MediaTooLarge):
        list(VideoReader(path, replace(LIMITS, decoder_memory_bytes=100 << 20)).frames())
    assert len(list(VideoReader(path).frames())) == 2


def test_processor_time_over_the_limit_is_a_timeout(clip: Path) -> None:
    back_and_forth = [LONG - 1, 0] * 5_000

    with pytest.raises(MediaTimeout, match="processor time"):
        for _ in read_frames(clip, back_and_forth, (), replace(LIMITS, decoder_cpu_seconds=1)):
            pass


def test_a_missing_file_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        probe_video(tmp_path / "nothing.mp4", LIMITS)


def test_a_folder_is_the_callers_fault(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        probe_video(tmp_path, LIMITS)


def _probe(path: str, pipe: object) -> None:
    pipe.send(probe_video(Path(path), LIMITS).frames)  # type: ignore[attr-defined]


def test_a_daemonic_process_can_decode(clip: Path) -> None:
    """As Celery's children are: multiprocessing would refuse them children of their own."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_probe, args=(str(clip), theirs), daemon=True)
    process.start()

    assert ours.recv() == LONG
    process.join()
    process.close()
    ours.close()
    theirs.close()


# --- A decoder that was taken over may say anything.

COLOR = ColorTags(1, 1, 1, 1)


class _Liar(parent_side.Decoder):
    """A real decoder whose words are replaced on their way."""

    def __init__(self, *said: bytes) -> None:
        super().__init__(Path(os.devnull), parent_side.Request(parent_side.Operation.CONFINEMENT, LIMITS))
        self._said = iter(said)

    def _receive(self) -> Message:
        return parent_side._unpacked(next(self._said))


LIES = {
    "no JSON": b"\x80\x04\x95",
    "no message": b"[1, 2, 3]",
    "an unknown message": b'["Shell", {}]',
    "a field of another kind": b'["PicturesFollow", {"width": "wide", "height": 1, "subsampling": 1}]',
    "depth": b"[" * 60_000,
    "a picture of no size": pack(PicturesFollow(0, 10, 1)),
    "a picture over the limit": pack(PicturesFollow(100_000, 100_000, 1)),
    "a subsampling there is not": pack(PicturesFollow(10, 10, 0)),
}


@pytest.mark.parametrize("lie", list(LIES))
def test_what_makes_no_sense_is_corrupt(lie: str) -> None:
    with pytest.raises(CorruptMedia, match="sensible"), _Liar(LIES[lie]) as liar:
        list(liar.frames())


@pytest.mark.parametrize("slot", [-1, 99])
def test_a_slot_that_is_not_there_is_corrupt(slot: int) -> None:
    said = pack(PicturesFollow(4, 4, 1)), pack(PictureReady(slot, 0, 0, 1, 0.0, COLOR))

    with pytest.raises(CorruptMedia), _Liar(*said) as liar:
        list(liar.frames())


def test_a_slot_that_is_lent_cannot_be_filled_again() -> None:
    ready = pack(PictureReady(0, 0, 0, 1, 0.0, COLOR))

    with pytest.raises(CorruptMedia), _Liar(pack(PicturesFollow(4, 4, 1)), ready, ready) as liar:
        list(liar.frames())


@pytest.mark.parametrize("samples", [-1, 1 << 20, 1 << 70])
def test_more_samples_than_a_slot_holds_are_corrupt(samples: int) -> None:
    with pytest.raises(CorruptMedia), _Liar(pack(SoundFollows(2)), pack(SamplesReady(0, samples))) as liar:
        list(liar.samples())


def test_an_error_of_another_name_is_corrupt_and_its_text_is_only_text() -> None:
    assert isinstance(parent_side._media_error("SystemExit", "x"), CorruptMedia)
    assert isinstance(parent_side._media_error("os", "x"), CorruptMedia)
    assert str(parent_side._media_error("CorruptMedia", "a\x1b[31m\r\n" + "b" * 5_000)) == "a[31m" + "b" * 295


def test_the_memory_of_a_ring_cannot_be_cut_under_its_reader() -> None:
    ring = ParentRing(4096)
    with pytest.raises(PermissionError):
        os.ftruncate(ring.descriptor, 0)
    ring.close()


def test_probing_a_voice_leaves_nothing(tmp_path: Path) -> None:
    assert probe_audio(make_voice(tmp_path / "a.wav"), LIMITS).duration_seconds == 1.0
