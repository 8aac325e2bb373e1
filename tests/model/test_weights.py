"""What a weights spec names."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from model.checkpoint import Checkpoint, Networks, save_folder
from model.errors import WeightsError
from model.weights import TINY_MODEL, HighSyncModel, load_model, random_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tiny() -> HighSyncModel:
    return load_model("tiny", device=CPU, dtype=torch.float32)


def parameters(model: HighSyncModel) -> list[torch.Tensor]:
    networks = (model.denoising_unet, model.reference_unet, model.vae, model.audio_encoder)
    return [parameter for network in networks for parameter in network.parameters()]


def test_tiny_says_that_it_has_learned_nothing(tiny: HighSyncModel) -> None:
    assert (tiny.weights.name, tiny.weights.trained) == ("tiny (untrained)", False)
    assert tiny.config.crop_size == 256


def test_tiny_is_the_same_every_time(tiny: HighSyncModel) -> None:
    torch.manual_seed(1)

    again = load_model("tiny", device=CPU, dtype=torch.float32)

    assert again.weights == tiny.weights
    assert all(torch.equal(*pair) for pair in zip(parameters(tiny), parameters(again), strict=True))


def test_loading_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    load_model("tiny", device=CPU, dtype=torch.float32)

    assert torch.equal(torch.rand(3), expected)


def test_another_seed_gives_other_weights(tiny: HighSyncModel) -> None:
    other = random_model(TINY_MODEL, name="other", seed=1, device=CPU, dtype=torch.float32)

    assert other.weights.sha256 != tiny.weights.sha256
    assert not torch.equal(other.denoising_unet.conv_in.weight, tiny.denoising_unet.conv_in.weight)


def test_audio_is_encoded_in_full_precision_whatever_the_rest_does() -> None:
    model = load_model("tiny", device=CPU, dtype=torch.bfloat16)

    assert model.denoising_unet.conv_in.weight.dtype == torch.bfloat16
    assert next(model.vae.parameters()).dtype == torch.bfloat16
    assert next(model.audio_encoder.parameters()).dtype == torch.float32


def test_untrained_networks_stay_in_range(tiny: HighSyncModel) -> None:
    noise = torch.randn(1, 4, 12, 32, 32, generator=torch.Generator().manual_seed(0))
    audio = torch.randn(1, 12, 50, 384, generator=torch.Generator().manual_seed(1))

    with torch.inference_mode():
        reference = tiny.reference_unet(noise[0].transpose(0, 1))
        velocity = tiny.denoising_unet(noise, 999, audio, reference)
        pixels = tiny.vae.decode(velocity[:, :, 0] / tiny.vae.config.scaling_factor).sample

    assert velocity.abs().max() < 10
    assert pixels.abs().max() < 10


def test_a_folder_is_loaded_by_its_path(tmp_path: Path, tiny: HighSyncModel) -> None:
    networks = Networks(tiny.denoising_unet, tiny.reference_unet, tiny.vae, tiny.audio_encoder)
    save_folder(Checkpoint(networks, tiny.config, name="mine", trained=True, sha256=""), tmp_path / "mine")

    model = load_model(str(tmp_path / "mine"), device=CPU, dtype=torch.float32)

    assert (model.weights.name, model.weights.trained) == ("mine", True)
    assert len(model.weights.sha256) == 64
    assert all(torch.equal(*pair) for pair in zip(parameters(tiny), parameters(model), strict=True))


def test_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"holds no weights: it lacks denoising_unet-500\.pth"):
        load_model(str(tmp_path), device=CPU, dtype=torch.float32)


@pytest.mark.parametrize("offline", ["0", "1"])
def test_a_hub_out_of_reach_is_a_weights_error(tmp_path: Path, offline: str) -> None:
    """In a process of its own: the Hub's library reads its settings when it is imported."""
    program = (
        "import torch; from model.errors import WeightsError; from model.weights import load_model\n"
        "try: load_model('hf://nobody/nothing', device=torch.device('cpu'), dtype=torch.float32)\n"
        "except WeightsError as error: raise SystemExit(str(error))"
    )
    settings = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": offline}

    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "hf://nobody/nothing cannot be downloaded" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("spec", ["hf://", "hf://a/b/c", "hf://owner/na me"])
def test_a_name_the_hub_cannot_have_is_a_weights_error(spec: str) -> None:
    with pytest.raises(WeightsError, match="cannot be downloaded"):
        load_model(spec, device=CPU, dtype=torch.float32)
