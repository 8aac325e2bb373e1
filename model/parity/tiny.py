"""The model whose published results are on record: every network at its smallest, weights drawn by rule."""

from typing import cast

import torch
from torch import nn

from model.checkpoint import ModelConfig, VaeConfig
from model.networks.config import TINY
from model.parity.rules import Goldens
from model.weights import HighSyncModel, random_model

TINY_VAE = VaeConfig(channels=(32, 32, 32, 32), layers_per_block=1)


def tiny_model(goldens: Goldens) -> HighSyncModel:
    """The model in float32. Its audio encoder is left random: clips on record bring their audio features."""
    config = ModelConfig(unet=TINY, vae=TINY_VAE)
    model = random_model(config, name="parity", seed=0, device=goldens.device, dtype=torch.float32)
    for network in (model.vae, model.reference_unet, model.denoising_unet):
        goldens.fill(cast(nn.Module, network))  # diffusers hides from type checkers that its models are modules
    return model
