"""Dubs broken media files and tells what became of each: a result, or an error with a code.

python -m tests.fuzz_media --files 300 --seed 4       prints a table; exit status 1 when there is a finding
python -m tests.fuzz_media --keep out/                 leaves the files of findings there

Every file takes the worker's way: preflight, thumbnails, plan, every segment, the encode, with the untrained networks
and under limits that are strict enough for hangs to show soon. One process dubs them all, as a worker does; another one
watches it. A finding is a file over which that process dies ("died"), or lasts longer than HANG_SECONDS and is killed
("hang", in C code as well), and an error without a code of its own ("internal_error"). The next file then gets a new
process. A decoder that dies is none: it is there to die, if its file fails with a code.
"""

import argparse
import multiprocessing
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import torch

from cli.sample_clip import make_sample_clip
from core.errors import ErrorCode
from model.media.reader import VideoReader
from model.pipeline import load_pipeline
from model.plan import DubOptions, MediaLimits
from tests.e2e.house import portrait_clip, voice
from tests.media_factory import make_video, make_voice
from tests.media_mutations import MUTATIONS, SIDE, Mutant, mutants
from worker.failures import error_code

LIMITS = MediaLimits(
    max_pixels=2048 * 1152,
    max_frames=120,
    max_duration_seconds=60.0,
    decoder_memory_bytes=1 << 30,
    decoder_cpu_seconds=30,
    decoder_silence_seconds=20.0,
)
OPTIONS = DubOptions(num_inference_steps=1, guidance_scale=1.0)
SUCCESS = "a result"
HANG_SECONDS = 300.0
DIED = "died"
HANG = "hang"
_FRAMES = 6
_START_SECONDS = 300.0

Dub = Callable[[Path, Path], None]
"""Dubs a video with a voice."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file. code: SUCCESS, an error code, DIED or HANG. message: of the error.

    memory_bytes: of the process that dubbed, afterwards; 0 when it is no more.
    """

    mutant: Mutant
    code: str
    message: str
    seconds: float
    memory_bytes: int

    @property
    def is_finding(self) -> bool:
        """Whether a user would have learnt nothing from it."""
        return self.code in {ErrorCode.INTERNAL_ERROR.value, DIED, HANG}

    @property
    def decoder_died(self) -> bool:
        """Whether the process that decodes was lost over it."""
        return "crashed" in self.message or "ended the decoder" in self.message


def dub_as_a_worker(folder: Path) -> Dub:
    """What is tried out: every step of a job, with the networks loaded once. folder: for scratch files."""
    pipeline = load_pipeline("tiny", torch.device("cpu"), torch.float32, None)

    def dub(video: Path, audio: Path) -> None:
        with TemporaryDirectory(dir=folder) as scratch:
            found = pipeline.survey(video, audio, OPTIONS, LIMITS)
            pipeline.preflight(found)
            pipeline.thumbnails(found, Path(scratch))
            plan = pipeline.plan(found)
            paths = {segment.index: Path(scratch) / f"{segment.index}.mkv" for segment in plan.segments}
            for segment in plan.segments:
                pipeline.render_segment(plan, segment, paths[segment.index])
            pipeline.compose(plan, paths, Path(scratch) / "dubbed.mp4")

    return dub


class _Dubber:
    """A process that dubs, until it dies, is killed, or is asked no more."""

    def __init__(self, folder: Path, make_dub: Callable[[Path], Dub]) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, folder, make_dub), daemon=True)
        self._process.start()
        theirs.close()
        if not self._connection.poll(_START_SECONDS):
            raise TimeoutError("the process that dubs does not start")
        self._connection.recv()

    def dub(self, video: Path, audio: Path, hang_seconds: float) -> tuple[str, str, int]:
        """Code, message and memory in bytes. After DIED and HANG there is no process any more."""
        try:
            self._connection.send((video, audio))
            if not self._connection.poll(hang_seconds):
                self.close()
                return HANG, f"killed after {hang_seconds:g} s", 0
            code, message, memory_bytes = self._connection.recv()
        except (EOFError, ConnectionResetError, BrokenPipeError):
            self._process.join()
            return DIED, f"exit status {self._process.exitcode}", 0
        return code, message, memory_bytes

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.kill()
        self._process.join()


def _serve(connection: Connection, folder: Path, make_dub: Callable[[Path], Dub]) -> None:
    """Dub what comes, and tell what became of it."""
    dub = make_dub(folder)
    connection.send("ready")
    while True:
        try:
            video, audio = connection.recv()
        except EOFError:
            return
        try:
            dub(video, audio)
            code, message = SUCCESS, ""
        except Exception as error:  # noqa: BLE001  what it is, is the question
            code, message = error_code(error).value, f"{type(error).__name__}: {error}"
        connection.send((code, message, _own_memory_bytes()))


class Fuzzer:
    """Dubs one broken file after the other. A context manager: its process does not outlive the block.

    make_dub: called in that process, with a folder for scratch files.
    """

    def __init__(
        self, folder: Path, make_dub: Callable[[Path], Dub] = dub_as_a_worker, hang_seconds: float = HANG_SECONDS
    ) -> None:
        self._folder = folder
        self._make_dub = make_dub
        self._hang_seconds = hang_seconds
        self._dubber: _Dubber | None = None
        self.clip = portrait_clip(folder / "whole.mp4", _FRAMES)
        self.voice = voice(folder / "whole.wav", 0.25)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._dubber is not None:
            self._dubber.close()

    def sources(self) -> list[Path]:
        """The whole files: clips in every container, voices in every container."""
        return [*self._clips(), *self._voices()]

    def try_out(self, mutant: Mutant) -> Outcome:
        """Dub a broken clip with the whole voice, or the whole clip with a broken voice."""
        path = self._folder / f"mutant-{mutant.number}"
        path.write_bytes(mutant.content)
        video, audio = (self.clip, path) if "voice" in mutant.source.name else (path, self.voice)
        self._dubber = self._dubber or _Dubber(self._folder, self._make_dub)
        started = time.monotonic()
        code, message, memory_bytes = self._dubber.dub(video, audio, self._hang_seconds)
        seconds = time.monotonic() - started
        if code in {DIED, HANG}:
            self._dubber = None
        path.unlink()
        return Outcome(mutant, code, message, seconds, memory_bytes)

    def _clips(self) -> Iterator[Path]:
        pictures = [frame.to_rgb() for frame in VideoReader(self.clip).frames()]
        kinds = {
            "h264.mp4": {"audio_seconds": 0.2},
            "fragmented.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}, "gop": 2},
            "rotated.mov": {"codec": "prores_ks", "pixel_format": "yuv422p10le", "rotation": 180},
            "rgb.mov": {"codec": "png", "pixel_format": "rgb24", "color": None},
            "hevc.mkv": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
            "lossless.mkv": {"codec": "ffv1", "audio_seconds": 0.2},
            "vp9.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
            "mpeg4.avi": {"codec": "mpeg4", "b_frames": 0, "color": None},
            "mpeg2.ts": {"codec": "mpeg2video", "color": None},
            "h264.ts": {"gop": 3, "audio_seconds": 0.2},
        }
        for name, kind in kinds.items():
            yield make_video(
                self._folder / f"clip-{name}", width=SIDE, height=SIDE, frames=_FRAMES, pictures=pictures, **kind
            )

    def _voices(self) -> Iterator[Path]:
        codecs = {
            "a.wav": "pcm_s16le", "b.wav": "pcm_f32le", "c.wav": "adpcm_ms", "a.flac": "flac", "a.mp3": "libmp3lame",
            "a.ogg": "libopus", "a.m4a": "aac", "a.aac": "aac", "a.mkv": "pcm_s24le",
        }  # fmt: skip
        for name, codec in codecs.items():
            yield make_voice(self._folder / f"voice-{name}", seconds=0.5, rate=48_000, codec=codec)


def fuzz(fuzzer: Fuzzer, sources: Sequence[Path], files: int, seed: int) -> Iterator[Outcome]:
    """Try so many files out."""
    return map(fuzzer.try_out, mutants(sources, files, seed))


def table(outcomes: Sequence[Outcome]) -> str:
    """How many files of each mutation ended how, in Markdown."""
    codes = [code for code, _ in Counter(outcome.code for outcome in outcomes).most_common()]
    lines = [f"| mutation | files | {' | '.join(f'`{code}`' if code != SUCCESS else code for code in codes)} |"]
    lines.append("|---|" + "---|" * (len(codes) + 1))
    for name in (*MUTATIONS, "all"):
        mine = [outcome for outcome in outcomes if name in (outcome.mutant.mutation, "all")]
        counts = Counter(outcome.code for outcome in mine)
        lines.append(f"| {name} | {len(mine)} | {' | '.join(str(counts[code]) for code in codes)} |")
    return "\n".join(lines)


def main() -> int:
    """Fuzz, and tell; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--keep", type=Path, help="a folder for the files of findings")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="highsync-fuzz-") as folder:
        report = _Report(options.keep)
        sample = make_sample_clip(Path(folder))
        with Fuzzer(Path(folder)) as fuzzer:
            sources = [sample.video, sample.voice, *fuzzer.sources()]
            for outcome in fuzz(fuzzer, sources, options.files, options.seed):
                report.add(outcome)
    print(report)
    return 1 if report.findings else 0


class _Report:
    """What has been seen so far; findings are kept in a folder, if there is one."""

    def __init__(self, keep: Path | None) -> None:
        self._keep = keep
        self._started = time.monotonic()
        self._outcomes: list[Outcome] = []

    def add(self, outcome: Outcome) -> None:
        """Note an outcome and print its line."""
        self._outcomes.append(outcome)
        mutant, source = outcome.mutant, outcome.mutant.source.name
        what = f"{source:20} {mutant.mutation:20} {outcome.code:20} {outcome.message}"
        print(f"{mutant.number:4} {outcome.seconds:6.1f} s  {what}", file=sys.stderr, flush=True)
        if outcome.is_finding and self._keep:
            self._keep.mkdir(parents=True, exist_ok=True)
            (self._keep / f"{mutant.number}-{source}").write_bytes(mutant.content)

    @property
    def findings(self) -> int:
        """Of how many files a user would have learnt nothing."""
        return sum(outcome.is_finding for outcome in self._outcomes)

    def __str__(self) -> str:
        seconds, slowest = time.monotonic() - self._started, max(outcome.seconds for outcome in self._outcomes)
        memory = [outcome.memory_bytes >> 20 for outcome in self._outcomes if outcome.memory_bytes] or [0]
        codes = Counter(outcome.code for outcome in self._outcomes)
        return (
            f"{table(self._outcomes)}\n\n"
            f"{len(self._outcomes)} files in {seconds:.0f} s, the slowest in {slowest:.1f} s; "
            f"{sum(outcome.decoder_died for outcome in self._outcomes)} decoders died; the process that dubs had "
            f"{memory[len(memory) // 3]} MiB after a third of the files and {memory[-1]} MiB at the end\n"
            f"findings: {codes[DIED]} crashes, {codes[HANG]} hangs, "
            f"{codes[ErrorCode.INTERNAL_ERROR.value]} errors without a code"
        )


def _own_memory_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    sys.exit(main())
