"""The command `python -m model.parity DIR [--salt TEXT] [--only GROUP ...] [--device DEVICE]`.

It prints a header and one line per check; the exit code is 1 when any of them failed. On two CPU cores all of it takes
ten minutes, nearly all of them in `step`, `loop` and `clip`.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic

import torch

from model.parity.audio import check_audio, check_audio_indices
from model.parity.checks import DIFFERENT, EXACT, Check
from model.parity.networks import check_denoise_step, check_manifests, check_motion_module, check_reference_bank
from model.parity.pictures import check_boxes, check_clip, check_crop_and_paste
from model.parity.rules import Goldens
from model.parity.sampling import check_denoise_loop, check_scheduler, check_seed_noise, check_windows

GROUPS: dict[str, Callable[[Goldens], Iterator[Check]]] = {
    "manifests": check_manifests,
    "scheduler": check_scheduler,
    "noise": check_seed_noise,
    "windows": check_windows,
    "boxes": check_boxes,
    "paste": check_crop_and_paste,
    "audio-indices": check_audio_indices,
    "audio": check_audio,
    "motion": check_motion_module,
    "bank": check_reference_bank,
    "step": check_denoise_step,
    "loop": check_denoise_loop,
    "clip": check_clip,
}
"""What can be checked, quick groups first."""


def run_group(name: str, goldens: Goldens) -> Iterator[Check]:
    """The checks of one group. A golden file that is missing or of another form is a failed check, not an end."""
    try:
        with torch.inference_mode():
            yield from GROUPS[name](goldens)
    except (OSError, KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        yield Check(f"{type(error).__name__}: {error}", DIFFERENT, EXACT)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks and print them. Returns the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m model.parity", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of published numbers")
    parser.add_argument("--salt", default="", help="the salt these numbers were made with")
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), default=list(GROUPS), metavar="GROUP")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    options = parser.parse_args(arguments)
    goldens = Goldens(options.folder, options.salt, options.device)
    torch.backends.cudnn.allow_tf32 = False  # its 10-bit products are further off than any tolerance here
    started, checks = monotonic(), []
    _say(f"{'':4} {'error':>9} {'allowed':>8}  group: check")
    for name in options.only:
        for check in run_group(name, goldens):
            checks.append(check)
            _say(
                f"{'ok  ' if check.passed else 'FAIL'} {check.error:9.1e} {check.tolerance:8.0e}  {name}: {check.name}"
            )
    failed = sum(not check.passed for check in checks)
    _say(f"{len(checks)} checks, {failed} failed, {monotonic() - started:.0f} s")
    return 1 if failed else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
