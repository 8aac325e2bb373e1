"""Published numbers in the checkout itself: one layer of the denoising UNet, and every step of the sampling loop.

`model.parity` compares whole passes, which takes minutes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from model.networks import TINY, DenoisingUNet, ReferenceUNet
from model.parity.rules import Goldens
from model.schedule import DdimSchedule
from model.stages.denoise import keep_outside_mouth

RULES = Goldens(Path(__file__).parents[1] / "golden", salt="")
PUBLISHED: dict[str, Any] = RULES.json("denoising.json")
LAYER, LOOP = PUBLISHED["first_layer"], PUBLISHED["loop"]
SCALING_FACTOR = 0.18215


def first_layer(*, heard: bool) -> Tensor:
    """The first transformer's output (32, frames, 64, 64) for the frames on record: no motion module came before it.

    heard: with audio and reference, else the unconditional row
    """
    denoising_unet, reference_unet, frames = DenoisingUNet(TINY), ReferenceUNet(TINY), LAYER["frames"]
    RULES.fill(denoising_unet)
    RULES.fill(reference_unet)
    reference, audio = None, None
    if heard:
        reference = reference_unet(RULES.input("step_ref_latents", (12, 4, 64, 64))[frames]).down[0][0]
        audio = RULES.input("step_audio", (1, 12, 50, 384))[0, frames]
    latents = RULES.input("step_latents", (1, 4, 12, 64, 64))[0, :, frames].transpose(0, 1)
    block: Any = denoising_unet.down_blocks[0]
    time_embedding = denoising_unet.time_embedding(torch.tensor([LAYER["timestep"]]))
    hidden = block.resnets[0](denoising_unet.conv_in(latents), time_embedding)
    output: Tensor = block.attentions[0](hidden, audio, reference)
    return output.transpose(0, 1)


@pytest.mark.parametrize("heard", [True, False], ids=["conditional", "unconditional"])
def test_the_first_layer_of_the_denoising_unet_is_the_published_one(heard: bool) -> None:
    records = [record for record in LAYER["cfg"] if record[0][0] == int(heard)] + (LAYER["no_cfg"] if heard else [])
    with torch.inference_mode():
        output = first_layer(heard=heard)

    found = [float(output[channel, LAYER["frames"].index(frame), y, x]) for (_, channel, frame, y, x), _ in records]

    assert len(found) >= 6
    assert found == pytest.approx([number for _, number in records], abs=1e-4)


def spread(clip: Tensor) -> Tensor:
    """The 64 numbers of a clip whose published values are on record."""
    places = np.rint(np.linspace(0, clip.numel() - 1, 64)).astype(np.int64)
    return clip.flatten()[torch.from_numpy(places)]


def test_every_step_of_the_loop_leads_where_the_published_one_does() -> None:
    """Given the published velocities, at 64 places of the clip."""
    noise, clean = RULES.input("loop_noise", LOOP["shape"]), RULES.input("loop_gt_mean", LOOP["shape"], 5.0)
    clean = SCALING_FACTOR * clean
    schedule = DdimSchedule(len(LOOP["timesteps"]))
    assert list(schedule.timesteps) == LOOP["timesteps"]
    inside = spread(keep_outside_mouth(torch.ones(LOOP["shape"]), torch.zeros(LOOP["shape"]))).bool()
    assert 10 < inside.sum() < 60

    latents = spread(noise)
    for timestep, velocity, expected in zip(schedule.timesteps, LOOP["velocity"], LOOP["after_step"], strict=True):
        latents = schedule.step(torch.tensor(velocity), timestep, torch.where(inside, latents, spread(clean)))
        assert latents.tolist() == pytest.approx(expected, abs=2e-4)
    assert torch.where(inside, latents, spread(clean)).tolist() == pytest.approx(LOOP["final"], abs=2e-4)
