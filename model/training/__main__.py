"""Training from the command line: python -m model.training COMMAND (docs/training.md).

A training that was interrupted goes on where it was when the same command is given again. On several GPUs:
`accelerate launch --multi_gpu -m model.training stage1 CONFIG.toml`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from model.errors import ModelError
from model.training.config import Stage1Config, Stage2Config, VaeTrainingConfig, read_config
from model.training.data_commands import add_data_commands
from model.training.errors import TrainingError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m model.training", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_stages(commands)
    add_data_commands(commands)
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


if __name__ == "__main__":
    sys.exit(main())
