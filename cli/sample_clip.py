"""A clip to try the service with, made on the spot: nothing is downloaded, nobody's likeness is taken without leave.

The picture is NASA's portrait of astronaut Eileen Collins (public domain), which scikit-image carries; it is set in
motion here. The voices are espeak-ng's. docs/sample-clip.md tells the whole story.
"""

import shutil
import subprocess
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from model.media.picture import rgb_to_planes
from model.media.sound import FileSound
from model.media.voice_track import VoiceTrack
from model.media.writer import VideoTrack, new_file
from model.plan import ColorTags, MediaLimits, VideoFacts

Image = NDArray[np.uint8]
Map = NDArray[np.float32]
Samples = NDArray[np.int16]

_SPOKEN = "Hello. I am an astronaut, and this is my own voice."
_DUBBED = "Good evening. These are other words, for the same lips."

_SECONDS = 4
_FPS = 25
_WIDTH, _HEIGHT = 1280, 720
_BT709 = ColorTags(range=1, primaries=1, transfer=1, matrix=1)

_VIEW_CENTRE = (250.0, 136.0)
_VIEW_WIDTH = 448.0
"""What the camera sees at rest, px of the portrait; far enough from its edges that no move shows them."""

_MOUTH_X = 224.5
_MOUTH_HALF_WIDTH = 19.0
_LIP_CORNERS_Y, _LIP_CENTRE_Y = 142.5, 149.5
"""The edge between upper teeth and lower lip: a parabola through the corners of the mouth, px of the portrait."""

_JAW_HALF_WIDTH = 34.0
_JAW_REACH = 48.0
"""How far from the lower lip the jaw pulls the skin along, px of the portrait."""

_JAW = np.s_[300:680, 280:840]
"""Where in the frame the jaw is, wherever the camera looks."""

_WIDEST_OPENING = 6.0
_MOUTH_INSIDE = np.array([58.0, 22.0, 24.0], np.float32)


class SpeechSynthesizerMissing(Exception):
    """espeak-ng is not installed."""


@dataclass(frozen=True, slots=True)
class SampleClip:
    """A talking head of 4 s (1280x720, 25 fps, with sound) and another voice to dub it with (4 s WAV)."""

    video: Path
    voice: Path


def make_sample_clip(folder: Path) -> SampleClip:
    """Make `sample.mp4` and `sample_voice.wav` in a folder. Raises SpeechSynthesizerMissing without espeak-ng."""
    clip = SampleClip(folder / "sample.mp4", folder / "sample_voice.wav")
    with TemporaryDirectory(prefix="highsync-sample-") as scratch:
        spoken = Path(scratch) / "spoken.wav"
        _speak(_SPOKEN, spoken)
        _speak(_DUBBED, clip.voice)
        _film(spoken, clip.video)
    return clip


def _speak(text: str, path: Path) -> None:
    """Write a sentence as a mono WAV of exactly the clip's length."""
    espeak = shutil.which("espeak-ng")
    if espeak is None:
        raise SpeechSynthesizerMissing(
            "The sample clip needs espeak-ng. Install it: apt-get install espeak-ng (Debian, Ubuntu), "
            "brew install espeak-ng (macOS)."
        )
    command = [espeak, "-v", "en-us", "-s", "150", "-w", str(path), text]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 (our own words, no shell)
    samples, rate = _read_wav(path)
    length = _SECONDS * rate
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.pad(samples[:length], (0, max(0, length - samples.size))).tobytes())


def _film(spoken: Path, path: Path) -> None:
    facts = VideoFacts(
        width=_WIDTH,
        height=_HEIGHT,
        rotation_degrees=0,
        fps=Fraction(_FPS),
        frames=_SECONDS * _FPS,
        duration_seconds=float(_SECONDS),
        time_base=Fraction(1, _FPS),
        codec="h264",
        pixel_format="yuv420p",
        color=_BT709,
        sample_aspect_ratio=Fraction(1),
        has_audio=True,
    )
    with new_file(path, facts.time_base) as container:
        picture_track = VideoTrack(container, facts)
        voice_track = VoiceTrack(container, FileSound(spoken, MediaLimits()), facts.duration_seconds)
        for index, image in enumerate(_images(_openings(*_read_wav(spoken)))):
            picture_track.write(rgb_to_planes(image, _BT709, 2), index, 1)
        picture_track.finish()
        voice_track.finish()


def _images(openings: Map) -> Iterator[Image]:
    """One picture (720, 1280, 3) RGB per mouth opening (portrait px)."""
    from skimage import data

    portrait = np.asarray(data.astronaut(), np.uint8)  # type: ignore[no-untyped-call]
    for index, opening in enumerate(openings):
        x, y = _camera(index / _FPS)
        y[_JAW], inside = _speak_at(x[_JAW], y[_JAW], float(opening))
        image = cv2.remap(portrait, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
        image[_JAW] = np.rint(image[_JAW] * (1.0 - inside) + _MOUTH_INSIDE * inside)
        yield np.asarray(image, np.uint8)


def _speak_at(x: Map, y: Map, opening: float) -> tuple[Map, Map]:
    """Open the mouth: where in the portrait each pixel looks then, y (H, W), and how much of it is inside (H, W, 1).

    The upper lip and teeth stay. The lower lip goes down by `opening` at its middle, and the jaw follows, less and less
    towards the neck.
    """
    across = x - _MOUTH_X
    bow = np.clip(1.0 - (across / _MOUTH_HALF_WIDTH) ** 2, 0.0, None)
    teeth = _LIP_CORNERS_Y + (_LIP_CENTRE_Y - _LIP_CORNERS_Y) * bow
    lip = teeth + opening * bow
    below = np.clip((y - lip) / _JAW_REACH, 0.0, 1.0)
    jaw = np.exp(-((across / _JAW_HALF_WIDTH) ** 2))
    along = _smoothstep(np.clip(3.0 * below, 0.0, 1.0))
    pulled = y - opening * (bow * (1.0 - along) + jaw * along) * (1.0 - _smoothstep(below))
    seen = np.where(y >= lip, pulled, np.minimum(y, teeth)).astype(np.float32)
    inside = np.clip(y - teeth, 0.0, 1.0) * np.clip(lip - y, 0.0, 1.0)
    return seen, inside[..., None].astype(np.float32)


def _smoothstep(t: Map) -> Map:
    return np.asarray(t * t * (3.0 - 2.0 * t), np.float32)


def _camera(seconds: float) -> tuple[Map, Map]:
    """Where in the portrait each pixel of a frame looks, (720, 1280) x and y: a slow pan, zoom and roll."""
    scale = _VIEW_WIDTH / _WIDTH * (1.0 + 0.015 * np.sin(2 * np.pi * seconds / 5.0))
    roll = np.deg2rad(0.7 * np.sin(2 * np.pi * seconds / 3.7))
    centre_x = _VIEW_CENTRE[0] + 5.0 * np.sin(2 * np.pi * seconds / 4.3)
    centre_y = _VIEW_CENTRE[1] + 2.0 * np.sin(2 * np.pi * seconds / 2.9)
    right = scale * (np.arange(_WIDTH) - _WIDTH / 2)[None, :]
    down = scale * (np.arange(_HEIGHT) - _HEIGHT / 2)[:, None]
    x = centre_x + np.cos(roll) * right - np.sin(roll) * down
    y = centre_y + np.sin(roll) * right + np.cos(roll) * down
    return x.astype(np.float32), y.astype(np.float32)


def _openings(samples: Samples, rate: int) -> Map:
    """How far the mouth is open in each frame, (F,) portrait px: the loudness of the speech around it, smoothed."""
    per_frame = rate // _FPS
    runs = samples[: per_frame * _SECONDS * _FPS].astype(np.float32).reshape(-1, per_frame)
    loudness = np.sqrt((runs**2).mean(axis=1))
    smooth = np.convolve(loudness, [0.25, 0.5, 0.25], mode="same")
    return np.asarray(_WIDEST_OPENING * np.sqrt(smooth / max(float(smooth.max()), 1.0)), np.float32)


def _read_wav(path: Path) -> tuple[Samples, int]:
    with wave.open(str(path), "rb") as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16), file.getframerate()
