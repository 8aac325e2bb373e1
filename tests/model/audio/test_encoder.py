"""The audio encoder and the files it is read from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from model.audio.encoder import HUGGING_FACE_NUMBERS, OPENAI_DIMS, AudioEncoder
from model.errors import WeightsError
from model.parity.audio import rule_state
from model.parity.rules import Goldens
from tests.damage import damages

RULES = Goldens(Path(__file__).parents[2] / "golden", salt="")


@pytest.fixture(scope="module")
def openai_state() -> dict[str, Tensor]:
    return rule_state(RULES)


@pytest.fixture(scope="module")
def encoder(openai_state: dict[str, Tensor]) -> AudioEncoder:
    return AudioEncoder.from_openai_state(openai_state)


def write_published(path: Path, state: dict[str, Tensor], **dims: int) -> Path:
    decoder = {"decoder.token_embedding.weight": torch.zeros(3, 384), "decoder.ln.bias": torch.zeros(384)}
    torch.save({"dims": {**OPENAI_DIMS, "n_vocab": 51865, **dims}, "model_state_dict": {**state, **decoder}}, path)
    return path


def write_config(folder: Path, **numbers: object) -> None:
    (folder / "config.json").write_text(json.dumps({**HUGGING_FACE_NUMBERS, "decoder_layers": 4, **numbers}))


def same_weights(one: AudioEncoder, other: AudioEncoder) -> bool:
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][key], states[1][key]) for key in states[0]
    )


def test_states_are_five_deep_and_fifty_a_second(encoder: AudioEncoder) -> None:
    features = encoder(torch.zeros(1, 80, 3000))
    assert features.shape == (1, 1500, 5, 384)
    assert not any(torch.equal(features[:, :, depth], features[:, :, depth + 1]) for depth in range(4))


def test_the_last_state_is_not_normalised(encoder: AudioEncoder) -> None:
    last = encoder(torch.zeros(1, 80, 3000))[0, :, -1]
    assert float((last.std(dim=-1) - 1).abs().max()) > 0.1


def test_the_published_file_is_read_and_its_decoder_left(
    tmp_path: Path, openai_state: dict[str, Tensor], encoder: AudioEncoder
) -> None:
    path = write_published(tmp_path / "whisper_tiny.pt", openai_state)
    assert same_weights(AudioEncoder.from_published(path), encoder)


def test_tensors_stored_in_half_precision_are_computed_in_float32(
    tmp_path: Path, openai_state: dict[str, Tensor]
) -> None:
    path = write_published(tmp_path / "whisper_tiny.pt", {key: tensor.half() for key, tensor in openai_state.items()})
    loaded = AudioEncoder.from_published(path)
    assert loaded.dtype == torch.float32
    assert torch.equal(loaded.whisper.conv1.weight, openai_state["encoder.conv1.weight"].half().float())


@pytest.mark.parametrize("prefix", ["model.encoder.", "encoder."])
@pytest.mark.parametrize("save", [save_file, torch.save])
def test_a_hugging_face_folder_is_read(
    tmp_path: Path, encoder: AudioEncoder, prefix: str, save: Callable[..., object]
) -> None:
    state = {f"{prefix}{key}": tensor.clone() for key, tensor in encoder.whisper.state_dict().items()}
    state |= {f"{prefix}layer_norm.weight": torch.ones(384), "model.decoder.layer_norm.weight": torch.ones(384)}
    save(state, tmp_path / ("model.safetensors" if save is save_file else "pytorch_model.bin"))
    write_config(tmp_path)
    assert same_weights(AudioEncoder.from_folder(tmp_path), encoder)


def test_an_untrained_encoder_is_its_seeds_own() -> None:
    torch.manual_seed(7)
    before = torch.rand(1)
    torch.manual_seed(7)
    first = AudioEncoder.untrained(seed=1)
    assert torch.equal(torch.rand(1), before), "the process's own random numbers must not notice"
    assert same_weights(first, AudioEncoder.untrained(seed=1))
    assert not same_weights(first, AudioEncoder.untrained(seed=2))


def test_positions_are_the_published(encoder: AudioEncoder) -> None:
    samples = RULES.json("manifest_whisper_encoder.json")["positional_embedding_samples"]
    table = encoder.whisper.embed_positions.weight
    found = {entry: float(table[tuple(map(int, entry.split(",")))]) for entry in samples}
    assert found == pytest.approx(samples, abs=1e-6)


def missing_key(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in state.items() if key != "encoder.blocks.2.attn.value.bias"}


def surplus_key(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**state, "encoder.blocks.4.mlp.0.bias": torch.zeros(1536)}


def wrong_shape(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**state, "encoder.conv1.bias": torch.zeros(385)}


def whole_numbers(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**state, "encoder.conv1.bias": torch.zeros(384, dtype=torch.int64)}


def numbered_key(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**state, 3: torch.zeros(1)}  # type: ignore[dict-item]  # what a pickle can hold


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (missing_key, r"whisper_tiny\.pt lacks layers\.2\.self_attn\.v_proj\.bias"),
        (surplus_key, r"whisper_tiny\.pt holds tensors the network has no place for: layers\.4\.fc1\.bias"),
        (wrong_shape, r"whisper_tiny\.pt: conv1\.bias is \(385,\)"),
        (whole_numbers, r"whisper_tiny\.pt: conv1\.bias holds torch\.int64"),
        (numbered_key, r"whisper_tiny\.pt is not a state dict"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    tmp_path: Path,
    openai_state: dict[str, Tensor],
    spoil: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    complaint: str,
) -> None:
    path = write_published(tmp_path / "whisper_tiny.pt", spoil(openai_state))
    with pytest.raises(WeightsError, match=complaint) as caught:
        AudioEncoder.from_published(path)
    assert str(path) in str(caught.value)


def test_a_folder_with_numbered_tensors_is_refused(tmp_path: Path) -> None:
    write_config(tmp_path)
    torch.save({3: torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"pytorch_model\.bin is not a state dict"):
        AudioEncoder.from_folder(tmp_path)


@pytest.mark.parametrize("heads", [8, "6", None])
def test_a_folder_of_another_whisper_is_refused(tmp_path: Path, heads: object) -> None:
    write_config(tmp_path, encoder_attention_heads=heads)
    with pytest.raises(WeightsError, match=r"config\.json is not a Whisper-tiny"):
        AudioEncoder.from_folder(tmp_path)


def test_a_larger_whisper_is_refused(tmp_path: Path, openai_state: dict[str, Tensor]) -> None:
    path = write_published(tmp_path / "base.pt", openai_state, n_audio_state=512)
    with pytest.raises(WeightsError, match="not a Whisper-tiny"):
        AudioEncoder.from_published(path)


@pytest.mark.parametrize(
    "content",
    [
        *([1, 2], {"weights": {}}, {"dims": 3, "model_state_dict": {}}, {"dims": OPENAI_DIMS, "model_state_dict": 3}),
        {"dims": {**OPENAI_DIMS, "n_mels": torch.zeros(2)}, "model_state_dict": {}},
        {"dims": OPENAI_DIMS, "model_state_dict": {"encoder.conv1.bias": "text"}},
    ],
)
def test_another_checkpoint_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"other\.pt"):
        AudioEncoder.from_published(tmp_path / "other.pt")


class Payload:
    """Code in a pickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("ran"),))


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"dims": Payload()}, "evil.pt")
    with pytest.raises(WeightsError, match="cannot be read"):
        AudioEncoder.from_published(Path("evil.pt"))
    assert not Path("ran").exists()


@pytest.mark.parametrize("name", ["whisper_tiny.pt", "model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"not a checkpoint", json.dumps({}).encode() * 100])
def test_files_that_cannot_be_read_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    write_config(tmp_path)
    read = AudioEncoder.from_published if name.endswith(".pt") else AudioEncoder.from_folder
    with pytest.raises(WeightsError, match=name):
        read(tmp_path / name if name.endswith(".pt") else tmp_path)


def read_damaged_whisper(path: Path, damage: Callable[[bytes], bytes], new_format: bool) -> None:
    state = {"encoder.conv1.bias": torch.zeros(4)}
    torch.save(
        {"dims": OPENAI_DIMS, "model_state_dict": state}, path / "w.pt", _use_new_zipfile_serialization=new_format
    )
    (path / "w.pt").write_bytes(damage((path / "w.pt").read_bytes()))
    AudioEncoder.from_published(path / "w.pt")


def read_damaged_folder(path: Path, damage: Callable[[bytes], bytes], new_format: bool) -> None:
    file = path / ("model.safetensors" if new_format else "pytorch_model.bin")
    state = {"encoder.conv1.bias": torch.zeros(4)}
    save_file(state, file) if new_format else torch.save(state, file)
    file.write_bytes(damage(file.read_bytes()))
    AudioEncoder.from_folder(path)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("read", [read_damaged_whisper, read_damaged_folder])
def test_damaged_bytes_are_a_clear_error(
    tmp_path: Path, read: Callable[[Path, Callable[[bytes], bytes], bool], None], new_format: bool
) -> None:
    """The files lack most tensors, so even where the damage does no harm they are refused."""
    write_config(tmp_path)
    for damage in damages(300):
        with pytest.raises(WeightsError):
            read(tmp_path, damage, new_format)


@pytest.mark.parametrize("read", [AudioEncoder.from_published, AudioEncoder.from_folder])
def test_nothing_there_is_refused(tmp_path: Path, read: Callable[[Path], AudioEncoder]) -> None:
    with pytest.raises(WeightsError):
        read(tmp_path / "nowhere")
