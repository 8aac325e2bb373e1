"""`highsync probe`: what is in a video, as a person or a program wants to read it."""

from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

from pydantic import TypeAdapter
from rich.table import Table

from cli.console import err, out
from cli.reporting import reporting_errors
from model.plan import Box, DubOptions, MediaLimits, VideoFacts
from model.preflight import PreflightWarning, SeenFace

PUBLISHED_CROP_SIZE = 512
"""px; what the networks of the published size generate."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A run [first, stop) of source frames, and the box of its face in the middle of where it is seen; px."""

    first: int
    stop: int
    frames_with_face: int
    face_box: Box | None


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """Media facts, shots and faces of a video. `frames` are those that were really decoded.

    faces: whom `dub --face` can name. warnings: what may go wrong with a dub.
    """

    video: VideoFacts
    frames: int
    frames_with_face: int
    shots: tuple[Shot, ...]
    faces: tuple[SeenFace, ...]
    warnings: tuple[PreflightWarning, ...]


def run_probe(video: Path, *, yunet: Path | None, as_json: bool) -> int:
    """Look and print; the exit code. A video without a face is a finding here, not an error."""
    return reporting_errors(lambda: _probe(video, yunet=yunet, as_json=as_json))


def _probe(video: Path, *, yunet: Path | None, as_json: bool) -> None:
    with err.status("looking at every frame"):
        report = look(video, yunet)
    if as_json:
        print(TypeAdapter(ProbeReport).dump_json(report, indent=2).decode())  # noqa: T201  for programs: no layout
    else:
        out.print(_facts_table(report), _shots_table(report), _faces_table(report))
        for warning in report.warnings:
            out.print(f"{warning.code.value}: {warning.message} {' '.join(warning.faces)}")


def look(video: Path, yunet: Path | None) -> ProbeReport:
    """Decode the video once and find its shots and faces. Raises the MediaErrors of `probe_video`."""
    from model.faces.detector import make_detector
    from model.preflight import preflight
    from model.survey import survey

    found = survey(video, None, DubOptions(), MediaLimits(), make_detector(yunet))
    report = preflight(found, PUBLISHED_CROP_SIZE)
    shots = tuple(_shot(first, stop, found.faces.auto[first:stop].tolist()) for first, stop in found.faces.shots)
    return ProbeReport(report.video, report.frames, report.frames_with_face, shots, report.faces, report.warnings)


def _shot(first: int, stop: int, boxes: list[list[int]]) -> Shot:
    seen = [box for box in boxes if any(box)]
    x0, y0, x1, y1 = seen[len(seen) // 2] if seen else (0, 0, 0, 0)
    return Shot(first, stop, len(seen), (x0, y0, x1, y1) if seen else None)


def _facts_table(report: ProbeReport) -> Table:
    table = Table(show_header=False, title="Video")
    for name, value in asdict(report.video).items():
        table.add_row(name, f"{float(value):g} ({value})" if isinstance(value, Fraction) else str(value))
    table.add_row("frames decoded", str(report.frames))
    table.add_row("frames with a face", str(report.frames_with_face))
    return table


def _shots_table(report: ProbeReport) -> Table:
    table = Table("shot", "frames", "with a face", "face box (x0, y0, x1, y1)", title="Shots")
    for number, shot in enumerate(report.shots, start=1):
        table.add_row(str(number), f"{shot.first}..{shot.stop - 1}", str(shot.frames_with_face), str(shot.face_box))
    return table


def _faces_table(report: ProbeReport) -> Table:
    table = Table("face", "frames of its shot", "width, height px", title="Faces")
    for face in report.faces:
        share = f"{face.frames} of {face.stop - face.first}"
        table.add_row(face.id, share, f"{face.width:.0f} x {face.height:.0f}")
    return table
