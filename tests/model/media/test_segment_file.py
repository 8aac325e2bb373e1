"""Generated crops on disk: bit-exact, whole or refused."""

from pathlib import Path

import numpy as np
import pytest

from model.errors import CorruptMedia, MediaError
from model.media.segment_file import SegmentWriter, read_segment
from tests.media_factory import cut_short, make_video

FRAMES, SIZE = 7, 64


def noise(frames: int = FRAMES, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, size, size, 3), dtype=np.uint8)


def write(path: Path, crops: np.ndarray) -> Path:
    with SegmentWriter(path, len(crops), crops.shape[1]) as writer:
        for crop in crops:
            writer.write(crop)
    return path


@pytest.mark.parametrize("size", [64, 256, 512])
def test_crops_return_bit_for_bit(tmp_path: Path, size: int) -> None:
    crops = noise(3, size)

    read = list(read_segment(write(tmp_path / "s.mkv", crops)))

    assert len(read) == 3
    assert all(np.array_equal(a, b) for a, b in zip(read, crops, strict=True))


def test_nothing_has_the_name_until_everything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "s.mkv"

    with SegmentWriter(path, 1, SIZE) as writer:
        writer.write(noise()[0])
        assert not path.exists()

    assert [file.name for file in tmp_path.iterdir()] == ["s.mkv"]


def test_a_failed_render_leaves_nothing(tmp_path: Path) -> None:
    def failing_render() -> None:
        with SegmentWriter(tmp_path / "s.mkv", FRAMES, SIZE) as writer:
            writer.write(noise()[0])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing_render()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("written", [FRAMES - 1, FRAMES + 1])
def test_another_number_of_crops_than_declared_is_a_bug(tmp_path: Path, written: int) -> None:
    def careless_render() -> None:
        with SegmentWriter(tmp_path / "s.mkv", FRAMES, SIZE) as writer:
            for _ in range(written):
                writer.write(noise()[0])

    with pytest.raises(ValueError, match="declared"):
        careless_render()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.995])
def test_a_file_cut_short_is_refused(tmp_path: Path, kept: float) -> None:
    path = cut_short(write(tmp_path / "s.mkv", noise()), tmp_path / "cut.mkv", kept)

    with pytest.raises(MediaError):
        list(read_segment(path))


@pytest.mark.parametrize("place", [0.3, 0.5, 0.7, 0.9])
def test_a_flipped_bit_is_noticed(tmp_path: Path, place: float) -> None:
    path = write(tmp_path / "s.mkv", noise())
    content = bytearray(path.read_bytes())
    content[int(len(content) * place)] ^= 0x10
    path.write_bytes(content)

    with pytest.raises(CorruptMedia):
        list(read_segment(path))


def test_another_video_is_no_segment(tmp_path: Path) -> None:
    with pytest.raises(CorruptMedia):
        list(read_segment(make_video(tmp_path / "a.mkv", frames=3)))
