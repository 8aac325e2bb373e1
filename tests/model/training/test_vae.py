"""The VAE's training: it rebuilds what it was shown, and says how its latents are to be scaled."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import pytest
import torch

from model.checkpoint import VaeConfig, load_vae
from model.stages.denoise import crops_to_pixels
from model.training.config import OptimizerConfig, VaeObjectiveConfig, VaeTrainingConfig
from model.training.stages import vae
from model.training.trainer import Meter
from tests.model.training.clips import make_clip, make_dataset
from tests.model.training.runs import stage_1_config

SMALL = VaeConfig(channels=(8, 8, 8, 8), layers_per_block=1, norm_groups=2)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> VaeTrainingConfig:
    folder = tmp_path_factory.mktemp("inputs")
    make_dataset(folder / "data")
    run = stage_1_config(folder, folder / "vae", steps=8, save_every=100, sample_clips=1, ema_decay=0.5).run
    return VaeTrainingConfig(run, SMALL, OptimizerConfig(learning_rate=1e-2, warmup_steps=1))


@pytest.fixture(scope="module")
def trained(config: VaeTrainingConfig) -> Path:
    """The weights after a run, during which the error fell."""
    trainer = vae(replace(config, run=replace(config.run, steps=1)))
    trainer.train()
    first = trainer.last_figures["pixel_error"]
    trainer = vae(config)
    trainer.train()
    assert trainer.last_figures["pixel_error"] < 0.8 * first
    return config.run.output / "weights"


def test_its_latents_are_scaled_to_a_deviation_of_one(trained: Path) -> None:
    network, config = load_vae(trained, torch.float32)
    frames = torch.from_numpy(make_clip(0).frames[:2])

    latents = network.encode(crops_to_pixels(frames)).latent_dist.mean * config.scaling_factor  # type: ignore[attr-defined]

    assert config.channels == SMALL.channels
    assert config.scaling_factor != SMALL.scaling_factor
    assert 0.2 < float(latents.std()) < 3.0


def test_any_diffusers_program_can_read_it(trained: Path) -> None:
    assert json.loads((trained / "config.json").read_text())["_class_name"] == "AutoencoderKL"


def test_its_strips_show_frames_above_what_comes_back(config: VaeTrainingConfig, trained: Path) -> None:
    strip = cv2.imread(str(config.run.output / "strips" / "step-00000008-0.png"))

    assert strip is not None
    assert strip.shape == (512, 512, 3)


def second_loss(config: VaeTrainingConfig, weight: float, *, twice: bool) -> float:
    """The loss of the second step, which the gradients of the first have changed."""
    run = replace(config.run, gradient_checkpointing=twice, steps=2)
    trainer = vae(replace(config, run=run, objective=VaeObjectiveConfig(mouth_weight=weight)))
    batches, meter = trainer.batches(), Meter()
    trainer.take_step(batches, meter)
    return float(trainer.take_step(batches, meter)["loss"])


def test_the_mouth_counts_more_than_the_rest(config: VaeTrainingConfig, tmp_path: Path) -> None:
    elsewhere = replace(config, run=replace(config.run, output=tmp_path))

    assert second_loss(elsewhere, 3.0, twice=False) > 1.5 * second_loss(elsewhere, 0.0, twice=False)


def test_gradient_checkpointing_changes_nothing(config: VaeTrainingConfig, tmp_path: Path) -> None:
    elsewhere = replace(config, run=replace(config.run, output=tmp_path))

    assert second_loss(elsewhere, 1.0, twice=True) == second_loss(elsewhere, 1.0, twice=False)
