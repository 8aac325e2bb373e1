"""
Is memory flat in the length of the video? Dubs a 10 s and a 60 s 1080p clip at 25 fps, one after the other.

python benchmarks/memory.py          prints the peak of both and their ratio; exit status 1 above 1.15

Counted is the whole process tree, decoders included, five times a second: the sum of its PSS, where memory that two
processes share counts once. Decoders let only root look at them, so run it as root. The weights are `tiny` with one
denoising step: what a render holds is the crops of one segment and what stands for the whole clip, not the networks'
size. A face is seen in the first and the last seconds (`FACE_SECONDS`) of either clip: as many frames are
generated in both, enough for two full segments, and every frame between them is decoded, searched and encoded.
"""

import os
import subprocess
import sys
import tempfile
import time
import wave
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from skimage.data import astronaut
from skimage.transform import resize

WIDTH, HEIGHT, FPS = 1920, 1080, 25
SHORT_SECONDS, LONG_SECONDS = 10, 60
FACE_SECONDS = 4
HIGHEST_RATIO = 1.15
SAMPLE_SECONDS = 0.2
QUICK = ("--steps", "1", "--guidance", "1")


@dataclass(frozen=True)
class Peak:
    """The most that a process tree held at once, and of how many processes."""

    mib: float
    processes: int


def make_clip(folder: Path, seconds: int) -> tuple[Path, Path]:
    """A portrait drifting over a grey ground, gone from it in the middle of the clip, and a tone as its voice."""
    video, voice = folder / f"{seconds}.mp4", folder / f"{seconds}.wav"
    face = (255 * resize(astronaut(), (900, 900))).astype(np.uint8)  # type: ignore[no-untyped-call]
    with av.open(str(video), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for index in range(seconds * FPS):
            picture = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
            if min(index, seconds * FPS - 1 - index) < FACE_SECONDS * FPS:
                _show(face, picture, left=400 + index // 12)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    with wave.open(str(voice), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((8000 * np.sin(np.arange(16_000 * seconds) / 12)).astype("<i2").tobytes())
    return video, voice


def _show(face: NDArray[np.uint8], picture: NDArray[np.uint8], left: int) -> None:
    picture[100:1000, left : left + face.shape[1]] = face


def peak_of_dub(video: Path, voice: Path, out: Path) -> Peak:
    """The peak of one dub. SystemExit when it fails."""
    argv = [sys.executable, "-m", "cli", "dub", str(video), str(voice), str(out), *QUICK]
    peak = Peak(0.0, 0)
    with subprocess.Popen(argv) as dub:
        while dub.poll() is None:
            peak = max(peak, tree_now(dub.pid), key=lambda sample: sample.mib)
            time.sleep(SAMPLE_SECONDS)
    if dub.returncode != 0:
        raise SystemExit(f"the dub of {video.name} ended with status {dub.returncode}")
    return peak


def tree_now(root: int) -> Peak:
    """What a process and all its descendants hold now; one that ends meanwhile counts nothing."""
    waiting, kib, processes = [root], 0, 0
    while waiting:
        pid = waiting.pop()
        with suppress(FileNotFoundError, ProcessLookupError):
            kib += pss_kib(pid)
            processes += 1
            waiting += children(pid)
    return Peak(kib / 1024, processes)


def pss_kib(pid: int) -> int:
    """A process's share of memory: its own pages, and its part of those it shares, in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def children(pid: int) -> list[int]:
    """The processes that any thread of this one has started, and which are still there."""
    return [int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]


def main() -> int:
    """Measure both and compare; the exit status."""
    if os.geteuid() != 0:
        raise SystemExit("Only root sees the memory of the confined decoders: run this as root.")
    peaks = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seconds in (SHORT_SECONDS, LONG_SECONDS):
            clip, started = make_clip(folder, seconds), time.monotonic()
            peaks[seconds] = peak = peak_of_dub(*clip, folder / "out.mp4")
            took = time.monotonic() - started
            print(f"{seconds:3d} s: {peak.mib:6.0f} MiB at most, in {peak.processes} processes; {took:.0f} s of work")
    ratio = peaks[LONG_SECONDS].mib / peaks[SHORT_SECONDS].mib
    print(f"ratio {ratio:.3f}, allowed {HIGHEST_RATIO}")
    return 0 if ratio <= HIGHEST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
