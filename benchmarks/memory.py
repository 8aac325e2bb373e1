"""Is memory flat in the length of the video? Dubs a 10 s and a 60 s 1080p clip, each in a process of its own.

python benchmarks/memory.py          prints the peak of both and their ratio; exit status 1 above 1.15
"""

import os
import sys
import tempfile
import wave
from pathlib import Path

import av
import numpy as np
from skimage.data import astronaut
from skimage.transform import resize

WIDTH, HEIGHT, FPS = 1920, 1080, 10
SHORT_SECONDS, LONG_SECONDS = 10, 60
HIGHEST_RATIO = 1.15


def make_clip(folder: Path, seconds: int) -> tuple[Path, Path]:
    """A portrait drifting over a grey ground, and a tone as its voice."""
    video, voice = folder / f"{seconds}.mp4", folder / f"{seconds}.wav"
    face = (255 * resize(astronaut(), (900, 900))).astype(np.uint8)
    with av.open(str(video), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(seconds * FPS):
            picture = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
            left = 400 + index // 2
            picture[100:1000, left : left + 900] = face
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    with wave.open(str(voice), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((8000 * np.sin(np.arange(16_000 * seconds) / 12)).astype("<i2").tobytes())
    return video, voice


def peak_mib(video: Path, voice: Path, out: Path) -> float:
    """Peak resident memory of one dub, in MiB."""
    argv = [sys.executable, "-m", "cli", "dub", str(video), str(voice), str(out), "--steps", "1", "--guidance", "1"]
    _, status, usage = os.wait4(os.spawnv(os.P_NOWAIT, sys.executable, argv), 0)
    if status != 0:
        raise SystemExit(f"the dub of {video.name} ended with status {status}")
    return usage.ru_maxrss / 1024


def main() -> int:
    """Measure both and compare; the exit status."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peaks = [peak_mib(*make_clip(folder, s), folder / "out.mp4") for s in (SHORT_SECONDS, LONG_SECONDS)]
    ratio = peaks[1] / peaks[0]
    print(f"{SHORT_SECONDS} s: {peaks[0]:.0f} MiB   {LONG_SECONDS} s: {peaks[1]:.0f} MiB   ratio {ratio:.3f}")
    return 0 if ratio <= HIGHEST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
