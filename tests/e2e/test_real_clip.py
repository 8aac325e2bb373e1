"""A real clip (HEVC, 1080x1920, 25 fps) and a real voice of 9.6 s, where this machine has them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model.faces.detector import make_detector
from model.media.reader import VideoReader, read_frames
from model.pipeline import Pipeline
from model.plan import DubOptions, DubPlan, MediaLimits
from model.weights import load_model

pytestmark = pytest.mark.e2e

QUICK = DubOptions(num_inference_steps=1, guidance_scale=1.0)


@pytest.mark.parametrize("detector", ["yunet", "dlib"])
def test_every_frame_is_dubbed_and_the_rest_of_the_picture_stays(
    detector: str, real_media_dir: Path, yunet_path: Path, tmp_path: Path
) -> None:
    # Given the real clip, and a detector
    video, voice, out = real_media_dir / "speaker.mp4", real_media_dir / "voice.wav", tmp_path / "out.mp4"
    model = load_model("tiny", device=torch.device("cpu"), dtype=torch.float32)
    pipeline = Pipeline(model, make_detector(yunet_path if detector == "yunet" else None))
    # When it is dubbed
    plan = pipeline.analyse(video, voice, QUICK, MediaLimits())
    paths = {segment.index: tmp_path / f"{segment.index}.mkv" for segment in plan.segments}
    for segment in plan.segments:
        pipeline.render_segment(plan, segment, paths[segment.index])
    report = pipeline.compose(plan, paths, out)
    # Then a face was found in each of the voice's 240 frames, and outside the boxes nothing but the encode is seen
    assert (report.frames, report.frames_synced, report.width, report.height) == (240, 240, 1080, 1920)
    assert lowest_psnr_outside(plan, out) >= 40.0


def lowest_psnr_outside(plan: DubPlan, result: Path) -> float:
    """The lowest luma PSNR in dB of any frame, over the samples outside the face boxes."""
    boxes = {segment.first + i: box for segment in plan.segments for i, box in enumerate(segment.boxes)}
    sources = read_frames(plan.video_path, plan.source_frames)
    worst = np.inf
    for index, (source, dubbed) in enumerate(zip(sources, VideoReader(result).frames(), strict=True)):
        x0, y0, x1, y1 = boxes[index]
        squared = (source.planes.y.astype(np.float32) - dubbed.planes.y) ** 2
        squared[y0:y1, x0:x1] = np.nan
        worst = min(worst, 10 * np.log10(255**2 / float(np.nanmean(squared))))
    return worst
