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
from tests.model.hub import COMMIT, REPOSITORY, hub_of

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tiny() -> HighSyncModel:
    return load_model("tiny", device=CPU, dtype=torch.float32)


@pytest.fixture(scope="module")
def own_folder(tmp_path_factory: pytest.TempPathFactory, tiny: HighSyncModel) -> Path:
    """The tiny model as a folder in our own layout."""
    folder = tmp_path_factory.mktemp("weights") / "mine"
    networks = Networks(tiny.denoising_unet, tiny.reference_unet, tiny.vae, tiny.audio_encoder)
    save_folder(Checkpoint(networks, tiny.config, name="mine", trained=True, sha256=""), folder)
    return folder


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


def test_a_folder_is_loaded_by_its_path(own_folder: Path, tiny: HighSyncModel) -> None:
    model = load_model(str(own_folder), device=CPU, dtype=torch.float32)

    assert (model.weights.name, model.weights.trained) == ("mine", True)
    assert len(model.weights.sha256) == 64
    assert all(torch.equal(*pair) for pair in zip(parameters(tiny), parameters(model), strict=True))


def test_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"holds no weights: it lacks denoising_unet-500\.pth"):
        load_model(str(tmp_path), device=CPU, dtype=torch.float32)


HUB_LOAD = """
import sys, torch
from model.errors import WeightsError
from model.weights import load_model
try:
    print(load_model(sys.argv[1], device=torch.device("cpu"), dtype=torch.float32).weights)
except WeightsError as error:
    raise SystemExit(str(error))
"""
HUB_DOWNLOAD = """
import sys
from model.weights import weights_folder
folder = weights_folder(sys.argv[1])
print(*sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()))
"""


def ask_hub(
    program: str, spec: str, home: Path, *, address: str = "http://127.0.0.1:9", offline: str = "0"
) -> subprocess.CompletedProcess[str]:
    """Run in a process of its own: the Hub's library reads its settings when it is imported."""
    settings = {"HF_HOME": str(home), "HF_ENDPOINT": address, "HF_HUB_OFFLINE": offline}
    command = [sys.executable, "-c", program, spec]
    return subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("offline", ["0", "1"])
def test_a_hub_out_of_reach_is_a_weights_error(tmp_path: Path, offline: str) -> None:
    done = ask_hub(HUB_LOAD, "hf://nobody/nothing", tmp_path, offline=offline)

    assert done.returncode == 1
    assert "hf://nobody/nothing cannot be downloaded" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_was_downloaded_once_is_read_without_the_hub(tmp_path: Path, own_folder: Path) -> None:
    spec, home = f"hf://{REPOSITORY}", tmp_path / "home"
    # Given a repository that was loaded while its Hub was there
    with hub_of(own_folder) as address:
        first = ask_hub(HUB_LOAD, spec, home, address=address)
    assert first.returncode == 0, first.stderr
    assert spec in first.stdout
    # When the Hub is gone, or must not be asked, or a commit is pinned
    again = [
        ask_hub(HUB_LOAD, spec, home),
        ask_hub(HUB_LOAD, spec, home, offline="1"),
        ask_hub(HUB_LOAD, f"{spec}@{COMMIT}", home, offline="1"),
    ]
    # Then it gives the same model
    assert [done.returncode for done in again] == [0, 0, 0], again[0].stderr
    assert again[0].stdout == again[1].stdout == first.stdout
    assert "sha256" in again[2].stdout


PUBLISHED = {"denoising_unet-500.pth", "reference_unet-500.pth", "sd-vae-ft-mse/config.json"}
SAFE_VAE, PICKLED_VAE = (f"sd-vae-ft-mse/diffusion_pytorch_model.{ending}" for ending in ("safetensors", "bin"))
OPENAI = "audio_processor/whisper_tiny.pt"
CONFIG, SAFE, PICKLED = (
    f"audio_processor/{name}" for name in ("config.json", "model.safetensors", "pytorch_model.bin")
)


@pytest.mark.parametrize(
    ("there", "left"),
    [
        ({SAFE_VAE, OPENAI, "README.md"}, {PICKLED_VAE, SAFE, PICKLED, "demo.mp4"}),
        ({PICKLED_VAE, CONFIG, OPENAI}, {SAFE, PICKLED}),
        ({SAFE_VAE, CONFIG, SAFE}, {PICKLED}),
        ({PICKLED_VAE, CONFIG, PICKLED}, set()),
    ],
    ids=["openai", "openai_beside_a_config", "safetensors", "pickles"],
)
def test_only_files_that_are_read_are_downloaded(tmp_path: Path, there: set[str], left: set[str]) -> None:
    for name in {*PUBLISHED, *there, *left}:
        (tmp_path / "hub" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "hub" / name).write_text(name)
    with hub_of(tmp_path / "hub") as address:
        done = ask_hub(HUB_DOWNLOAD, f"hf://{REPOSITORY}", tmp_path / "home", address=address)

    assert set(done.stdout.split()) == {*PUBLISHED, *there} - {"README.md"}, done.stderr


@pytest.mark.parametrize("spec", ["hf://", "hf://a/b/c", "hf://owner/na me"])
def test_a_name_the_hub_cannot_have_is_a_weights_error(spec: str) -> None:
    with pytest.raises(WeightsError, match="cannot be downloaded"):
        load_model(spec, device=CPU, dtype=torch.float32)
