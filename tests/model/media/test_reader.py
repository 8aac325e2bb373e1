"""Video in: facts, upright frames, exact times, limits."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from model.errors import CorruptMedia, MediaError, MediaTooLarge, NotMedia, NoVideoFrames, NoVideoStream
from model.media.reader import VideoReader, probe_video
from model.plan import ColorTags, MediaLimits
from tests.media_factory import (
    cut_short,
    make_cover_art_mp3,
    make_picture_bomb,
    make_resolution_change,
    make_trimmed_video,
    make_video,
    make_voice,
    rgb_picture,
)

LIMITS = MediaLimits()


def test_facts_of_a_plain_clip(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", width=96, height=64, frames=12, audio_seconds=0.5)

    facts = probe_video(path, LIMITS)

    assert (facts.width, facts.height, facts.rotation_degrees) == (96, 64, 0)
    assert (facts.fps, facts.frames, facts.duration_seconds) == (25, 12, pytest.approx(0.48))
    assert facts.time_base == Fraction(1, 12_800)
    assert (facts.codec, facts.pixel_format) == ("h264", "yuv420p")
    assert facts.color == ColorTags(1, 1, 1, 1)
    assert facts.sample_aspect_ratio == 1
    assert facts.has_audio


def test_frames_carry_index_time_and_duration(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=5)

    frames = list(VideoReader(path).frames())

    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.pts for frame in frames] == [0, 512, 1024, 1536, 2048]
    assert [frame.time_seconds for frame in frames] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert {frame.duration for frame in frames} == {512}


def test_frames_can_be_asked_for_by_range(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=10)

    assert [frame.index for frame in VideoReader(path).frames(3, 6)] == [3, 4, 5]


def test_a_range_beyond_the_end_is_corrupt(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=4)

    with pytest.raises(CorruptMedia):
        list(VideoReader(path).frames(2, 5))


def test_variable_frame_times_are_kept(tmp_path: Path) -> None:
    times = [0, 40, 100, 110, 200, 300, 333, 400]
    path = make_video(tmp_path / "vfr.mkv", time_base=Fraction(1, 1000), pts=times, frames=len(times))

    assert [frame.pts for frame in VideoReader(path).frames()] == times


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_times_start_at_zero_wherever_the_file_starts(tmp_path: Path, suffix: str) -> None:
    path = make_video(tmp_path / f"late.{suffix}", pts=list(range(50, 60)))

    times = [frame.time_seconds for frame in VideoReader(path).frames()]

    assert times == pytest.approx([i / 25 for i in range(10)])


def test_a_clock_that_starts_again_keeps_rising(tmp_path: Path) -> None:
    part = make_video(tmp_path / "part.ts", frames=50)
    path = tmp_path / "twice.ts"
    path.write_bytes(part.read_bytes() * 2)

    times = [frame.pts for frame in VideoReader(path).frames()]

    assert len(times) == 100
    assert np.diff(times).tolist() == [3600] * 99


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_rotated_pictures_come_upright(tmp_path: Path, rotation: int) -> None:
    plain = make_video(tmp_path / "plain.mp4", width=96, height=64, frames=3)
    rotated = make_video(tmp_path / "rotated.mp4", width=96, height=64, frames=3, rotation=rotation)

    facts = probe_video(rotated, LIMITS)
    upright = [frame.planes.y for frame in VideoReader(rotated).frames()]
    stored = [frame.planes.y for frame in VideoReader(plain).frames()]

    assert facts.rotation_degrees == rotation % 360
    assert (facts.height, facts.width) == upright[0].shape
    assert all(np.array_equal(a, np.rot90(b, rotation // 90)) for a, b in zip(upright, stored, strict=True))


def test_the_shape_of_samples_turns_with_the_picture(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", sample_aspect_ratio=Fraction(4, 3), rotation=90, frames=2)

    assert probe_video(path, LIMITS).sample_aspect_ratio == Fraction(3, 4)


def test_planes_of_a_420_clip_are_the_decoders_own(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=4)
    with av.open(str(path)) as container:
        decoded = [frame.to_ndarray() for frame in container.decode(video=0)]

    for frame, whole in zip(VideoReader(path).frames(), decoded, strict=True):
        planes = frame.planes
        assert np.array_equal(np.concatenate([planes.y.ravel(), planes.u.ravel(), planes.v.ravel()]), whole.ravel())


def test_a_full_range_clip_keeps_its_samples_and_says_so(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", pixel_format="yuvj420p", color=ColorTags(2, 1, 1, 1), frames=2)
    with av.open(str(path)) as container:
        whole = next(container.decode(video=0)).to_ndarray(format="yuvj420p")

    planes = next(VideoReader(path).frames()).planes

    assert planes.color.range == 2
    assert np.array_equal(planes.y, whole[:48])


@pytest.mark.parametrize(
    ("codec", "suffix", "pixel_format"),
    [
        ("libx264", "mp4", "yuv420p"),
        ("libx264", "mp4", "yuv444p"),
        ("libx264", "mp4", "yuvj420p"),
        ("prores_ks", "mov", "yuv422p10le"),
        ("png", "mov", "rgb24"),
    ],
)
def test_rgb_looks_like_what_was_filmed(tmp_path: Path, codec: str, suffix: str, pixel_format: str) -> None:
    path = make_video(
        tmp_path / f"a.{suffix}",
        width=1280,
        height=720,
        frames=1,
        codec=codec,
        pixel_format=pixel_format,
        color=None if codec == "png" else ColorTags(2 if "yuvj" in pixel_format else 1, 1, 1, 1),
    )
    filmed = rgb_picture(0, 1280, 720).astype(np.float32)

    seen = next(VideoReader(path).frames()).to_rgb()

    assert np.abs(seen - filmed).mean() < 2.5


def test_an_odd_side_makes_444_and_keeps_every_pixel(tmp_path: Path) -> None:
    path = make_video(tmp_path / "odd.mkv", width=63, height=47, frames=2, codec="ffv1", pixel_format="yuv420p")

    planes = next(VideoReader(path).frames()).planes

    assert planes.y.shape == planes.u.shape == planes.v.shape == (47, 63)
    assert planes.subsampling == 1


@pytest.mark.parametrize("alpha", [0, 100, 255])
def test_transparency_is_let_go_and_the_colours_stay(tmp_path: Path, alpha: int) -> None:
    rgba = np.dstack([rgb_picture(0, 64, 48), np.full((48, 64), alpha, np.uint8)])
    path = tmp_path / "alpha.mov"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgba"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(rgba, format="rgba")))
        container.mux(stream.encode(None))
    opaque = make_video(tmp_path / "opaque.mov", frames=1, codec="png", pixel_format="rgb24", color=None)

    seen, expected = (next(VideoReader(file).frames()).planes for file in (path, opaque))

    assert all(np.array_equal(getattr(seen, plane), getattr(expected, plane)) for plane in "yuv")


def test_a_hdr_clip_keeps_its_curve_in_eight_bits(tmp_path: Path) -> None:
    pq = ColorTags(range=1, primaries=9, transfer=16, matrix=9)
    path = make_video(
        tmp_path / "hdr.mkv", frames=2, codec="libx265", pixel_format="yuv420p10le", color=pq,
        options={"x265-params": "log-level=none"},
    )  # fmt: skip
    with av.open(str(path)) as container:
        luma = next(container.decode(video=0)).to_ndarray()[:48].astype(np.float32)

    facts = probe_video(path, LIMITS)
    planes = next(VideoReader(path).frames()).planes

    assert (facts.pixel_format, facts.color, planes.color) == ("yuv420p10le", pq, pq)
    assert np.abs(planes.y - luma / 4).max() <= 1


def test_an_edit_list_that_begins_later_decides_which_frame_is_the_first(tmp_path: Path) -> None:
    path = make_trimmed_video(tmp_path / "trimmed.mp4", first=4)
    whole = make_video(tmp_path / "whole.mp4", frames=10, b_frames=0, gop=1)

    shown = list(VideoReader(path).frames())
    expected = list(VideoReader(whole).frames())[4:]

    assert probe_video(path, LIMITS).frames == 10  # the container's word; a decoding pass knows
    assert [frame.time_seconds for frame in shown] == pytest.approx([i / 25 for i in range(6)])
    assert all(np.array_equal(a.planes.y, b.planes.y) for a, b in zip(shown, expected, strict=True))


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(NoVideoStream):
        probe_video(make_voice(tmp_path / "a.wav"), LIMITS)


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(NoVideoStream):
        probe_video(make_cover_art_mp3(tmp_path / "a.mp3"), LIMITS)


def test_a_stream_without_frames_is_refused(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=20)
    content = path.read_bytes()
    start = content.index(b"mdat") + 4
    path.write_bytes(content[:start] + bytes(len(content) - start))  # the index is behind the pictures: no index, none

    with pytest.raises(NotMedia):
        probe_video(path, LIMITS)


def test_packets_that_hold_no_picture_are_no_frames(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.avi", codec="mpeg4", frames=5, b_frames=0, color=None)
    content = path.read_bytes()
    movi = content.index(b"movi")
    path.write_bytes(content[:movi] + content[movi:].replace(b"\x00\x00\x01\xb6", b"\x00\x00\x01\xb5"))

    with pytest.raises((NoVideoFrames, CorruptMedia)):
        probe_video(path, LIMITS)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.7, 0.98])
def test_a_file_cut_short_gives_its_first_frames_or_a_clear_error(tmp_path: Path, suffix: str, kept: float) -> None:
    whole = make_video(tmp_path / f"whole.{suffix}", frames=30)
    path = cut_short(whole, tmp_path / f"cut.{suffix}", kept)

    try:
        times = [frame.pts for frame in VideoReader(path).frames()]
    except MediaError:
        return
    assert times == sorted(times)
    assert set(times) <= {frame.pts for frame in VideoReader(whole).frames()}


@pytest.mark.parametrize("seed", range(8))
def test_damaged_files_never_raise_anything_but_media_errors(tmp_path: Path, seed: int) -> None:
    path = make_video(tmp_path / "a.mp4", frames=20, audio_seconds=0.5)
    content = bytearray(path.read_bytes())
    random = np.random.default_rng(seed)
    for position in random.integers(0, len(content), 60):
        content[position] = random.integers(0, 256)
    path.write_bytes(content)

    try:
        facts = probe_video(path, LIMITS)
        frames = list(VideoReader(path).frames())
    except MediaError:
        return
    assert {(frame.planes.width, frame.planes.height) for frame in frames} == {(facts.width, facts.height)}


def test_a_picture_bomb_is_too_large(tmp_path: Path) -> None:
    bomb = make_picture_bomb(tmp_path / "bomb.mov")
    assert bomb.stat().st_size < 1 << 20

    with pytest.raises(MediaTooLarge):
        probe_video(bomb, LIMITS)


@pytest.mark.parametrize(
    ("codec", "suffix"), [("libx264", "mp4"), ("libvpx-vp9", "webm"), ("mpeg2video", "ts"), ("mjpeg", "avi")]
)
def test_more_pixels_than_allowed_are_too_large(tmp_path: Path, codec: str, suffix: str) -> None:
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = make_video(
        tmp_path / f"a.{suffix}", width=128, height=96, frames=3, codec=codec, pixel_format=pixel_format, color=None
    )

    assert probe_video(path, MediaLimits(max_pixels=128 * 128)).width == 128
    with pytest.raises(MediaTooLarge):
        probe_video(path, MediaLimits(max_pixels=96 * 96))


def test_a_picture_that_changes_size_is_corrupt(tmp_path: Path) -> None:
    path = make_resolution_change(tmp_path / "a.ts")

    with pytest.raises(CorruptMedia, match="frame 10"):
        list(VideoReader(path).frames())


def test_a_picture_that_grows_over_the_limit_is_refused_midway(tmp_path: Path) -> None:
    path = make_resolution_change(tmp_path / "a.ts")

    with pytest.raises((MediaTooLarge, CorruptMedia)):
        list(VideoReader(path, MediaLimits(max_pixels=160 * 160)).frames())


def test_too_many_frames_are_refused_by_their_number(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=20, fps=1000)

    with pytest.raises(MediaTooLarge):
        probe_video(path, MediaLimits(max_frames=19))
    with pytest.raises(MediaTooLarge):
        list(VideoReader(path, MediaLimits(max_frames=19)).frames())


CROWDED = {
    "told": {"fps": 1000},
    "told as 25 fps": {"time_base": Fraction(1, 1000), "pts": list(range(300))},
    "after a quiet start": {
        "time_base": Fraction(1, 1000),
        "pts": [1000 * i for i in range(20)] + [*range(20_000, 20_280)],
    },
}


@pytest.mark.parametrize("kind", list(CROWDED))
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_more_frames_in_a_second_than_any_camera_takes_are_too_large(tmp_path: Path, kind: str, suffix: str) -> None:
    path = make_video(tmp_path / f"a.{suffix}", frames=300, options={"preset": "ultrafast"}, **CROWDED[kind])

    seen = []
    with pytest.raises(MediaTooLarge, match="240 frames in a second"):
        seen.extend(frame.index for frame in VideoReader(path).frames())
    assert len(seen) < 290
    assert len(list(VideoReader(path, MediaLimits(max_fps=1000)).frames())) == 300


@pytest.mark.parametrize("fps", [120, 240, Fraction(240_000, 1001), 250])
def test_slow_motion_is_not_too_many_frames(tmp_path: Path, fps: Fraction | int) -> None:
    path = make_video(tmp_path / "a.mkv", frames=300, fps=fps, options={"preset": "ultrafast"})

    assert len(list(VideoReader(path).frames())) == 300


def test_too_long_a_video_is_refused_by_its_duration(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", frames=4, fps=1)

    with pytest.raises(MediaTooLarge):
        probe_video(path, MediaLimits(max_duration_seconds=3.5))
    with pytest.raises(MediaTooLarge):
        list(VideoReader(path, MediaLimits(max_duration_seconds=3.5)).frames())


def test_too_much_to_decode_is_refused_as_told_and_as_found(tmp_path: Path) -> None:
    told = make_video(tmp_path / "a.mp4", frames=20)
    untold = make_video(tmp_path / "live.mkv", frames=20, container_options={"live": "1"})
    ten_pictures = MediaLimits(max_decoded_bytes=10 * 64 * 48 * 3 // 2)

    with pytest.raises(MediaTooLarge, match="decodes to more"):
        probe_video(told, ten_pictures)
    seen = []
    with pytest.raises(MediaTooLarge, match="decodes to more"):
        seen.extend(frame.index for frame in VideoReader(untold, ten_pictures).frames())
    assert len(list(VideoReader(told, ten_pictures).frames(0, 10))) == 10


@pytest.mark.parametrize("told", [0.0, -1.0, float("nan"), float("inf"), 1e300])
def test_an_absurd_duration_is_not_believed(tmp_path: Path, told: float) -> None:
    path = make_video(tmp_path / "a.mkv", frames=10)
    content = path.read_bytes()
    duration = content.index(b"\x44\x89\x88") + 3
    path.write_bytes(content[:duration] + struct.pack(">d", told) + content[duration + 8 :])

    assert probe_video(path, LIMITS).duration_seconds == pytest.approx(0.4)
    assert len(list(VideoReader(path).frames())) == 10


@pytest.mark.parametrize(("scale", "rate"), [(0, 0), (0, 1), (1, 0), (1, 90_000), (1, 2**32 - 1), (2**32 - 1, 1)])
def test_a_frame_rate_that_is_none_is_replaced_or_too_long(tmp_path: Path, scale: int, rate: int) -> None:
    path = make_video(tmp_path / "a.avi", codec="mpeg4", b_frames=0, color=None, frames=10)
    content = bytearray(path.read_bytes())
    header = content.index(b"strh") + 28
    content[header : header + 8] = struct.pack("<II", scale, rate)
    path.write_bytes(content)

    try:
        assert 0 < probe_video(path, LIMITS).fps <= 1000
        assert len(list(VideoReader(path).frames())) == 10
    except MediaTooLarge:
        assert scale > rate


def test_an_encrypted_video_is_corrupt(tmp_path: Path) -> None:
    cipher = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "17" * 16, "encryption_kid": "23" * 16}
    path = make_video(tmp_path / "a.mp4", container_options=cipher)

    with pytest.raises(CorruptMedia):
        probe_video(path, LIMITS)


def test_a_duration_the_file_does_not_tell_is_measured(tmp_path: Path) -> None:
    path = make_video(tmp_path / "live.mkv", frames=50, container_options={"live": "1"})

    assert probe_video(path, LIMITS).duration_seconds == pytest.approx(2.0, abs=0.05)
