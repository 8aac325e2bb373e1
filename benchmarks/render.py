"""What a dub costs: FLOPs, seconds per stage and per output frame, peak memory. Also `make bench ARGS="--help"`.

python benchmarks/render.py --weights tiny --frames 50 --steps 4
python benchmarks/render.py --weights full --count-only
python benchmarks/render.py --weights full --device cuda --dtype float16 --frames 100 --json full.json
"""

import argparse
import json
import platform
import resource
import tempfile
import time
import wave
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from cli.sample_clip import make_sample_clip
from model.checkpoint import ModelConfig, build_vae
from model.faces.detector import make_detector
from model.networks import DenoisingUNet, ReferenceUNet
from model.pipeline import Pipeline
from model.plan import DubOptions
from model.progress import Stage, StageProgress
from model.schedule import draw_noise, seeded_generator
from model.segments import MAX_SEGMENT_FRAMES, OVERLAP_FRAMES, divide
from model.stages.denoise import Conditions, encode_crops, predict_velocity, read_reference
from model.stages.plan_windows import plan_windows
from model.weights import TINY_MODEL, TINY_SPEC, HighSyncModel, load_model, random_model
from model.windows import WINDOW_FRAMES
from worker.model_host import CUDA, choose_device, choose_dtype

FULL_SPEC = "full"
"""The published size with random weights: costs what the published weights cost."""

FPS = 25
CLIP_FRAMES = 100
"""Length of the sample clip."""

AUDIO_TOKENS, AUDIO_WIDTH = 50, 384


class StageClock:
    """Adds up the time between progress reports, each share to the stage that was at work.

    A stage that reports no frame done yet is only beginning: the time before belongs to the stage before it.
    """

    def __init__(self) -> None:
        self.seconds: dict[Stage, float] = defaultdict(float)
        self._last = time.perf_counter()
        self._stage = Stage.DECODE_MEDIA

    def __call__(self, progress: StageProgress) -> None:
        """Take note of one report."""
        now = time.perf_counter()
        at_work = progress.stage if progress.frames_done else self._stage
        self.seconds[at_work] += now - self._last
        self._last, self._stage = now, progress.stage


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default=TINY_SPEC, help="full (random weights), or any spec of HIGHSYNC_WEIGHTS")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto", choices=["auto", "float32", "float16", "bfloat16"])
    parser.add_argument("--frames", type=int, default=50, help="output frames; above 100 with --count-only")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=3.5)
    parser.add_argument("--count-only", action="store_true", help="count FLOPs without computing anything")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    if options.frames > CLIP_FRAMES and not options.count_only:
        parser.error(f"the sample clip has {CLIP_FRAMES} frames: count longer ones with --count-only")
    return options


def main() -> None:
    """Measure and print."""
    options = parse()
    figures: dict[str, Any] = {"machine": machine(), "weights": options.weights, **vars(options), "json": None}
    if options.count_only:
        config = config_of(options.weights)
        figures["tflop_per_output_frame"] = count_tflop(config, options)
    else:
        device = choose_device(options.device)
        model = load(options.weights, device, choose_dtype(options.dtype, device))
        figures["tflop_per_output_frame"] = count_tflop(model.config, options)
        figures |= time_dub(model, options)
        if device.type == CUDA:
            figures["fp16_relative_error_of_a_guided_step"] = half_precision_error(options.weights, device, options)
    print_table(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2, default=str))


def load(spec: str, device: torch.device, dtype: torch.dtype) -> HighSyncModel:
    """The model of a spec; `full` is the published size, untrained."""
    if spec == FULL_SPEC:
        return random_model(ModelConfig(), name="full (untrained)", seed=0, device=device, dtype=dtype)
    return load_model(spec, device=device, dtype=dtype)


def config_of(spec: str) -> ModelConfig:
    """The size of a spec's networks; the weights are read only where they alone know it."""
    known = {FULL_SPEC: ModelConfig(), TINY_SPEC: TINY_MODEL}
    return known.get(spec) or load_model(spec, device=torch.device("cpu"), dtype=torch.float32).config


def count_tflop(config: ModelConfig, options: argparse.Namespace) -> dict[str, float]:
    """TFLOP per output frame by network, 2 per multiply-add, counted on tensors that hold no numbers.

    A long clip is counted as it is rendered: in segments that overlap.
    """
    bounds = divide(0, options.frames, MAX_SEGMENT_FRAMES, OVERLAP_FRAMES)
    windows = [plan_windows(stop - first, options.steps) for first, stop in bounds]
    rendered = sum(stop - first for first, stop in bounds) / options.frames
    read = sum(plan.num_frames for plan in windows) / options.frames
    passes = sum(plan.num_passes for plan in windows) / options.frames
    size = config.crop_size // 8
    with torch.device("meta"):
        reference_unet, denoising_unet = ReferenceUNet(config.unet), DenoisingUNet(config.unet)
        vae: Any = build_vae(config.vae)
        latents = torch.empty(WINDOW_FRAMES, 4, size, size)
        audio = torch.empty(1, WINDOW_FRAMES, AUDIO_TOKENS, AUDIO_WIDTH)
        pixels = torch.empty(1, 3, config.crop_size, config.crop_size)
    features = reference_unet(latents)
    clip = latents.transpose(0, 1).unsqueeze(0)
    one_pass = flops(lambda: denoising_unet(clip, 499, audio, features))
    if options.guidance > 1.0:
        one_pass += flops(lambda: denoising_unet(clip, 499, None, None))
    per_frame = {
        "reference_unet": flops(lambda: reference_unet(latents)) / WINDOW_FRAMES * read,
        "denoising_unet": one_pass * passes,
        "vae_encode": flops(lambda: vae.encode(pixels)) * rendered,
        "vae_decode": flops(lambda: vae.decode(latents[:1])) * rendered,
    }
    per_frame["total"] = sum(per_frame.values())
    return {name: count / 1e12 for name, count in per_frame.items()}


def flops(run: Any) -> int:
    """FLOPs of one call."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return int(counter.get_total_flops())


def time_dub(model: HighSyncModel, options: argparse.Namespace) -> dict[str, Any]:
    """Dub the sample clip, from file to file, and note where the time and the memory went."""
    pipeline, clock = Pipeline(model, make_detector(None)), StageClock()
    dub_options = DubOptions(num_inference_steps=options.steps, guidance_scale=options.guidance)
    with tempfile.TemporaryDirectory() as folder:
        clip = make_sample_clip(Path(folder))
        voice = tone(Path(folder) / "tone.wav", options.frames / FPS)
        started = time.perf_counter()
        report = pipeline.dub(clip.video, voice, Path(folder) / "out.mp4", dub_options, on_progress=clock)
        seconds = time.perf_counter() - started
    figures: dict[str, Any] = {
        "output_frames": report.frames,
        "seconds": seconds,
        "seconds_per_output_frame": seconds / report.frames,
        "frames_per_second": report.frames / seconds,
        "realtime_factor": seconds / report.duration_seconds,
        "seconds_by_stage": {stage.value: clock.seconds[stage] for stage in Stage},
    }
    return figures | peak_memory_mib(model.device.type == CUDA)


def peak_memory_mib(on_cuda: bool) -> dict[str, float]:
    """The most this process has held, in the host's memory and in the device's."""
    peaks = {"peak_host_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    if on_cuda:
        peaks["peak_device_memory_mib"] = torch.cuda.max_memory_allocated() / 2**20
    return peaks


def tone(path: Path, seconds: float) -> Path:
    """A voice of exactly this length."""
    samples = 8000 * np.sin(2 * np.pi * 200 * np.arange(round(seconds * 16_000)) / 16_000)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


@torch.inference_mode()
def half_precision_error(spec: str, device: torch.device, options: argparse.Namespace) -> float:
    """|v16 - v32| / |v32| of the first guided window, on the same inputs."""
    velocities = []
    for dtype in (torch.float32, torch.float16):
        model = load(spec, device, dtype)
        generator = seeded_generator(0)
        size = model.config.crop_size
        crops = torch.randint(0, 256, (WINDOW_FRAMES, size, size, 3), dtype=torch.uint8, generator=generator)
        latents = encode_crops(model, crops, lambda: None)
        audio = draw_noise(generator, (1, WINDOW_FRAMES, AUDIO_TOKENS, AUDIO_WIDTH)).to(device, dtype)
        conditions = Conditions(latents, audio, read_reference(model, latents, lambda: None), options.guidance)
        noisy = draw_noise(generator, latents.shape).to(device)
        window = plan_windows(WINDOW_FRAMES, 1).steps[0][0]
        velocities.append(predict_velocity(model, noisy, 999, window, conditions).double())
        del model
    exact, half = velocities
    return float((half - exact).norm() / exact.norm())


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": cpu.partition(":")[2].strip() or platform.processor(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "torch": torch.__version__,
    }


def print_table(figures: dict[str, Any], indent: str = "") -> None:
    """One figure per line."""
    for name, value in figures.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            print_table(value, f"{indent}  ")
        elif value is not None:
            shown = f"{value:.4g}" if isinstance(value, float) else value
            print(f"{indent}{name:<{44 - len(indent)}}{shown}")


if __name__ == "__main__":
    main()
