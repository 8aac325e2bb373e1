"""Checks in pixels: boxes, segments, crops and paste of the published program, and a clip from end to end."""

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from model.checkpoint import build_vae
from model.faces.detector import Detection
from model.faces.published import NO_BOX, blend_weights, largest_face, paste, published_segments
from model.parity.checks import EXACT, Check, array_error, equality_error, stats_error, worst
from model.parity.rules import Goldens
from model.parity.tiny import TINY_VAE, tiny_model
from model.plan import Box
from model.stages.crop_faces import crop_faces
from model.stages.denoise import (
    VAE_BATCH_FRAMES,
    Conditions,
    crops_to_pixels,
    decode_frame,
    denoising_steps,
    encode_crops,
    keep_outside_mouth,
    read_reference,
)
from model.stages.plan_windows import plan_windows

CROP_TOLERANCE = 1e-6
MASK_TOLERANCE = 1e-12
FRAMES_TOLERANCE = 2e-4
CROP_SIZE = 512

Picture = NDArray[np.uint8]


def check_boxes(goldens: Goldens) -> Iterator[Check]:
    """Segments and boxes of recorded detections."""
    for case in goldens.json("crop_paste.json")["cases"]:
        faces = [largest_face([Detection(**found) for found in frame]) for frame in case["detections"]]
        segments = published_segments(faces, case["frame_w"], case["frame_h"])
        frame_size = [case["frame_w"], case["frame_h"]]
        actual = {
            "segments": [[segment.first, segment.stop - 1] for segment in segments],
            "use_h": [segment.use_max_height for segment in segments],
            "final_boxes": [[list(box) for box in segment.boxes] for segment in segments],
            "segment_is_generated": [segment.is_generated for segment in segments],
            "image_size_before_resize": [
                frame_size if box == NO_BOX else [CROP_SIZE, CROP_SIZE] for segment in segments for box in segment.boxes
            ],
        }
        yield Check(f"boxes, {case['name']}", equality_error(actual, {key: case[key] for key in actual}), EXACT)


def check_crop_and_paste(goldens: Goldens) -> Iterator[Check]:
    """What the crop holds, the blend masks, and pasted pictures."""
    golden, arrays = goldens.json("crop_paste.json"), goldens.arrays("crop_paste.npz")
    phase = goldens.phase("frame_phase")
    content = golden["crop_content"]
    width, height = content["frame_w"], content["frame_h"]
    frames = [_bgr_to_rgb(_frame_pattern(width, height, index, phase)) for index in range(len(content["tensor"]))]
    x, y, w, h = _box_as_detection(content["box"])
    boxes = published_segments([(x, y, w, h)] * len(frames), width, height)[0].boxes
    yield Check("crop, box", equality_error(list(boxes[0]), content["final_box"]), EXACT)
    crops = crops_to_pixels(torch.from_numpy(crop_faces(frames, boxes, CROP_SIZE)))
    for index, record in enumerate(content["tensor"]):
        yield Check(f"crop, frame {index}", stats_error(crops[index : index + 1][0], record), CROP_TOLERANCE)

    for record in golden["masks"]:
        mask = _mask(record["w"], record["h"], tuple(record["box"]))
        yield Check(f"paste, {record['key']}", array_error(mask, arrays[record["key"]]), MASK_TOLERANCE)
    for record in golden["paste"]:
        pasted = _paste(record, phase)
        yield Check(f"paste, {record['key']}", array_error(pasted, arrays[record["key"]]), EXACT)


def _box_as_detection(box: list[int]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box
    return (x0, y0, x1 - x0, y1 - y0)


def _mask(width: int, height: int, box: Box) -> NDArray[np.float64]:
    x0, y0, x1, y1 = box
    mask = np.ones((height, width))
    mask[y0:y1, x0:x1] = blend_weights(x1 - x0, y1 - y0)
    return mask


def _paste(record: dict[str, Any], phase: float) -> Picture:
    """The frame with the generated picture pasted, BGR as on record."""
    x0, y0, x1, y1 = record["box"]
    frame = _frame_pattern(record["frame_w"], record["frame_h"], record["frame_pattern_index"], phase)
    generated = _frame_pattern(CROP_SIZE, CROP_SIZE, record["generated_pattern_index"], phase)
    frame[y0:y1, x0:x1] = paste(frame[y0:y1, x0:x1], generated)
    return frame


def _frame_pattern(width: int, height: int, index: int, phase: float) -> Picture:
    """A smooth picture (h, w, 3) by formula, BGR."""
    turn = 2 * np.pi
    y, x, c = np.ogrid[:height, :width, :3]
    across = 80 * np.sin(turn * ((c + 1) * x / width + phase + 0.05 * index))
    down = 40 * np.cos(turn * (2 * y / height + c / 3))
    return np.asarray(np.clip(np.floor(127.5 + across + down + 0.5), 0, 255).astype(np.uint8))


def _bgr_to_rgb(picture: Picture) -> Picture:
    return np.ascontiguousarray(picture[..., ::-1])


def check_clip(goldens: Goldens) -> Iterator[Check]:
    """A short clip from pixels to pixels."""
    golden, arrays = goldens.json("pipeline_frames.json"), goldens.arrays("pipeline_frames.npz")
    vae = cast(nn.Module, build_vae(TINY_VAE))
    shapes = {key: list(tensor.shape) for key, tensor in vae.state_dict().items()}
    yield Check("clip, VAE keys", equality_error(shapes, dict(golden["vae_state_dict"])), EXACT)
    num_frames, phase = golden["num_frames"], goldens.phase("frames_phase")
    crops = np.stack([_clip_frame(frame, phase) for frame in range(num_frames)])
    yield worst("clip, given frames", map(stats_error, crops, golden["pixel_frame_stats"]), CROP_TOLERANCE)
    pixels = crops_to_pixels(torch.from_numpy(crops))
    yield Check("clip, pixels", stats_error(pixels, golden["pixel_tensor"]), CROP_TOLERANCE)
    normal = golden["value_range"]["normal"]
    expected_range = [normal["tensor_reaching_vae_encode_min"], normal["tensor_reaching_vae_encode_max"]]
    yield Check("clip, value range", array_error(torch.stack(pixels.aminmax()), expected_range), CROP_TOLERANCE)
    yield from _check_bright_clip(golden["value_range"])
    batches = [len(batch) for batch in torch.split(pixels, VAE_BATCH_FRAMES)]
    yield Check("clip, VAE batches", equality_error(batches, golden["vae_encode_batches"]), EXACT)
    yield from _check_rendered_clip(goldens, golden, arrays, torch.from_numpy(crops))


def _check_bright_clip(golden: dict[str, Any]) -> Iterator[Check]:
    """A clip without a dark pixel: what the published program makes of it before it normalises a second time."""
    bright = golden["all_pixels_at_least_128"]
    levels = torch.tensor([bright["uint8_min"], bright["uint8_max"]], dtype=torch.uint8)
    pixels = crops_to_pixels(levels.reshape(1, 1, 2, 1)).flatten()
    once = [bright["tensor_before_min"], bright["tensor_before_max"]]
    yield Check("clip, bright pixels, normalised once", array_error(pixels, once), CROP_TOLERANCE)
    twice = [bright["tensor_reaching_vae_encode_min"], bright["tensor_reaching_vae_encode_max"]]
    name = "clip, bright pixels, the second normalisation differs on purpose (ADR 3)"
    yield Check(name, array_error(2 * pixels - 1, twice), CROP_TOLERANCE)


def _check_rendered_clip(goldens: Goldens, golden: dict[str, Any], arrays: Any, crops: torch.Tensor) -> Iterator[Check]:
    model = tiny_model(goldens)
    clean_latents = encode_crops(model, crops, lambda: None)
    frame_latents = clean_latents[0].transpose(0, 1)
    mean = frame_latents / model.config.vae.scaling_factor
    yield Check("clip, VAE mean", stats_error(mean, golden["vae_mean"]), FRAMES_TOLERANCE)
    yield Check("clip, clean latents", stats_error(frame_latents, golden["gt_latents"]), FRAMES_TOLERANCE)

    num_frames = len(crops)
    noise = goldens.input("frames_noise", clean_latents.shape)
    audio = goldens.input("frames_audio", (1, num_frames, 50, 384))
    reference = read_reference(model, clean_latents, lambda: None)
    conditions = Conditions(clean_latents, audio, reference, golden["guidance"])
    windows = plan_windows(num_frames, golden["steps"])
    steps = list(denoising_steps(model, noise, conditions, windows, lambda done, total: None))
    yield Check("clip, timesteps", equality_error([step.timestep for step in steps], golden["timesteps"]), EXACT)
    velocities = map(stats_error, (step.velocity for step in steps), golden["guided_prediction"])
    yield worst("clip, velocities", velocities, FRAMES_TOLERANCE)
    stepped = map(stats_error, (step.latents for step in steps), golden["after_step"])
    yield worst("clip, after each step", stepped, FRAMES_TOLERANCE)

    latents = keep_outside_mouth(steps[-1].latents, clean_latents)
    yield Check("clip, finished latents", stats_error(latents, golden["final_latents"]), FRAMES_TOLERANCE)
    shown = golden["thumbnails"]
    complete = arrays["final_latents_frames_0_6_13"]
    yield Check(f"clip, latents of frames {shown}", array_error(latents[0, :, shown], complete), FRAMES_TOLERANCE)
    frames = [decode_frame(model, frame).permute(2, 0, 1) for frame in torch.split(latents[0].transpose(0, 1), 1)]
    yield worst("clip, frames", map(stats_error, frames, golden["frames"]), FRAMES_TOLERANCE)
    thumbnails = torch.nn.functional.avg_pool2d(torch.stack([frames[frame] for frame in shown]), 8)
    yield Check("clip, thumbnails", array_error(thumbnails, arrays["thumbnails"]), FRAMES_TOLERANCE)


def _clip_frame(frame: int, phase: float) -> Picture:
    """One frame (512, 512, 3) of the clip by formula, RGB."""
    turn = 2 * np.pi
    y, x, c = np.ogrid[:CROP_SIZE, :CROP_SIZE, :3]
    across = 70 * np.sin(turn * (x * (c + 1) / CROP_SIZE + frame / 14 + phase))
    down = 40 * np.cos(turn * (2 * y / CROP_SIZE + c / 3 + frame / 28))
    return np.asarray(np.clip(np.floor(127.5 + across + down + 0.5), 0, 255).astype(np.uint8))
