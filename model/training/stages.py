"""The trainings as they are started."""

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs

from model.training.config import RunConfig, Stage1Config, Stage2Config, VaeTrainingConfig
from model.training.denoising import DenoisingTask
from model.training.errors import ConfigError
from model.training.networks import learns_in_stage_1, learns_in_stage_2
from model.training.samples import TrainingSamples
from model.training.shards import ShardReader
from model.training.start import prepare_start
from model.training.trainer import Trainer
from model.training.vae import VaeTask
from model.windows import WINDOW_FRAMES

PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
"""In accelerate's words."""


def stage_1(config: Stage1Config) -> Trainer:
    """Single frames: everything learns but motion."""
    return _stage(config, num_frames=1)


def stage_2(config: Stage2Config) -> Trainer:
    """Clips of 12 frames: motion and audio attention learn."""
    return _stage(config, num_frames=WINDOW_FRAMES)


def vae(config: VaeTrainingConfig) -> Trainer:
    """Single frames: a VAE of any size from nothing."""
    run, reader = config.run, ShardReader(config.run.dataset)
    samples = TrainingSamples(reader, run.seed, 1, config.vae.latent_channels)
    task = VaeTask(config, samples)
    return Trainer(task, config, samples, make_accelerator(run))


def _stage(config: Stage1Config | Stage2Config, num_frames: int) -> Trainer:
    run, reader = config.run, ShardReader(config.run.dataset)
    start = prepare_start(config.start, run.dataset, reader.info, run.seed)
    learns = learns_in_stage_1 if isinstance(config, Stage1Config) else learns_in_stage_2
    task = DenoisingTask(start, config.objective, learns, reader, run)
    samples = TrainingSamples(reader, run.seed, num_frames, start.config.unet.latent_channels)
    return Trainer(task, config, samples, make_accelerator(run))


def make_accelerator(run: RunConfig) -> Accelerator:
    """This process's device, and its part among the processes that were started together.

    Some parameters get no gradient in a step: those of the reference UNet when it is dropped, and always its last.
    Raises ConfigError when the device does not compute in the precision.
    """
    unused = DistributedDataParallelKwargs(find_unused_parameters=True)
    on_cpu = not torch.accelerator.is_available()  # unless told so, accelerate leaves processes on CPUs each on its own
    if on_cpu and run.precision == "fp16":
        raise ConfigError("fp16 needs a GPU: train in bf16 or fp32 on a CPU.")
    return Accelerator(cpu=on_cpu, mixed_precision=PRECISIONS[run.precision], kwargs_handlers=[unused])
