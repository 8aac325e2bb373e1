"""
A real worker, of which the GPU part alone is a stub: `python -m tests.stub_worker`.

Fetching, decoding, planning, checkpoints, composing, encoding and publishing are the product's own, on real files. The
face detector is a stub that sees one face in the middle of each picture, and the networks are one that paints mouths
grey and takes its time over it. So a fault can be caused at every stage of a job within seconds, without a GPU.

    STUB_SECONDS   how long the rendering of a segment takes
    STUB_FAULTS    a folder: a file in it, named after a stage, makes the next render that comes to this stage suffer
                   what the file says (a `Fault`); the file is gone then
    STUB_JOURNAL   a file to which every process appends when it begins to render a segment
"""

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.settings import Settings
from model.device import device_faults_translated
from model.faces.detector import Detection, Image
from model.media.segment_file import SegmentWriter
from model.pipeline import DubReport, Pipeline
from model.plan import DubPlan, Segment
from model.progress import OnProgress, Stage, StageProgress
from model.survey import Survey
from model.weights import load_model
from worker.__main__ import main

POISON_SEED = 666
"""A job with this seed kills every process that renders it."""

STEPS = 10


class Fault(StrEnum):
    """What can happen to a render in the middle of a stage."""

    KILL_CHILD = "kill_child"
    KILL_WORKER = "kill_worker"
    HANG = "hang"
    HANG_WITH_THE_LOCK = "hang_with_the_lock"
    CUDA_ERROR = "cuda_error"


class OneFaceDetector:
    """Sees one face in the middle of every picture."""

    stride = 4

    def detect(self, frame_rgb: Image) -> list[Detection]:
        height, width = frame_rgb.shape[:2]
        return [Detection(x=width / 4, y=height / 4, w=width / 2, h=height / 2, confidence=0.99)]


class StubPipeline(Pipeline):
    """The product's pipeline with the stubs in it, and with the faults that a test asks for."""

    def survey(self, *arguments: Any, on_progress: OnProgress, **options: Any) -> Survey:
        return super().survey(*arguments, on_progress=_with_faults(on_progress), **options)

    @device_faults_translated()
    def render_segment(self, plan: DubPlan, segment: Segment, out_path: Path, on_progress: OnProgress) -> None:
        tell = _with_faults(on_progress)
        _note(plan, segment)
        if plan.options.seed == POISON_SEED:
            _suffer(Fault.KILL_CHILD)
        for stage in (Stage.CROP_FACES, Stage.ENCODE_AUDIO, Stage.PLAN_WINDOWS):
            tell(StageProgress(stage, segment.frames, segment.frames))
        for step in range(STEPS + 1):
            tell(StageProgress(Stage.DENOISE, segment.frames * step // STEPS, segment.frames))
            time.sleep(float(os.environ.get("STUB_SECONDS", "0")) / STEPS)
        size = self.model.config.crop_size
        with SegmentWriter(out_path, segment.frames, size) as writer:
            for _ in range(segment.frames):
                writer.write(np.full((size, size, 3), 128, np.uint8))

    def compose(
        self, plan: DubPlan, segment_paths: Mapping[int, Path], out_path: Path, on_progress: OnProgress
    ) -> DubReport:
        return super().compose(plan, segment_paths, out_path, _with_faults(on_progress))


def load_stub(settings: Settings) -> Pipeline:
    """The smallest networks, which nobody asks, and the stubs in their place."""
    model = load_model("tiny", device=torch.device("cpu"), dtype=torch.float32)
    return StubPipeline(model, OneFaceDetector())


def _with_faults(on_progress: OnProgress) -> OnProgress:
    def tell(progress: StageProgress) -> None:
        on_progress(progress)
        order = Path(os.environ.get("STUB_FAULTS", "/nowhere")) / progress.stage
        try:
            word = order.read_text()
            order.unlink()  # by one process alone
        except FileNotFoundError:
            return
        _suffer(Fault(word))

    return tell


def _suffer(fault: Fault) -> None:
    match fault:
        case Fault.KILL_CHILD:
            os.kill(os.getpid(), signal.SIGKILL)
        case Fault.KILL_WORKER:
            os.killpg(os.getpgid(0), signal.SIGKILL)
        case Fault.HANG:
            signal.pause()
        case Fault.HANG_WITH_THE_LOCK:
            import ctypes

            ctypes.PyDLL(None).sleep(3600)  # a C function that keeps Python's lock: no thread of this process runs
        case Fault.CUDA_ERROR:
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")


def _note(plan: DubPlan, segment: Segment) -> None:
    """Leave a line in the journal. It is appended in one write, so that lines of several processes do not mix."""
    if journal := os.environ.get("STUB_JOURNAL"):
        job_id = plan.video_path.parent.name.rpartition("-")[0]  # the attempt's folder
        line = json.dumps({"job_id": job_id, "segment": segment.index, "time": time.time(), "pid": os.getpid()})
        with Path(journal).open("a") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main(load_stub))
