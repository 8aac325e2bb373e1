"""Pictures as the planes that will be encoded, and their way to RGB and back.

A picture is 8 bit planar YUV: 4:2:0, or 4:4:4 when a side is odd (H.264 cannot code odd 4:2:0). Work on these planes
keeps every sample nobody touches the source's own; only the generated region ever goes through RGB.
"""

from dataclasses import dataclass

import av
import numpy as np
from av.video.plane import VideoPlane
from av.video.reformatter import ColorRange, Colorspace, Interpolation
from numpy.typing import NDArray

from model.plan import ColorTags

Plane = NDArray[np.uint8]

_NO_YUV_MATRIX = (0, 2, 3)
"""AVCOL_SPC_RGB, AVCOL_SPC_UNSPECIFIED and AVCOL_SPC_RESERVED."""

_LIMITED, _FULL = 1, 2
_BT709, _BT601 = 1, 6

_LUMA_WEIGHTS: dict[int, tuple[float, float]] = {
    1: (0.2126, 0.0722),  # ITU-R BT.709
    4: (0.30, 0.11),  # FCC 47 CFR 73.682
    5: (0.299, 0.114),  # ITU-R BT.470 B/G
    6: (0.299, 0.114),  # ITU-R BT.601
    7: (0.212, 0.087),  # SMPTE 240M
    9: (0.2627, 0.0593),  # ITU-R BT.2020, non-constant luminance
}
"""(Kr, Kb) by AVColorSpace."""

_SWSCALE_MATRIX: dict[int, Colorspace] = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
}

_EXACT = Interpolation.POINT | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND
"""swscale's default 4:2:0 path is one to three levels off in luma; with these flags it is exact to rounding."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One upright picture, or a region of one. y: (H, W), u and v: (ceil(H/s), ceil(W/s)) uint8 with s = subsampling.

    The arrays may be views into a decoder's memory: copy a plane before writing to it. `color` says what the samples
    mean; its matrix and range are never unspecified.
    """

    y: Plane
    u: Plane
    v: Plane
    color: ColorTags

    @property
    def width(self) -> int:
        """Width of the luma plane, px."""
        return int(self.y.shape[1])

    @property
    def height(self) -> int:
        """Height of the luma plane, px."""
        return int(self.y.shape[0])

    @property
    def subsampling(self) -> int:
        """Luma samples per chroma sample along each axis: 2 (4:2:0) or 1 (4:4:4)."""
        return 1 if self.u.shape == self.y.shape else 2

    def writable(self) -> "Picture":
        """A copy that owns its planes."""
        return Picture(self.y.copy(), self.u.copy(), self.v.copy(), self.color)

    def to_rgb(self) -> NDArray[np.uint8]:
        """The picture as (H, W, 3) uint8 RGB, full range; each chroma sample serves its whole block."""
        frame = picture_to_frame(self).reformat(
            format="rgb24",
            src_colorspace=swscale_matrix(self.color),
            src_color_range=ColorRange(self.color.range),
            dst_color_range=ColorRange.JPEG,
            interpolation=_EXACT,
        )
        return np.asarray(frame.to_ndarray(), np.uint8)


def working_subsampling(width: int, height: int) -> int:
    """Chroma subsampling of the working format: 2, or 1 when a side is odd."""
    return 1 if width % 2 or height % 2 else 2


def pixel_format(subsampling: int) -> str:
    """FFmpeg's name of the working format with this chroma subsampling."""
    return "yuv444p" if subsampling == 1 else "yuv420p"


def resolve_color(tags: ColorTags, width: int, height: int, *, rgb: bool) -> ColorTags:
    """Settle what a file leaves open, the way players do: limited range; BT.709 from 720p on, BT.601 below.

    Samples that come as RGB become limited range YUV of that same guess.
    """
    guess = _BT709 if width >= 1280 or height > 576 else _BT601
    return ColorTags(
        range=_FULL if tags.range == _FULL and not rgb else _LIMITED,
        primaries=tags.primaries,
        transfer=tags.transfer,
        matrix=guess if rgb or tags.matrix in _NO_YUV_MATRIX else tags.matrix,
    )


def swscale_matrix(color: ColorTags) -> Colorspace:
    """The matrix swscale is to use; BT.709 for the rare ones it does not know."""
    return _SWSCALE_MATRIX.get(color.matrix, Colorspace.ITU709)


def rgb_to_planes(rgb: NDArray[np.uint8], color: ColorTags, subsampling: int) -> Picture:
    """Turn an RGB region (H, W, 3) uint8 into planes that fit a picture of this color and subsampling.

    The inverse of `Picture.to_rgb`: a chroma sample is the mean of its block, so RGB that was not changed returns to
    the planes it came from (±1 for rounding, where RGB did not clip). With subsampling 2 the region must start at an
    even row and column of its picture; an odd last row or column is repeated to fill its block.
    """
    kr, kb = _LUMA_WEIGHTS.get(color.matrix, _LUMA_WEIGHTS[_BT709])
    kg = 1.0 - kr - kb
    full = color.range == _FULL
    black, luma_scale, chroma_scale = (0.0, 1.0, 1.0) if full else (16.0, 219.0 / 255.0, 224.0 / 255.0)
    to_luma = [kr * luma_scale, kg * luma_scale, kb * luma_scale, black]
    blue, red = chroma_scale / (2.0 * (1.0 - kb)), chroma_scale / (2.0 * (1.0 - kr))
    to_cb = [-kr * blue, -kg * blue, (1.0 - kb) * blue, 128.0]
    to_cr = [(1.0 - kr) * red, -kg * red, -kb * red, 128.0]
    blocks = _block_means(rgb, subsampling)
    return Picture(_mixed(rgb, to_luma), _mixed(blocks, to_cb), _mixed(blocks, to_cr), color)


def picture_to_frame(picture: Picture) -> av.VideoFrame:
    """Copy a picture into an FFmpeg frame of the working format, tagged with its color."""
    frame = av.VideoFrame(picture.width, picture.height, pixel_format(picture.subsampling))
    for plane, samples in zip(frame.planes, (picture.y, picture.u, picture.v), strict=True):
        plane_samples(plane)[...] = samples
    frame.color_range = picture.color.range
    frame.color_primaries = picture.color.primaries
    frame.color_trc = picture.color.transfer
    frame.colorspace = picture.color.matrix
    return frame


def plane_samples(plane: VideoPlane) -> Plane:
    """The samples of an 8 bit plane as an array (height, width) over FFmpeg's own memory."""
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : plane.width]


def _block_means(rgb: NDArray[np.uint8], block: int) -> NDArray[np.float32]:
    """Means of block x block squares of (H, W, 3), edges repeated where a side is no multiple of the block."""
    import cv2  # a decoder process imports this file too, and needs none of it

    rows, columns = rgb.shape[0] % block, rgb.shape[1] % block
    padded = cv2.copyMakeBorder(rgb, 0, rows, 0, columns, cv2.BORDER_REPLICATE).astype(np.float32)
    size = (padded.shape[1] // block, padded.shape[0] // block)
    return np.asarray(cv2.resize(padded, size, interpolation=cv2.INTER_AREA), np.float32)


def _mixed(rgb: NDArray[np.uint8] | NDArray[np.float32], weights: list[float]) -> Plane:
    """Weighted sum of the channels plus a constant, (H, W) rounded and clipped to uint8."""
    import cv2

    sums = cv2.transform(rgb, np.array([weights], np.float32))
    return np.asarray(sums if sums.dtype == np.uint8 else np.clip(np.rint(sums), 0, 255), np.uint8)
