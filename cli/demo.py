"""`highsync demo`: the whole service, shown with a clip made on the spot."""

import tempfile
import time
from pathlib import Path

from cli.console import CommandFailed, out
from cli.embedded_stack import EmbeddedStack
from cli.job_bar import JobBar
from cli.reporting import reporting_errors
from client import HighSync

JOB_TIMEOUT_S = 1800.0
UNTRAINED = "tiny"


def run_demo(folder: Path, *, steps: int) -> int:
    """Dub the sample clip through the API and leave `dubbed.mp4` and `side_by_side.mp4`; the exit code."""
    return reporting_errors(lambda: _demo(folder, steps))


def _demo(folder: Path, steps: int) -> None:
    from cli.sample_clip import SpeechSynthesizerMissing, make_sample_clip
    from model.media.side_by_side import side_by_side

    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    dubbed, compared = folder / "dubbed.mp4", folder / "side_by_side.mp4"
    out.print("1/4  making the sample clip: an astronaut's portrait (NASA, public domain), and a new voice for it")
    try:
        clip = make_sample_clip(folder)
    except SpeechSynthesizerMissing as error:
        raise CommandFailed(str(error)) from error
    out.print("2/4  starting Redis, the API and one worker on this machine")
    with tempfile.TemporaryDirectory(prefix="highsync-demo-") as data, _stack(Path(data)) as stack:
        out.print(f"3/4  dubbing it through {stack.url}/jobs, {steps} denoising steps")
        with HighSync(stack.url) as service, JobBar(out) as bar:
            job = service.dub(
                clip.video,
                clip.voice,
                dubbed,
                on_change=bar.show,
                timeout_s=JOB_TIMEOUT_S,
                num_inference_steps=steps,
            )
    out.print("4/4  putting source and dub side by side")
    side_by_side(clip.video, dubbed, compared)
    out.print(f"\nDone in {time.monotonic() - started:.0f} s:\n  {dubbed}\n  {compared}")
    if job.result is not None and job.result.weights.startswith(UNTRAINED):
        out.print(
            f"The weights are '{job.result.weights}': UNTRAINED. They show that everything works, not how it looks."
        )


def _stack(data: Path) -> EmbeddedStack:
    """A stack with its own storage, whatever the environment says."""
    return EmbeddedStack(data, settings={"HIGHSYNC_STORAGE_URL": (data / "storage").as_uri()})
