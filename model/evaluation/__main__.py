"""Scores a folder of results: python -m model.evaluation FOLDER (docs/evidence.md)."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from model.errors import ModelError
from model.evaluation.errors import EvaluationError
from model.evaluation.folder import MANIFEST, read_dubs, read_manifest
from model.evaluation.report import Report, Scored, summarise, to_markdown, write_report
from model.evaluation.scores import opening_of, score


def main(arguments: Sequence[str] | None = None) -> int:
    """Score a folder, write the report, print its table. Returns the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m model.evaluation", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help=f"holds {MANIFEST} and what it names")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="for the report (default: the same folder)")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        report = evaluate(options.folder, options.seed)
    except (EvaluationError, ModelError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    write_report(report, options.out or options.folder)
    sys.stdout.write(to_markdown(report))
    return 0


def evaluate(folder: Path, seed: int) -> Report:
    """Score every clip of a folder. Raises EvaluationError and the MediaErrors of its videos."""
    manifest = read_manifest(folder)
    clips = []
    for dub in read_dubs(folder, manifest):
        opening = opening_of(dub)
        clips.append(Scored(dub.name, score(dub, opening), opening, dub.asked))
        sys.stderr.write(f"{len(clips)} of {len(manifest.clips)} clips\n")
    return summarise(manifest.system, clips, seed)


if __name__ == "__main__":
    sys.exit(main())
