"""`highsync dub`: the model library on two files, without the service around it."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from cli.console import err, out
from cli.reporting import reporting_errors
from model.plan import AudioCodec, Container, DubOptions, FaceChoice, FacePoint, Output, Passage, VideoCodec
from model.progress import StageProgress

if TYPE_CHECKING:
    from model.pipeline import DubReport


_SEGMENT = re.compile(r"(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)(?:=(.+))?")
_POINT = re.compile(r"(\d+(?:\.\d+)?),(\d+(?:\.\d+)?)@(\d+(?:\.\d+)?)")


def parse_face(text: str) -> FaceChoice:
    """The face that a user of the terminal means: X,Y@SECONDS is a point, anything else a track id or `auto`."""
    if point := _POINT.fullmatch(text):
        x, y, seconds = map(float, point.groups())
        return FacePoint(x, y, seconds)
    return text


def parse_segment(text: str) -> Passage:
    """START-END or START-END=VOICE, in seconds. typer.BadParameter when it is neither, or VOICE is no file."""
    match = _SEGMENT.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not START-END or START-END=VOICE.")
    start, end, voice = match.groups()
    if voice is not None and not Path(voice).is_file():
        raise typer.BadParameter(f"{voice!r} is no file.")
    return Passage(float(start), float(end), None if voice is None else Path(voice))


def output_for(target: Path, *, codec: str, quality: int | None, audio_codec: str) -> Output:
    """How to write the target; its suffix names the container. ValueError when it cannot hold the codecs."""
    container = Container.MOV if target.suffix.lower() == ".mov" else Container.MP4
    return Output(container, VideoCodec(codec), quality, AudioCodec(audio_codec))


def run_dub(
    video: Path, audio: Path, target: Path, options: DubOptions, *, weights: str, yunet: Path | None, device: str
) -> int:
    """Dub with a progress bar; the exit code."""
    return reporting_errors(lambda: _dub(video, audio, target, options, weights=weights, yunet=yunet, device=device))


def _dub(
    video: Path, audio: Path, target: Path, options: DubOptions, *, weights: str, yunet: Path | None, device: str
) -> None:
    with err.status("loading the model"):
        from model.pipeline import load_pipeline
        from worker.model_host import choose_device, choose_dtype

        torch_device = choose_device(device)
        pipeline = load_pipeline(weights, torch_device, choose_dtype("auto", torch_device), yunet)
    columns = (TextColumn("{task.description:>12}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err) as bars:
        task = bars.add_task("start", total=None)

        def on_progress(progress: StageProgress) -> None:
            bars.update(
                task,
                description=progress.stage.value,
                completed=progress.frames_done,
                total=progress.frames_total or None,
            )

        report = pipeline.dub(video, audio, target, options, on_progress=on_progress)
    out.print(_summary(target, report))


def _summary(target: Path, report: "DubReport") -> str:
    return (
        f"{target}: {report.width}x{report.height}, {report.frames} frames, {report.duration_seconds:.2f} s; "
        f"{report.frames_synced} synced, {report.frames_passed_through} passed through; weights: {report.weights}"
    )
