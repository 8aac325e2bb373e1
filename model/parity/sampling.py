"""Checks of the sampler: windows, schedule, initial noise, and the whole loop over a clip."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch

from model.parity.checks import EXACT, Check, array_error, equality_error, stats_error, worst
from model.parity.rules import Goldens
from model.parity.tiny import tiny_model
from model.schedule import DdimSchedule, ScheduleConfig, draw_noise, seeded_generator
from model.stages.denoise import Conditions, denoising_steps, keep_outside_mouth, read_reference
from model.stages.plan_windows import plan_windows
from model.windows import WINDOW_FRAMES, distinct_windows, published_windows, sliding_frames

SCHEDULE_TOLERANCE = 1e-6
NOISE_TOLERANCE = 1e-7
COST_TOLERANCE = 1e-8
LOOP_TOLERANCE = 2e-4


def check_windows(goldens: Goldens) -> Iterator[Check]:
    """The windows of recorded clips, the properties of those of all lengths, and what joining repeated ones saves."""
    golden = goldens.json("windows.json")
    for num_frames, steps in golden["by_num_frames"].items():
        errors = [_step_error(int(num_frames), step) for step in steps]
        yield worst(f"windows of {num_frames} frames", errors, EXACT)
    first, last = golden["scanned_lengths"]
    yield Check(
        f"windows, lengths {first}..{last}", equality_error(_anomalies(first, last), golden["anomalies"]), EXACT
    )
    summary = golden["cost_summary"]
    costs = {length: _cost(int(length), golden["num_steps"]) for length in summary}
    expected = {length: {key: cost[key] for key in costs[length]} for length, cost in summary.items()}
    yield Check("windows, passes of 20 steps", equality_error(costs, expected), EXACT)
    for name in ("window", "distinct_window"):
        found = [costs[length][f"{name}s_in_20_steps"] * WINDOW_FRAMES / int(length) for length in summary]
        per_frame = [cost[f"{name}_frames_per_output_frame"] for cost in summary.values()]
        yield Check(f"windows, {name} frames per frame", array_error(found, per_frame), COST_TOLERANCE)


def _step_error(num_frames: int, golden: dict[str, Any]) -> float:
    step = golden["step"]
    windows = published_windows(num_frames, step)
    kept = Counter(target for window in windows for target in window.targets)
    actual = {
        "raw": [list(frames) for frames in sliding_frames(num_frames, step)],
        "accumulate_onto": [list(window.targets) for window in windows],
        "counter": [kept[frame] for frame in range(num_frames)],
    }
    expected = {
        "raw": [window["raw"] for window in golden["windows"]],
        "accumulate_onto": [window["accumulate_onto"] for window in golden["windows"]],
        "counter": golden["counter"],
    }
    if num_frames >= WINDOW_FRAMES:  # below, the published windows run out of the clip; such clips are padded
        actual["frames"] = [list(window.frames) for window in windows]
        actual["positions"] = [list(window.positions) for window in windows]
        expected["frames"] = [window["frames"] for window in golden["windows"]]
        expected["positions"] = [
            _golden_positions(window["len_context"], window["accumulate_from"]) for window in golden["windows"]
        ]
    return equality_error(actual, expected)


def _golden_positions(count: int, end: str) -> list[int]:
    positions = list(range(WINDOW_FRAMES))
    return positions[:count] if end == "first" else positions[-count:]


def _anomalies(first: int, last: int) -> dict[str, Any]:
    """What goes wrong with windows of clips of first..last frames at any offset, in the golden record's form."""
    wrong: dict[str, list[int]] = {
        "counter_zero": [], "misaligned": [], "window_not_12": [], "index_out_of_range": []
    }  # fmt: skip
    counter_max = 0
    for num_frames in range(first, last + 1):
        for offset in range(WINDOW_FRAMES):
            windows = published_windows(num_frames, offset)
            kept = Counter(target for window in windows for target in window.targets)
            counter_max = max(counter_max, *kept.values())
            if len(kept) != num_frames:
                wrong["counter_zero"].append(num_frames)
            if any(window.first < 0 or window.first + WINDOW_FRAMES > num_frames for window in windows):
                wrong["index_out_of_range"].append(num_frames)
            elif any(not 0 <= window.positions[0] <= window.positions[-1] < WINDOW_FRAMES for window in windows):
                wrong["misaligned"].append(num_frames)
    records = {
        name: {"count": len(lengths), "lengths": sorted(set(lengths)), "max_length": max(lengths, default=None)}
        for name, lengths in wrong.items()
    }
    return {**records, "counter_max": counter_max}


def _cost(num_frames: int, num_steps: int) -> dict[str, int]:
    return {
        "windows_in_20_steps": sum(len(published_windows(num_frames, step)) for step in range(num_steps)),
        "distinct_windows_in_20_steps": sum(len(distinct_windows(num_frames, step)) for step in range(num_steps)),
    }


def check_scheduler(goldens: Goldens) -> Iterator[Check]:
    """Timesteps, alphas, and three single steps."""
    golden = goldens.json("scheduler.json")
    config = ScheduleConfig()
    numbers = [config.beta_start, config.beta_end, config.num_train_timesteps]
    on_record = [golden["config"]["beta_start"], golden["config"]["beta_end"], golden["num_train_timesteps"]]
    yield Check("betas and training timesteps", equality_error(numbers, on_record), EXACT)
    for key in ("steps_20", "steps_4"):
        expected = golden[key]
        schedule = DdimSchedule(len(expected["timesteps"]))
        previous = [schedule.previous_timestep(timestep) for timestep in schedule.timesteps]
        yield Check(f"{key} timesteps", equality_error(list(schedule.timesteps), expected["timesteps"]), EXACT)
        yield Check(f"{key} previous", equality_error(previous, expected["previous_timesteps"]), EXACT)
        for name, timesteps in (("alphas_cumprod", schedule.timesteps), ("alphas_cumprod_previous", previous)):
            alphas = [schedule.alpha(timestep) for timestep in timesteps]
            yield Check(f"{key} {name}", array_error(alphas, expected[name]), SCHEDULE_TOLERANCE)

    step = golden["step"]
    schedule = DdimSchedule(step["num_inference_steps"])
    sampled = golden["alphas_cumprod_samples"]
    alphas = [schedule.alpha(int(timestep)) for timestep in sampled]
    yield Check("sampled alphas", array_error(alphas, list(sampled.values())), SCHEDULE_TOLERANCE)
    yield Check("final alpha", array_error(schedule.alpha(-1), golden["final_alpha_cumprod"]), SCHEDULE_TOLERANCE)
    sample, velocity = (goldens.input(name, step["inputs"][name]) for name in ("sched_sample", "sched_model_output"))
    arrays = goldens.arrays(step["file"])
    for timestep in step["timesteps"]:
        following = schedule.step(velocity, timestep, sample)
        original = schedule.predicted_original(velocity, timestep, sample)
        yield Check(
            f"step from {timestep}", array_error(following, arrays[f"prev_sample_t{timestep}"]), SCHEDULE_TOLERANCE
        )
        yield Check(
            f"x0 at {timestep}", array_error(original, arrays[f"pred_original_t{timestep}"]), SCHEDULE_TOLERANCE
        )


def check_seed_noise(goldens: Goldens) -> Iterator[Check]:
    """The initial noise of a seed, two draws in a row, in float32 and rounded to float16."""
    golden = goldens.json("seed_noise.json")
    for name, draws in golden["draws"].items():
        dtype = getattr(torch, name.split("_")[0])
        generator = seeded_generator(golden["seed"])
        first = draw_noise(generator, draws["first"]["shape"]).to(dtype)
        second = draw_noise(generator, draws["second_draw_same_generator"]["shape"]).to(dtype)
        yield Check(f"noise {name}, first draw", stats_error(first, draws["first"]), NOISE_TOLERANCE)
        yield Check(
            f"noise {name}, second draw", stats_error(second, draws["second_draw_same_generator"]), NOISE_TOLERANCE
        )
        yield Check(f"noise {name}, first numbers", array_error(first.flatten()[:8], draws["first_8"]), NOISE_TOLERANCE)


def check_denoise_loop(goldens: Goldens) -> Iterator[Check]:
    """All steps over a clip of several windows, with guidance."""
    golden = goldens.json("denoise_loop.json")
    arrays = goldens.arrays("denoise_loop.npz")
    noise, gt_mean, audio = (
        goldens.input(name, *golden["inputs"][name]) for name in ("loop_noise", "loop_gt_mean", "loop_audio")
    )
    model = tiny_model(goldens)
    clean_latents = model.config.vae.scaling_factor * gt_mean
    reference = read_reference(model, clean_latents, lambda: None)
    conditions = Conditions(clean_latents, audio, reference, golden["guidance"])
    windows = plan_windows(noise.shape[2], golden["steps"])

    latents = noise
    timesteps = []
    for index, step in enumerate(denoising_steps(model, noise, conditions, windows, lambda done, total: None)):
        latents = step.latents
        timesteps.append(step.timestep)
        velocity = golden["guided_prediction"][index]
        yield Check(f"loop, velocity {index}", stats_error(step.velocity, velocity), LOOP_TOLERANCE)
        yield Check(f"loop, after step {index}", array_error(latents, arrays[f"after_step_{index}"]), LOOP_TOLERANCE)
        stats = golden["after_step"][index]
        yield Check(f"loop, after step {index}, record", stats_error(latents, stats), LOOP_TOLERANCE)
    yield Check("loop, timesteps", equality_error(timesteps, golden["timesteps"]), EXACT)
    finished = keep_outside_mouth(latents, clean_latents)
    yield Check("loop, finished latents", stats_error(finished, golden["final"]), LOOP_TOLERANCE)
