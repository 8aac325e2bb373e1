"""Runs: what learns learns, what is frozen stays, and an interrupted run ends as one that was not."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from torch import Tensor

from model.checkpoint import WEIGHT_FILES, load_folder
from model.training.config import ObjectiveConfig, OptimizerConfig, Stage1Config, Stage2Config, StartConfig
from model.training.errors import ConfigError, TrainingError
from model.training.samples import Batch, StepBatches, TrainingSamples, load_batches
from model.training.shards import ShardReader
from model.training.stages import stage_1, stage_2
from model.training.trainer import learning_rate
from tests.model.training.clips import make_clip, open_writer
from tests.model.training.runs import UNET, make_inputs, stage_1_config

Weights = dict[str, Tensor]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums come out the same to the last bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def trained(inputs: Path) -> Path:
    """The output of a whole run of stage 1."""
    output = inputs / "stage-1"
    stage_1(stage_1_config(inputs, output, save_every=100, sample_clips=1, sample_steps=1)).train()
    return output


def weights_of(output: Path) -> Weights:
    return {
        f"{name}/{key}": tensor for name in WEIGHT_FILES for key, tensor in load_file(output / "weights" / name).items()
    }


def changed(before: Weights, after: Weights) -> set[str]:
    return {key for key in before if not torch.equal(before[key], after[key])}


def stage_2_config(inputs: Path, weights: Path, output: Path, **run: object) -> Stage2Config:
    run_config = stage_1_config(inputs, output, steps=2, save_every=100, **run).run
    optimizer = OptimizerConfig(learning_rate=1e-3, warmup_steps=1)
    return Stage2Config(run_config, StartConfig(weights=weights), optimizer)


def test_a_run_leaves_weights_that_load_and_pictures(trained: Path) -> None:
    checkpoint = load_folder(trained / "weights", torch.float32)

    assert (checkpoint.trained, checkpoint.name) == (True, "stage-1, step 6")
    assert (checkpoint.config.unet, checkpoint.config.crop_size) == (UNET, 256)
    assert [path.name for path in (trained / "strips").iterdir()] == ["step-00000006-0.png"]


def test_a_run_that_was_interrupted_ends_as_one_that_was_not(tmp_path: Path, inputs: Path, trained: Path) -> None:
    output = tmp_path / "stage-1"
    stage_1(stage_1_config(inputs, output, steps=4, save_every=3)).train()

    stage_1(stage_1_config(inputs, output, save_every=100)).train()

    assert changed(weights_of(trained), weights_of(output)) == set()


def test_a_run_does_not_go_on_with_other_settings(inputs: Path, trained: Path) -> None:
    with pytest.raises(ConfigError, match="other settings"):
        stage_1(stage_1_config(inputs, trained, seed=9))


def test_a_run_does_not_go_on_with_other_clips(tmp_path: Path, inputs: Path) -> None:
    """Another number of clips is another order of samples."""
    data = shutil.copytree(inputs / "data", tmp_path / "data")
    config = stage_1_config(inputs, tmp_path / "out", steps=1, dataset=data)
    stage_1(config).train()
    with open_writer(data) as writer:
        writer.add(make_clip(50))

    with pytest.raises(ConfigError, match="other settings or clips"):
        stage_1(config)


def test_stage_2_changes_motion_and_audio_attention_only(tmp_path: Path, inputs: Path, trained: Path) -> None:
    stage_2(stage_2_config(inputs, trained / "weights", tmp_path / "out")).train()

    names = changed(weights_of(trained), weights_of(tmp_path / "out"))

    assert all(name.startswith("denoising_unet") for name in names)
    assert all("motion_modules" in name or "attn2" in name or "transformer_blocks.0.norm2" in name for name in names)
    assert sum("motion_modules" in name for name in names) > 21
    assert sum("attn2" in name for name in names) > 16


def test_stage_1_changes_neither_motion_nor_vae_nor_audio_encoder(tmp_path: Path, inputs: Path) -> None:
    config = stage_1_config(inputs, tmp_path / "out", steps=1, save_every=100)
    trainer = stage_1(config)
    before = {name: parameter.clone() for name, parameter in trainer.task.network.state_dict().items()}

    trainer.train()

    after = load_folder(tmp_path / "out" / "weights", torch.float32).networks
    denoiser = after.denoising_unet.state_dict()
    same = {name for name, tensor in denoiser.items() if torch.equal(tensor, before[f"denoising_unet.{name}"])}
    assert {name for name in denoiser if "motion_modules" in name} == same
    vae = load_file(inputs / "vae" / "diffusion_pytorch_model.safetensors")
    assert changed(vae, load_file(tmp_path / "out" / "weights" / "vae.safetensors")) == set()
    encoder = load_file(inputs / "data" / "audio_encoder.safetensors")
    assert changed(encoder, load_file(tmp_path / "out" / "weights" / "audio_encoder.safetensors")) == set()


def loss_on(config: Stage1Config, batch: Batch, output: Path) -> float:
    """The loss of the weights a run of this configuration ends with."""
    trainer = stage_1(replace(config, run=replace(config.run, output=output)))
    with torch.no_grad():
        return float(trainer.task.losses(trainer.task.network, batch, 0)["velocity_error"])


def test_a_small_set_is_learned(tmp_path: Path, inputs: Path) -> None:
    config = replace(
        stage_1_config(inputs, tmp_path / "learned", steps=14, save_every=100, ema_decay=0.0),
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=1),
        objective=ObjectiveConfig(reference_dropout=0.0, latents="mean"),
    )
    samples = TrainingSamples(ShardReader(inputs / "data"), seed=77, num_frames=1, latent_channels=4)
    [batch] = islice(load_batches(samples, StepBatches(8, 0, 1), 0, pinned=False), 1)
    before = loss_on(config, batch, tmp_path / "untrained")

    stage_1(config).train()

    assert loss_on(config, batch, tmp_path / "learned") < 0.9 * before


def test_parts_of_a_batch_give_what_the_whole_gives(tmp_path: Path, inputs: Path) -> None:
    runs = [stage_1_config(inputs, tmp_path / str(n), steps=2, save_every=100, accumulation=n) for n in (1, 2)]
    for config in runs:
        stage_1(config).train()

    whole, parts = (weights_of(config.run.output) for config in runs)

    assert all(torch.allclose(whole[key], parts[key], atol=2e-5) for key in whole)


def test_cheaper_ways_to_compute_come_to_about_the_same(tmp_path: Path, inputs: Path) -> None:
    losses = {}
    for name, options in {
        "plain": {},
        "bf16": {"precision": "bf16"},
        "twice": {"gradient_checkpointing": True},
    }.items():
        trainer = stage_1(stage_1_config(inputs, tmp_path / name, steps=2, save_every=100, **options))
        trainer.train()
        losses[name] = trainer.last_figures["loss"]
        AcceleratorState._reset_state()  # a process trains in one precision: accelerate remembers the first

    assert losses["twice"] == losses["plain"]
    assert losses["bf16"] == pytest.approx(losses["plain"], rel=0.02)
    assert losses["bf16"] != losses["plain"]


def test_the_pixel_loss_is_added_with_its_weight(tmp_path: Path, inputs: Path) -> None:
    config = replace(stage_1_config(inputs, tmp_path, steps=1), objective=ObjectiveConfig(pixel_weight=0.5))
    trainer = stage_1(config)

    trainer.train()

    figures = trainer.last_figures
    assert figures["pixel_loss"] > 0.0
    assert figures["loss"] == pytest.approx(figures["velocity_loss"] + 0.5 * figures["pixel_loss"])


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path, inputs: Path) -> None:
    config = replace(stage_1_config(inputs, tmp_path), optimizer=OptimizerConfig(learning_rate=1e30, warmup_steps=1))

    with pytest.raises(TrainingError, match="not a number"):
        stage_1(config).train()


def test_a_batch_that_cannot_be_shared_out_is_refused(tmp_path: Path, inputs: Path) -> None:
    with pytest.raises(ConfigError, match="3 cannot be divided into 2"):
        stage_1(stage_1_config(inputs, tmp_path, batch_size=3, accumulation=2))


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine can")
def test_half_precision_on_a_cpu_is_refused(tmp_path: Path, inputs: Path) -> None:
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        stage_1(stage_1_config(inputs, tmp_path, precision="fp16"))


def test_the_rate_warms_up_and_stays_or_falls() -> None:
    constant = OptimizerConfig(learning_rate=2.0, warmup_steps=4)
    cosine = replace(constant, schedule="cosine")

    assert [learning_rate(constant, step, 100) for step in (0, 1, 3, 99)] == [0.5, 1.0, 2.0, 2.0]
    assert learning_rate(cosine, 50, 100) == pytest.approx(1.0)
    assert learning_rate(cosine, 99, 100) < 0.01
