"""The commands that make datasets: `synthesize` and `prepare`."""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from model.audio.encoder import AudioEncoderConfig
    from model.training.prepare import VideoReport

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_data_commands(commands: Commands) -> None:
    """Add them to a parser; each sets `run`, which takes the parsed options."""
    _add_synthesize(commands)
    _add_prepare(commands)


def _add_synthesize(commands: Commands) -> None:
    parser = commands.add_parser("synthesize", help="make a dataset of synthetic talking heads")
    parser.add_argument("folder", type=Path, metavar="DST", help="where to; a set that is there is gone on with")
    parser.add_argument("--clips", type=int, required=True, metavar="N", help="clips to train on")
    parser.add_argument("--heldout-clips", type=int, metavar="N", help="other faces, voices, sentences; default N/10")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, default=100, help="per clip, 25 a second (default: %(default)s)")
    parser.add_argument("--size", type=int, default=256, help="side of a crop, px (default: %(default)s)")
    parser.add_argument("--boxes", choices=["fixed", "per_frame"], default="fixed", help="default: %(default)s")
    parser.add_argument("--chin-leak", type=float, default=1.0, metavar="STRENGTH", help="0: the chin stays")
    parser.add_argument("--upper-face-leak", type=float, default=1.0, metavar="STRENGTH", help="0: brows know nothing")
    _add_common(parser)
    parser.set_defaults(run=_synthesize)


def _add_prepare(commands: Commands) -> None:
    parser = commands.add_parser("prepare", help="make a dataset of a folder of talking-head videos")
    parser.add_argument("source", type=Path, metavar="SRC", help="the folder; every file under it is looked through")
    parser.add_argument("folder", type=Path, metavar="DST", help="where to; a set that is there is gone on with")
    parser.add_argument("--config", type=Path, metavar="FILE.toml", help="crop_size, heldout_share, [filters]")
    parser.add_argument("--yunet", type=Path, metavar="FILE", help="YuNet's file; default: dlib")
    _add_common(parser)
    parser.set_defaults(run=_prepare)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--audio-encoder", type=Path, metavar="PATH", help="whisper_tiny.pt; default: an untrained one")
    for size in ("width", "blocks", "heads"):
        parser.add_argument(
            f"--audio-{size}", type=int, metavar="N", help="of the untrained one; default: as whisper_tiny"
        )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)


def _audio_encoder(options: argparse.Namespace) -> "Path | AudioEncoderConfig":
    from model.audio.encoder import WHISPER_TINY

    asked = {"width": options.audio_width, "blocks": options.audio_blocks, "heads": options.audio_heads}
    size = replace(WHISPER_TINY, **{name: number for name, number in asked.items() if number is not None})
    return options.audio_encoder or size


def _synthesize(options: argparse.Namespace) -> None:
    from model.training.synthesize import SynthesisConfig, synthesize
    from model.training.synthetic.clips import ClipOptions
    from model.training.synthetic.filming import Boxes
    from model.training.synthetic.performance import Leaks

    leaks = Leaks(options.chin_leak, options.upper_face_leak)
    config = SynthesisConfig(
        clips=options.clips,
        heldout_clips=options.clips // 10 if options.heldout_clips is None else options.heldout_clips,
        seed=options.seed,
        clip=ClipOptions(options.frames, options.size, Boxes(options.boxes), leaks),
        audio_encoder=_audio_encoder(options),
    )
    synthesize(options.folder, config, processes=options.processes, on_clip=_say_clips)


def _prepare(options: argparse.Namespace) -> None:
    from model.training.config import read_config
    from model.training.prepare import REPORT_FILE, PrepareConfig, Tools, prepare

    config = PrepareConfig() if options.config is None else read_config(options.config, PrepareConfig)
    tools = Tools(options.yunet, _audio_encoder(options))
    report = prepare(options.source, options.folder, config, tools, processes=options.processes, on_video=_say_video)
    kept = sum(len(video.kept) for video in report.videos.values())
    left_out = ", ".join(f"{count} {reason}" for reason, count in report.reasons().most_common()) or "nothing"
    sys.stdout.write(f"{len(report.videos)} files, {kept} clips; left out: {left_out}. See {REPORT_FILE}.\n")


def _say_clips(done: int, total: int) -> None:
    end = "\n" if done == total else "\r"
    sys.stderr.write(f"{done} of {total} clips{end}")
    sys.stderr.flush()


def _say_video(name: str, video: "VideoReport") -> None:
    reasons = "; ".join(f"{drop.reason} ({drop.detail})" for drop in video.dropped)
    sys.stdout.write(f"{name}: {len(video.kept)} clips{'; left out: ' if reasons else ''}{reasons}\n")
    sys.stdout.flush()
