"""Training from the command line: python -m model.training COMMAND (docs/training.md).

A training that was interrupted goes on where it was when the same command is given again. On several GPUs:
`accelerate launch --multi_gpu -m model.training stage1 CONFIG.toml`.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from model.errors import ModelError
from model.training.config import Stage1Config, Stage2Config, VaeTrainingConfig, read_config
from model.training.errors import TrainingError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m model.training", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_stages(commands)
    _add_synthesize(commands)
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except (TrainingError, ModelError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _add_stages(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    for name, run, about in (
        ("vae", _vae, "train a small VAE, where there is none to start from"),
        ("stage1", _stage_1, "train both UNets on single frames"),
        ("stage2", _stage_2, "train motion and audio attention on clips of 12 frames"),
    ):
        parser = commands.add_parser(name, help=about)
        parser.add_argument("config", type=Path, metavar="CONFIG.toml")
        parser.set_defaults(run=run)


def _vae(options: argparse.Namespace) -> None:
    from model.training.stages import vae

    vae(read_config(options.config, VaeTrainingConfig)).train()


def _stage_1(options: argparse.Namespace) -> None:
    from model.training.stages import stage_1

    stage_1(read_config(options.config, Stage1Config)).train()


def _stage_2(options: argparse.Namespace) -> None:
    from model.training.stages import stage_2

    stage_2(read_config(options.config, Stage2Config)).train()


def _add_synthesize(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
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
    parser.add_argument("--audio-encoder", type=Path, metavar="PATH", help="whisper_tiny.pt; default: an untrained one")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.set_defaults(run=_synthesize)


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
        audio_encoder=options.audio_encoder,
    )
    synthesize(options.folder, config, processes=options.processes, on_clip=_say)


def _say(done: int, total: int) -> None:
    end = "\n" if done == total else "\r"
    sys.stderr.write(f"{done} of {total} clips{end}")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
