"""The published program's geometry, number for number. Goldens: tests/golden/crop_paste.*"""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from model.faces.detector import Detection
from model.faces.published import NO_BOX, blend_weights, largest_face, paste, published_segments
from model.stages.crop_faces import crop_faces

GOLDEN = Path(__file__).parents[2] / "golden" / "crop_paste"
NUMBERS = json.loads(GOLDEN.with_suffix(".json").read_text())


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    with np.load(GOLDEN.with_suffix(".npz")) as stored:
        return dict(stored)


def pattern(width: int, height: int, index: int) -> np.ndarray:
    """The goldens' test picture (H, W, 3) uint8 BGR."""
    phase = (zlib.crc32(b"input:frame_phase") % 1000) / 1000
    x, y, c = np.arange(width)[None, :, None], np.arange(height)[:, None, None], np.arange(3)
    waves = 80 * np.sin(2 * np.pi * ((c + 1) * x / width + phase + 0.05 * index))
    waves = waves + 40 * np.cos(2 * np.pi * (2 * y / height + c / 3))
    return np.clip(np.floor(127.5 + waves + 0.5), 0, 255).astype(np.uint8)


def segments_of(case: dict):
    faces = [largest_face([Detection(*found) for found in frame]) for frame in case["detections"]]
    return published_segments(faces, case["frame_w"], case["frame_h"])


@pytest.mark.parametrize("case", NUMBERS["cases"], ids=lambda case: case["name"])
def test_segments_and_boxes_equal_the_published(case):
    segments = segments_of(case)
    assert [[s.first, s.stop - 1] for s in segments] == case["segments"]
    assert [s.use_max_height for s in segments] == case["use_h"]
    assert [[list(box) for box in s.boxes] for s in segments] == case["final_boxes"]
    assert [s.is_generated for s in segments] == case["segment_is_generated"]


@pytest.mark.parametrize("case", NUMBERS["cases"], ids=lambda case: case["name"])
def test_frames_that_lost_their_face_are_fed_whole(case):
    width, height = case["frame_w"], case["frame_h"]
    boxes = [box for segment in segments_of(case) for box in segment.boxes]
    fed_whole = [[width, height] if box == NO_BOX else [512, 512] for box in boxes]
    assert fed_whole == case["image_size_before_resize"]


def test_no_segment_crosses_a_chunk_of_the_program():
    segments = published_segments([(100.0, 100.0, 80.0, 90.0)] * 3200, 640, 480)
    assert [(s.first, s.stop) for s in segments] == [(0, 1500), (1500, 3000), (3000, 3200)]


def test_a_video_without_frames_has_no_segments():
    assert published_segments([], 640, 480) == ()


@pytest.mark.parametrize("mask", NUMBERS["masks"], ids=lambda mask: mask["key"])
def test_blend_weights_equal_the_published(mask, arrays):
    x0, y0, x1, y1 = mask["box"]
    whole = np.ones((mask["h"], mask["w"]))
    whole[y0:y1, x0:x1] = blend_weights(x1 - x0, y1 - y0)
    assert np.abs(whole - arrays[mask["key"]]).max() <= 1e-12


@pytest.mark.parametrize("golden", NUMBERS["paste"], ids=lambda golden: golden["key"])
def test_a_pasted_frame_equals_the_published(golden, arrays):
    x0, y0, x1, y1 = golden["box"]
    frame = pattern(golden["frame_w"], golden["frame_h"], golden["frame_pattern_index"])
    generated = pattern(512, 512, golden["generated_pattern_index"])
    frame[y0:y1, x0:x1] = paste(frame[y0:y1, x0:x1], generated)
    assert (frame == arrays[golden["key"]]).all()


@pytest.mark.parametrize("index", [0, 1])
def test_the_crop_equals_the_published(index):
    golden = NUMBERS["crop_content"]
    frame_rgb = pattern(golden["frame_w"], golden["frame_h"], index)[..., ::-1]
    x0, y0, x1, y1 = golden["box"]
    (segment,) = published_segments([(x0, y0, x1 - x0, y1 - y0)], golden["frame_w"], golden["frame_h"])
    (box,) = segment.boxes
    assert list(box) == golden["final_box"]
    (crop,) = crop_faces([frame_rgb], [box], 512)
    tensor = (crop.transpose(2, 0, 1) / 255.0 - 0.5) / 0.5
    expected = golden["tensor"][index]
    positions = np.rint(np.linspace(0, tensor.size - 1, len(expected["samples"]))).astype(int)
    assert np.abs(tensor.ravel()[positions] - expected["samples"]).max() <= 1e-6
    assert tensor.mean() == pytest.approx(expected["mean"], abs=1e-6)
    assert tensor.std() == pytest.approx(expected["std"], abs=1e-6)
