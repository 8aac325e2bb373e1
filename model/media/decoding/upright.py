"""From a decoder's frame to an upright picture in the working format."""

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation

from model.media.picture import (
    Picture,
    Plane,
    pixel_format,
    plane_samples,
    resolve_color,
    swscale_matrix,
    working_subsampling,
)
from model.plan import ColorTags

_FULL_RANGE_TWINS = {"yuvj420p": "yuv420p", "yuvj444p": "yuv444p"}
"""Deprecated names of working formats whose range is full."""


def upright_picture(frame: av.VideoFrame) -> Picture:
    """The frame as it is meant to be seen. A frame that already has the working format keeps every sample."""
    subsampling = working_subsampling(frame.width, frame.height)
    color = _color_of(frame)
    if _FULL_RANGE_TWINS.get(frame.format.name, frame.format.name) != pixel_format(subsampling):
        frame = frame.reformat(
            format=pixel_format(subsampling),
            src_colorspace=swscale_matrix(color),
            dst_colorspace=swscale_matrix(color),
            src_color_range=ColorRange.JPEG if frame.format.is_rgb else ColorRange(color.range),
            dst_color_range=ColorRange(color.range),
            interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND,
        )
    turns = quarter_turns(frame)
    y, u, v = (_rotated(plane_samples(plane), turns) for plane in frame.planes[:3])
    return Picture(y, u, v, color)


def quarter_turns(frame: av.VideoFrame) -> int:
    """Counter-clockwise quarter turns that bring the frame upright, 0 to 3."""
    return round(frame.rotation / 90) % 4


def _rotated(plane: Plane, turns: int) -> Plane:
    return np.ascontiguousarray(np.rot90(plane, turns)) if turns else plane


def _color_of(frame: av.VideoFrame) -> ColorTags:
    full_range = frame.format.name in _FULL_RANGE_TWINS
    tags = ColorTags(
        range=ColorRange.JPEG if full_range else frame.color_range,
        primaries=frame.color_primaries,
        transfer=frame.color_trc,
        matrix=frame.colorspace,
    )
    return resolve_color(tags, frame.width, frame.height, rgb=frame.format.is_rgb)
