"""The sampler's timesteps, its step, and the noise of a seed."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.parity.checks import array_error, stats_error
from model.parity.rules import Goldens
from model.schedule import DdimSchedule, ScheduleConfig, draw_noise, seeded_generator, zero_snr_alphas

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    """Numbers of the published sampler."""
    numbers: dict[str, Any] = json.loads((GOLDEN / "scheduler.json").read_text())
    return numbers


@pytest.mark.parametrize("key", ["steps_20", "steps_4"])
def test_a_run_takes_the_published_timesteps(published: dict[str, Any], key: str) -> None:
    expected = published[key]
    schedule = DdimSchedule(len(expected["timesteps"]))
    previous = [schedule.previous_timestep(timestep) for timestep in schedule.timesteps]
    assert list(schedule.timesteps) == expected["timesteps"]
    assert previous == expected["previous_timesteps"]
    assert [schedule.alpha(timestep) for timestep in schedule.timesteps] == pytest.approx(
        expected["alphas_cumprod"], abs=1e-6
    )


def test_alphas_are_the_published(published: dict[str, Any]) -> None:
    schedule = DdimSchedule(20)
    samples = published["alphas_cumprod_samples"]
    found = {timestep: schedule.alpha(int(timestep)) for timestep in samples}
    assert found == pytest.approx(samples, abs=1e-6)
    assert schedule.alpha(-1) == published["final_alpha_cumprod"]


@pytest.mark.parametrize("timestep", [999, 499, 49])
def test_a_step_goes_where_the_published_goes(published: dict[str, Any], timestep: int) -> None:
    # Given the published sample and velocity
    step = published["step"]
    rules = Goldens(GOLDEN, salt="")
    sample, velocity = (rules.input(name, step["inputs"][name]) for name in ("sched_sample", "sched_model_output"))
    # When one step of a run of 20 is taken
    schedule = DdimSchedule(step["num_inference_steps"])
    following = schedule.step(velocity, timestep, sample)
    original = schedule.predicted_original(velocity, timestep, sample)
    # Then it and its estimate of the end are the published ones
    assert array_error(following.flatten(), step["results"][f"prev_sample_t{timestep}"]) < 1e-6
    assert array_error(original.flatten(), step["results"][f"pred_original_t{timestep}"]) < 1e-6


@pytest.mark.parametrize("name", ["float32_12", "float16_12"])
def test_a_seed_means_the_published_noise(published: dict[str, Any], name: str) -> None:
    noise = published["noise"]
    draws, dtype = noise["draws"][name], getattr(torch, name.split("_", maxsplit=1)[0])
    generator = seeded_generator(noise["seed"])
    for draw in ("first", "second_draw_same_generator"):
        found = draw_noise(generator, draws[draw]["shape"]).to(dtype)
        assert stats_error(found, draws[draw]) < 1e-7, draw


@given(st.integers(1, 1000))
def test_every_run_starts_in_pure_noise_and_descends_evenly(num_inference_steps: int) -> None:
    schedule = DdimSchedule(num_inference_steps)
    gaps = [a - b for a, b in zip(schedule.timesteps, (*schedule.timesteps[1:], -1), strict=True)]
    assert len(schedule.timesteps) == num_inference_steps
    assert schedule.timesteps[0] == 999
    assert sum(gaps) == 1000
    assert all(abs(gap - 1000 / num_inference_steps) <= 1 for gap in gaps)
    assert schedule.previous_timestep(schedule.timesteps[-1]) == -1


@pytest.mark.parametrize("num_inference_steps", [0, -1, 1001])
def test_other_numbers_of_steps_are_refused(num_inference_steps: int) -> None:
    with pytest.raises(ValueError, match=r"1\.\.1000"):
        DdimSchedule(num_inference_steps)


def test_the_last_alpha_is_zero_and_the_first_stays() -> None:
    config = ScheduleConfig()
    alphas = zero_snr_alphas(config)
    assert alphas.shape == (config.num_train_timesteps,)
    assert alphas[-1] == 0
    assert float(alphas[0]) == pytest.approx(1 - config.beta_start, abs=1e-7)
    assert (alphas.diff() < 0).all()


@pytest.mark.parametrize("num_inference_steps", [1, 3, 7, 20])
def test_true_velocities_lead_to_the_sample_in_any_number_of_steps(num_inference_steps: int) -> None:
    # Given a sample, noise, and a network that always sees the truth
    generator = seeded_generator(5)
    sample, noise = draw_noise(generator, (1, 4, 3, 8, 8)), draw_noise(generator, (1, 4, 3, 8, 8))
    schedule = DdimSchedule(num_inference_steps)
    # When the noise is denoised with the true velocities
    latents = noise
    for timestep in schedule.timesteps:
        alpha = schedule.alpha(timestep)
        latents = schedule.step(math.sqrt(alpha) * noise - math.sqrt(1 - alpha) * sample, timestep, latents)
    # Then the sample comes out
    assert torch.allclose(latents, sample, atol=1e-4)


def test_steps_compute_in_float32() -> None:
    half = torch.zeros(1, 4, 1, 2, 2, dtype=torch.float16)
    assert DdimSchedule(4).step(half, 999, half).dtype == torch.float32


def test_noise_is_the_same_for_a_seed_and_another_for_another() -> None:
    shape = (1, 4, 12, 8, 8)
    assert torch.equal(draw_noise(seeded_generator(1), shape), draw_noise(seeded_generator(1), shape))
    assert not torch.equal(draw_noise(seeded_generator(1), shape), draw_noise(seeded_generator(2), shape))
