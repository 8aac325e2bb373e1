"""Weights on disk: what is read has to be whole, and what does not fit is named."""

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model import checkpoint
from model.audio.encoder import HUGGING_FACE_NUMBERS, WHISPER_TINY, AudioEncoder, AudioEncoderConfig
from model.checkpoint import (
    Checkpoint,
    ModelConfig,
    Networks,
    VaeConfig,
    build_vae,
    load_audio_encoder,
    load_folder,
    new_vae_key,
    save_folder,
    save_published,
)
from model.errors import WeightsError
from model.networks import DenoisingUNet, ReferenceUNet, UNetConfig

SMALL_AUDIO = AudioEncoderConfig(width=16, blocks=2, heads=2)
SMALL_UNET = UNetConfig(channels=(8, 8, 8, 8), attention_heads=1, norm_groups=2, audio_width=16)
PUBLISHED_BUT_SMALL = replace(SMALL_UNET, audio_width=WHISPER_TINY.width)
SMALL_VAE = VaeConfig(channels=(8, 8, 8, 8), layers_per_block=1, norm_groups=2, scaling_factor=0.25)
SMALL = ModelConfig(unet=SMALL_UNET, vae=SMALL_VAE, crop_size=256, audio=SMALL_AUDIO)
State = dict[str, Tensor]


def make_networks(unet: UNetConfig, audio: AudioEncoderConfig) -> Networks:
    return Networks(
        denoising_unet=DenoisingUNet(unet),
        reference_unet=ReferenceUNet(unet),
        vae=build_vae(SMALL_VAE),
        audio_encoder=AudioEncoder.untrained(1, audio),
    )


@pytest.fixture
def networks() -> Networks:
    return make_networks(SMALL_UNET, SMALL_AUDIO)


def equal(left: nn.Module, right: nn.Module) -> bool:
    one, other = left.state_dict(), right.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


class TestOwnLayout:
    @pytest.fixture
    def folder(self, tmp_path: Path, networks: Networks) -> Path:
        save_folder(Checkpoint(networks, SMALL, name="small", trained=True, sha256=""), tmp_path / "weights")
        return tmp_path / "weights"

    def test_what_was_saved_is_what_is_loaded(self, folder: Path, networks: Networks) -> None:
        loaded = load_folder(folder, torch.float32)

        assert (loaded.config, loaded.name, loaded.trained) == (SMALL, "small", True)
        assert equal(loaded.networks.denoising_unet, networks.denoising_unet)
        assert equal(loaded.networks.reference_unet, networks.reference_unet)
        assert equal(loaded.networks.vae, networks.vae)
        assert equal(loaded.networks.audio_encoder, networks.audio_encoder)
        assert loaded.networks.vae.config.scaling_factor == 0.25

    def test_loaded_networks_are_for_running_only(self, folder: Path) -> None:
        loaded = load_folder(folder, torch.float32).networks

        for network in (loaded.denoising_unet, loaded.reference_unet, loaded.vae, loaded.audio_encoder):
            assert not network.training
            assert not any(parameter.requires_grad for parameter in network.parameters())

    def test_precision_is_the_callers_choice(self, folder: Path) -> None:
        loaded = load_folder(folder, torch.float16).networks

        assert {parameter.dtype for parameter in loaded.denoising_unet.parameters()} == {torch.float16}
        assert {parameter.dtype for parameter in loaded.audio_encoder.parameters()} == {torch.float32}

    def test_changed_file_is_refused(self, folder: Path) -> None:
        path = folder / "vae.safetensors"
        state = load_file(path)
        state["decoder.conv_in.bias"] += 1
        save_file(state, path)

        with pytest.raises(WeightsError, match=r"vae\.safetensors is not the file config\.json names"):
            load_folder(folder, torch.float32)

    def test_missing_file_is_named(self, folder: Path) -> None:
        (folder / "reference_unet.safetensors").unlink()

        with pytest.raises(WeightsError, match=r"reference_unet\.safetensors cannot be read"):
            load_folder(folder, torch.float32)

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": 1}', "\x00"])
    def test_config_that_is_none_is_refused(self, folder: Path, text: str) -> None:
        (folder / "config.json").write_text(text)

        with pytest.raises(WeightsError, match=r"config\.json cannot be read"):
            load_folder(folder, torch.float32)

    def test_crop_that_does_not_fit_the_networks_is_refused(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        config["model"]["crop_size"] = 300
        (folder / "config.json").write_text(json.dumps(config))

        with pytest.raises(WeightsError, match="300 px"):
            load_folder(folder, torch.float32)


class TestPublishedLayout:
    """The published layout at a small size: the full one differs in numbers only, and its keys have their own test."""

    @pytest.fixture(autouse=True)
    def small_instead_of_full(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(checkpoint, "FULL", PUBLISHED_BUT_SMALL)

    @pytest.fixture
    def networks(self) -> Networks:
        return make_networks(PUBLISHED_BUT_SMALL, WHISPER_TINY)

    @pytest.fixture
    def folder(self, tmp_path: Path, networks: Networks) -> Path:
        vae_folder, audio_folder = tmp_path / "sd-vae-ft-mse", tmp_path / "audio_processor"
        vae_folder.mkdir()
        audio_folder.mkdir()
        torch.save(networks.denoising_unet.half().state_dict(), tmp_path / "denoising_unet-500.pth")
        torch.save(networks.reference_unet.state_dict(), tmp_path / "reference_unet-500.pth")
        torch.save(networks.vae.state_dict(), vae_folder / "diffusion_pytorch_model.bin")
        (vae_folder / "config.json").write_text(
            json.dumps(
                {
                    "_class_name": "AutoencoderKL",
                    "block_out_channels": [8, 8, 8, 8],
                    "layers_per_block": 1,
                    "norm_num_groups": 2,
                    "sample_size": 256,
                }
            )
        )
        torch.save(openai_whisper_tiny(networks.audio_encoder), audio_folder / "whisper_tiny.pt")
        return tmp_path

    def test_every_network_is_read(self, folder: Path, networks: Networks) -> None:
        loaded = load_folder(folder, torch.float32)

        assert loaded.trained
        assert equal(loaded.networks.denoising_unet, networks.denoising_unet.float())
        assert equal(loaded.networks.reference_unet, networks.reference_unet)
        assert equal(loaded.networks.vae, networks.vae)
        assert equal(loaded.networks.audio_encoder, networks.audio_encoder)
        assert loaded.networks.vae.config.scaling_factor == 0.18215

    def test_safetensors_of_the_vae_do_as_well(self, folder: Path, networks: Networks) -> None:
        (folder / "sd-vae-ft-mse/diffusion_pytorch_model.bin").unlink()
        save_file(networks.vae.state_dict(), folder / "sd-vae-ft-mse/diffusion_pytorch_model.safetensors")

        assert equal(load_folder(folder, torch.float32).networks.vae, networks.vae)

    def test_old_spelling_of_the_vae_is_understood(self, folder: Path, networks: Networks) -> None:
        spelled = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
        old = {}
        for key, tensor in networks.vae.state_dict().items():
            for new_name, old_name in spelled.items():
                key = key.replace(f".{new_name}.", f".{old_name}.")  # noqa: PLW2901
            old[key] = tensor
        torch.save(old, folder / "sd-vae-ft-mse/diffusion_pytorch_model.bin")

        assert old.keys() != networks.vae.state_dict().keys()
        assert equal(load_folder(folder, torch.float32).networks.vae, networks.vae)

    def test_the_old_pickle_format_is_read_too(self, folder: Path, networks: Networks) -> None:
        path = folder / "reference_unet-500.pth"
        torch.save(networks.reference_unet.state_dict(), path, _use_new_zipfile_serialization=False)

        assert equal(load_folder(folder, torch.float32).networks.reference_unet, networks.reference_unet)

    @pytest.mark.parametrize(
        ("damage", "complaint"),
        [
            (lambda state: state.pop("conv_in.bias"), r"reference_unet-500\.pth lacks conv_in\.bias\."),
            (
                lambda state: state.update(conv_out=torch.zeros(1)),
                r"reference_unet-500\.pth holds tensors the network has no place for: conv_out\.",
            ),
            (
                lambda state: state.update({"conv_in.bias": torch.zeros(9)}),
                r"reference_unet-500\.pth: conv_in\.bias is \(9,\), the network needs \(8,\)\.",
            ),
            (
                lambda state: state.update({"conv_in.bias": torch.zeros(8, dtype=torch.int64)}),
                r"conv_in\.bias holds torch\.int64",
            ),
        ],
    )
    def test_tensor_that_does_not_fit_is_named(
        self, folder: Path, damage: Callable[[State], object], complaint: str
    ) -> None:
        path = folder / "reference_unet-500.pth"
        state = torch.load(path, weights_only=True)
        damage(state)
        torch.save(state, path)

        with pytest.raises(WeightsError, match=complaint):
            load_folder(folder, torch.float32)

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"version https://git-lfs.github.com/spec/v1\n"])
    def test_unreadable_file_is_named(self, folder: Path, content: bytes) -> None:
        (folder / "denoising_unet-500.pth").write_bytes(content)

        with pytest.raises(WeightsError, match=r"denoising_unet-500\.pth cannot be read"):
            load_folder(folder, torch.float32)

    def test_pickle_that_runs_code_is_not_run(self, folder: Path) -> None:
        trace = folder / "trace"
        (folder / "denoising_unet-500.pth").write_bytes(pickle.dumps(Touch(trace), protocol=2))

        with pytest.raises(WeightsError, match=r"denoising_unet-500\.pth cannot be read"):
            load_folder(folder, torch.float32)
        assert not trace.exists()

    def test_file_of_other_things_than_tensors_is_refused(self, folder: Path) -> None:
        torch.save({"epoch": 3}, folder / "denoising_unet-500.pth")

        with pytest.raises(WeightsError, match="not a state dict"):
            load_folder(folder, torch.float32)

    @pytest.mark.parametrize("file", ["denoising_unet-500.pth", "sd-vae-ft-mse/diffusion_pytorch_model.bin"])
    def test_names_that_are_no_strings_are_refused(self, folder: Path, file: str) -> None:
        torch.save({3: torch.zeros(1)}, folder / file)

        with pytest.raises(WeightsError, match="not a state dict"):
            load_folder(folder, torch.float32)

    def test_what_is_missing_is_listed(self, folder: Path) -> None:
        (folder / "denoising_unet-500.pth").unlink()
        (folder / "audio_processor/whisper_tiny.pt").unlink()

        with pytest.raises(WeightsError) as caught:
            load_folder(folder, torch.float32)

        audio = ("whisper_tiny.pt", "model.safetensors", "pytorch_model.bin")
        one_of = " or ".join(f"audio_processor/{name}" for name in audio)
        assert f"it lacks denoising_unet-500.pth, {one_of} (and denoising_unet.safetensors" in str(caught.value)

    def test_config_at_the_root_makes_it_no_folder_of_ours(self, folder: Path, networks: Networks) -> None:
        (folder / "config.json").write_text('{"architectures": ["HighSync"]}')

        assert equal(load_folder(folder, torch.float32).networks.reference_unet, networks.reference_unet)

    @pytest.mark.parametrize("save", [save_file, torch.save])
    def test_whisper_from_hugging_face_does_as_well(
        self, folder: Path, networks: Networks, save: Callable[..., object]
    ) -> None:
        before = load_folder(folder, torch.float32)
        (folder / "audio_processor/whisper_tiny.pt").unlink()
        hugging_face_whisper_tiny(networks.audio_encoder, folder / "audio_processor", save)

        loaded = load_folder(folder, torch.float32)

        assert equal(loaded.networks.audio_encoder, networks.audio_encoder)
        assert loaded.sha256 != before.sha256

    def test_the_hash_covers_the_config_of_whisper_from_hugging_face(self, folder: Path, networks: Networks) -> None:
        (folder / "audio_processor/whisper_tiny.pt").unlink()
        config = hugging_face_whisper_tiny(networks.audio_encoder, folder / "audio_processor", save_file)
        before = load_folder(folder, torch.float32).sha256
        config.write_text(config.read_text() + "\n")

        assert load_folder(folder, torch.float32).sha256 != before

    def test_whisper_from_hugging_face_without_its_config_is_named(self, folder: Path, networks: Networks) -> None:
        (folder / "audio_processor/whisper_tiny.pt").unlink()
        hugging_face_whisper_tiny(networks.audio_encoder, folder / "audio_processor", save_file).unlink()

        with pytest.raises(WeightsError, match=r"it lacks audio_processor/config\.json \("):
            load_folder(folder, torch.float32)

    def test_the_hash_covers_every_file(self, folder: Path, networks: Networks) -> None:
        before = load_folder(folder, torch.float32).sha256
        state = networks.reference_unet.state_dict()
        torch.save({**state, "conv_in.bias": state["conv_in.bias"] + 1}, folder / "reference_unet-500.pth")

        assert load_folder(folder, torch.float32).sha256 != before

    def test_file_in_the_hubs_cache_has_to_be_what_it_is_called(self, folder: Path) -> None:
        path, blob = folder / "reference_unet-500.pth", folder / ("0" * 64)
        path.rename(blob)
        path.symlink_to(blob)

        with pytest.raises(WeightsError, match=r"reference_unet-500\.pth is not the file the Hub announced"):
            load_folder(folder, torch.float32)


def test_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no folder .*nowhere"):
        load_folder(tmp_path / "nowhere", torch.float32)


def test_new_spelling_of_the_vae_stays() -> None:
    key = "decoder.mid_block.attentions.0.to_q.weight"

    assert new_vae_key(key) == key


def test_unets_hear_what_the_encoder_says() -> None:
    with pytest.raises(ValueError, match="tokens as wide"):
        ModelConfig(audio=SMALL_AUDIO)


def test_the_published_size_is_that_of_unets_and_encoder() -> None:
    assert ModelConfig().has_published_size
    assert not ModelConfig(audio=replace(WHISPER_TINY, blocks=2)).has_published_size
    assert not SMALL.has_published_size


def test_an_audio_encoder_that_says_no_size_is_whisper_tiny(tmp_path: Path) -> None:
    whisper = AudioEncoder.untrained(seed=1)
    save_file(whisper.state_dict(), tmp_path / "audio.safetensors")

    loaded = load_audio_encoder(tmp_path / "audio.safetensors")
    assert loaded.config == WHISPER_TINY
    assert equal(loaded, whisper)


@pytest.mark.parametrize("size", ["{}x", '{"width": "wide"}'])
def test_an_audio_encoder_that_says_nonsense_is_refused(tmp_path: Path, size: str) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "audio.safetensors", metadata={"size": size})

    with pytest.raises(WeightsError, match=r"audio\.safetensors cannot be read"):
        load_audio_encoder(tmp_path / "audio.safetensors")


@pytest.mark.parametrize("crop_size", [0, 128, 300, 500])
def test_crop_size_has_to_leave_room_for_the_mouth(crop_size: int) -> None:
    with pytest.raises(ValueError, match="px will not do"):
        ModelConfig(crop_size=crop_size)


def hugging_face_whisper_tiny(encoder: AudioEncoder, folder: Path, save: Callable[..., object]) -> Path:
    """Write the encoder as a Hugging Face folder. Returns its config's path."""
    state = {f"model.encoder.{key}": tensor.clone() for key, tensor in encoder.whisper.state_dict().items()}
    save(state, folder / ("model.safetensors" if save is save_file else "pytorch_model.bin"))
    config = folder / "config.json"
    config.write_text(json.dumps({**HUGGING_FACE_NUMBERS, "model_type": "whisper"}))
    return config


class Touch:
    """A pickle that writes a file when it is opened the unsafe way."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def openai_whisper_tiny(encoder: AudioEncoder) -> dict[str, Any]:
    """The encoder as an OpenAI checkpoint."""
    names = {
        "embed_positions.weight": "positional_embedding",
        "layers.": "blocks.",
        ".self_attn.q_proj.": ".attn.query.",
        ".self_attn.k_proj.": ".attn.key.",
        ".self_attn.v_proj.": ".attn.value.",
        ".self_attn.out_proj.": ".attn.out.",
        ".self_attn_layer_norm.": ".attn_ln.",
        ".fc1.": ".mlp.0.",
        ".fc2.": ".mlp.2.",
        ".final_layer_norm.": ".mlp_ln.",
    }
    state = {}
    for key, tensor in encoder.whisper.state_dict().items():
        for new, old in names.items():
            key = key.replace(new, old)  # noqa: PLW2901
        state[f"encoder.{key}"] = tensor
    dims = {"n_mels": 80, "n_audio_ctx": 1500, "n_audio_state": 384, "n_audio_head": 6, "n_audio_layer": 4}
    return {"dims": dims, "model_state_dict": state}


class TestWritingThePublishedLayout:
    def test_what_was_written_is_what_is_loaded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """At a small size: the full one differs in nothing but its numbers."""
        monkeypatch.setattr(checkpoint, "FULL", PUBLISHED_BUT_SMALL)
        networks = make_networks(PUBLISHED_BUT_SMALL, WHISPER_TINY)
        config = ModelConfig(unet=PUBLISHED_BUT_SMALL, vae=SMALL_VAE, crop_size=256)

        save_published(Checkpoint(networks, config, name="", trained=True, sha256=""), tmp_path)

        loaded = load_folder(tmp_path, torch.float32)
        assert loaded.config.vae == SMALL_VAE
        for name in ("denoising_unet", "reference_unet", "vae", "audio_encoder"):
            assert equal(getattr(loaded.networks, name), getattr(networks, name)), name

    def test_other_sizes_are_refused(self, tmp_path: Path, networks: Networks) -> None:
        with pytest.raises(ValueError, match="published size"):
            save_published(Checkpoint(networks, SMALL, name="", trained=True, sha256=""), tmp_path)
