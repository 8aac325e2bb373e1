"""What decoding in a confined process costs: frames per second of a 1080p clip in this process, and in a decoder.

python benchmarks/decode.py          prints both and their ratio; exit status 1 below 0.85
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import av
import numpy as np

from model.media.decoding.source import MediaSource
from model.media.decoding.video import decode_frames
from model.media.frame import Frame
from model.media.reader import VideoReader, probe_video
from model.plan import MediaLimits

WIDTH, HEIGHT, FPS = 1920, 1080, 25
LOWEST_RATIO = 0.85
LIMITS = MediaLimits()


def make_clip(path: Path, frames: int) -> Path:
    """A moving pattern with noise over it, so that decoding is as hard as film's."""
    random = np.random.default_rng(0)
    noise = np.kron(
        random.integers(0, 40, (HEIGHT // 8 + 8, WIDTH // 8 + 8, 3), np.uint8), np.ones((8, 8, 1), np.uint8)
    )
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(frames):
            wave = 100 + 80 * np.sin((x + 7 * index) / 90) * np.cos((y - 5 * index) / 70)
            down, across = random.integers(0, 64, 2)
            picture = wave[..., None].astype(np.uint8) + noise[down : down + HEIGHT, across : across + WIDTH]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode(None))
    return path


@contextmanager
def here(path: Path) -> Iterator[Iterator[Frame]]:
    """The frames, decoded in this process."""
    with path.open("rb") as file:
        yield decode_frames(MediaSource(file, LIMITS))


@contextmanager
def confined(path: Path) -> Iterator[Iterator[Frame]]:
    """The frames, decoded in a process of their own."""
    yield VideoReader(path, LIMITS).frames()


def look(frame: Frame) -> None:
    """Use the frame no further."""


def to_rgb(frame: Frame) -> None:
    """Use the frame as the crops of a render are used."""
    frame.to_rgb()


def frames_per_second(
    decoded: Callable[[Path], AbstractContextManager[Iterator[Frame]]], path: Path, use: Callable[[Frame], None]
) -> float:
    """Of one pass over the clip, start of the decoder included."""
    started, frames = time.perf_counter(), 0
    with decoded(path) as iterator:
        for frame in iterator:
            use(frame)
            frames += 1
    return frames / (time.perf_counter() - started)


def main() -> int:
    """Measure, in turns, and compare medians; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--video", type=Path, help="a clip of your own")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clip = options.video or make_clip(Path(folder) / "clip.mp4", options.frames)
        facts = probe_video(clip, LIMITS)
        print(f"{facts.width}x{facts.height} {facts.codec}, {facts.frames} frames, {options.repeats} passes each")
        ratios = []
        for use in (look, to_rgb):
            rates: dict[str, list[float]] = {"here": [], "confined": []}
            for _ in range(options.repeats):
                rates["here"].append(frames_per_second(here, clip, use))
                rates["confined"].append(frames_per_second(confined, clip, use))
            in_process, in_decoder = (statistics.median(values) for values in rates.values())
            ratios.append(in_decoder / in_process)
            print(f"{use.__name__:>8}: {in_process:6.1f} frames/s here, {in_decoder:6.1f} confined, {ratios[-1]:.2f}")
    return 0 if ratios[0] >= LOWEST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
