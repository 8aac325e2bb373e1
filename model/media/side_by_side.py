"""A comparison to look at: the original on the left, the dub on the right, with the dub's sound."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from model.media.picture import rgb_to_planes
from model.media.reader import Frame, VideoReader, probe_video
from model.media.sound import FileSound
from model.media.voice_track import VoiceTrack
from model.media.writer import VideoTrack, new_file
from model.plan import MediaLimits

_LARGEST_HEIGHT = 720


def side_by_side(left: Path, right: Path, out: Path, limits: MediaLimits | None = None) -> None:
    """Write an mp4 that shows two videos next to each other, at the times of the right one and with its sound.

    Both get the right one's height, 720 px at most. At each time the left shows what it would show alone; when it ends
    first, its last frame stays. Frames stream through. Raises the MediaErrors of either file.
    """
    limits = limits or MediaLimits()
    facts = probe_video(right, limits)
    height = min(_LARGEST_HEIGHT, facts.height) // 2 * 2
    with new_file(out, facts.time_base) as container:
        picture_track: VideoTrack | None = None
        voice_track = VoiceTrack(container, FileSound(right, limits), facts.duration_seconds)
        for frame, original in _paired(VideoReader(left, limits).frames(), VideoReader(right, limits).frames()):
            rgb = np.hstack([_scaled(original.to_rgb(), height), _scaled(frame.to_rgb(), height)])
            if picture_track is None:
                picture_track = VideoTrack(container, replace(facts, width=rgb.shape[1], height=rgb.shape[0]))
            picture_track.write(rgb_to_planes(rgb, facts.color, 2), frame.pts, frame.duration)
            voice_track.write_until(float((frame.pts + frame.duration) * facts.time_base))
        if picture_track is not None:
            picture_track.finish()
        voice_track.finish()


def _paired(originals: Iterator[Frame], dubs: Iterator[Frame]) -> Iterator[tuple[Frame, Frame]]:
    """Each frame of the dub with the original's frame shown at its time."""
    shown = next(originals)
    coming = next(originals, None)
    for dub in dubs:
        while coming is not None and coming.time_seconds <= dub.time_seconds:
            shown, coming = coming, next(originals, None)
        yield dub, shown


def _scaled(rgb: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    """The picture at an even width and this height."""
    width = max(2, round(rgb.shape[1] * height / rgb.shape[0] / 2) * 2)
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
