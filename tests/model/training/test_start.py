"""Where networks come from."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from model.errors import WeightsError
from model.networks.config import UNetConfig
from model.training.config import StartConfig
from model.training.errors import ConfigError
from model.training.shards import DatasetInfo, read_info
from model.training.start import Start, prepare_start
from tests.model.training.clips import AUDIO_SHAPE
from tests.model.training.runs import UNET, VAE, make_inputs

HEARING = ("attn2.to_k", "attn2.to_v")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def info(inputs: Path) -> DatasetInfo:
    return read_info(inputs / "data")


@pytest.fixture(scope="module")
def stable_diffusion(inputs: Path) -> dict[str, Tensor]:
    """A small one of its layout in the folder `sd`; here are its weights."""
    folder = inputs / "sd"
    unet = UNet2DConditionModel(
        block_out_channels=(8, 8, 8, 8), attention_head_dim=2, norm_num_groups=4, cross_attention_dim=12
    )
    unet.save_pretrained(folder / "unet")
    (folder / "vae").symlink_to(inputs / "vae")
    weights: dict[str, Tensor] = unet.state_dict()
    return weights


def start(inputs: Path, info: DatasetInfo, config: StartConfig, seed: int = 0) -> Start:
    return prepare_start(config, inputs / "data", info, seed)


def test_stable_diffusion_is_in_all_that_is_not_new(
    inputs: Path, info: DatasetInfo, stable_diffusion: dict[str, Tensor]
) -> None:
    begun = start(inputs, info, StartConfig(stable_diffusion=inputs / "sd"))

    denoiser, reference = (
        network.state_dict() for network in (begun.networks.denoising_unet, begun.networks.reference_unet)
    )
    new = {
        key for key in denoiser if key not in stable_diffusion or not torch.equal(denoiser[key], stable_diffusion[key])
    }
    assert all("motion_modules" in key or any(part in key for part in HEARING) for key in new)
    assert all(torch.equal(tensor, stable_diffusion[key]) for key, tensor in reference.items())
    assert begun.config.unet == UNetConfig((8, 8, 8, 8), attention_heads=2, norm_groups=4, audio_width=AUDIO_SHAPE[1])
    assert begun.config.vae == VAE


def test_networks_from_nothing_are_the_same_for_the_same_seed(inputs: Path, info: DatasetInfo) -> None:
    config = StartConfig(unet=UNET, vae=inputs / "vae")
    one, same, other = (start(inputs, info, config, seed).networks.denoising_unet for seed in (1, 1, 2))

    assert torch.equal(one.conv_in.weight, same.conv_in.weight)
    assert not torch.equal(one.conv_in.weight, other.conv_in.weight)


def test_nothing_learns_until_a_stage_says_so(inputs: Path, info: DatasetInfo) -> None:
    networks = start(inputs, info, StartConfig(unet=UNET, vae=inputs / "vae")).networks

    modules: tuple[nn.Module, ...] = (networks.denoising_unet, networks.reference_unet, networks.audio_encoder)
    assert not any(parameter.requires_grad for module in modules for parameter in module.parameters())


def test_networks_that_hear_other_tokens_than_the_dataset_has_are_refused(inputs: Path, info: DatasetInfo) -> None:
    config = StartConfig(unet=replace(UNET, audio_width=384), vae=inputs / "vae")

    with pytest.raises(ConfigError, match="tokens of 384, the dataset's are 8"):
        start(inputs, info, config)


def test_a_folder_without_stable_diffusion_is_named(inputs: Path, info: DatasetInfo) -> None:
    with pytest.raises(WeightsError, match=r"vae/unet/config\.json"):
        start(inputs, info, StartConfig(stable_diffusion=inputs / "vae"))
