"""A real clip (HEVC, 1080x1920, 25 fps) and a real voice of 9.6 s, where this machine has them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from model.faces.detector import FaceDetector, make_detector
from model.media.reader import VideoReader, read_frames
from model.pipeline import Pipeline
from model.plan import DubOptions, DubPlan, MediaLimits
from model.weights import load_model
from tests.mouths import planes, untouched

pytestmark = pytest.mark.e2e

QUICK = DubOptions(num_inference_steps=1, guidance_scale=1.0)
COMMAND = (sys.executable, "-m", "cli", "dub")
QUICK_COMMAND = ("--steps", "1", "--guidance", "1")
ROOT = Path(__file__).parents[2]


def pipeline_with(detector: FaceDetector) -> Pipeline:
    return Pipeline(load_model("tiny", device=torch.device("cpu"), dtype=torch.float32), detector)


def test_the_command_dubs_every_frame_and_leaves_the_rest_of_the_picture(
    real_media_dir: Path, yunet_path: Path, tmp_path: Path
) -> None:
    # Given the real clip
    video, voice, out = real_media_dir / "speaker.mp4", real_media_dir / "voice.wav", tmp_path / "dubbed.mp4"
    # When `highsync dub` dubs it, with YuNet
    command = [*COMMAND, video, voice, out, *QUICK_COMMAND, "--yunet", yunet_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    # Then it says so, and outside the mouths of each of the voice's 240 frames nothing but the encode is seen
    assert done.returncode == 0, done.stderr
    assert "1080x1920, 240 frames, 9.60 s; 240 synced, 0 passed through" in done.stdout
    plan = pipeline_with(make_detector(yunet_path)).analyse(video, voice, QUICK, MediaLimits())
    assert lowest_psnr_outside(plan, out) >= 40.0


def test_the_library_does_the_same_with_dlib(real_media_dir: Path, tmp_path: Path) -> None:
    # Given the real clip, and the detector that needs no file
    video, voice, out = real_media_dir / "speaker.mp4", real_media_dir / "voice.wav", tmp_path / "out.mp4"
    pipeline = pipeline_with(make_detector(None))
    # When it is dubbed step by step
    plan = pipeline.analyse(video, voice, QUICK, MediaLimits())
    paths = {segment.index: tmp_path / f"{segment.index}.mkv" for segment in plan.segments}
    for segment in plan.segments:
        pipeline.render_segment(plan, segment, paths[segment.index])
    report = pipeline.compose(plan, paths, out)
    # Then a face was found in each of the voice's 240 frames
    assert (report.frames, report.frames_synced, report.width, report.height) == (240, 240, 1080, 1920)
    assert lowest_psnr_outside(plan, out) >= 40.0


def lowest_psnr_outside(plan: DubPlan, result: Path) -> float:
    """The lowest PSNR in dB of any plane of any frame, over the samples outside the generated mouths."""
    boxes = {segment.first + i: box for segment in plan.segments for i, box in enumerate(segment.boxes)}
    sources = read_frames(plan.video_path, plan.source_frames)
    worst = np.inf
    for index, (source, dubbed) in enumerate(zip(sources, VideoReader(result).frames(), strict=True)):
        before, after = planes(source.planes), planes(dubbed.planes)
        for name, outside in untouched(source.planes, boxes[index]).items():
            squared = (before[name].astype(np.float32) - after[name])[outside] ** 2
            worst = min(worst, 10 * np.log10(255**2 / float(squared.mean())))
    return worst
