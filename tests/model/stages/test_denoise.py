"""The denoise stage with the real networks at their smallest, untrained."""

from copy import deepcopy
from dataclasses import replace
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from model.errors import DeviceOutOfMemory
from model.networks.mouth_mask import mouth_mask
from model.schedule import draw_noise, seeded_generator
from model.stages.denoise import (
    Conditions,
    OnStep,
    crops_to_pixels,
    decode_frame,
    decode_latents,
    denoise,
    denoise_latents,
    denoising_steps,
    encode_crops,
    hold_last_frame,
    predict_velocity,
    read_reference,
)
from model.stages.plan_windows import plan_windows
from model.weights import HighSyncModel, load_model
from model.windows import WINDOW_FRAMES

STEPS = 1
MASK = mouth_mask(32).bool()


@pytest.fixture(scope="module")
def model() -> HighSyncModel:
    return load_model("tiny", device=torch.device("cpu"), dtype=torch.float32)


def crops_of(frames: int) -> Tensor:
    noise = torch.rand(frames, 3, 8, 8, generator=torch.Generator().manual_seed(frames)) * 255
    large = nn.functional.interpolate(noise, size=256, mode="bilinear")
    return large.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def audio_of(frames: int, seed: int = 1) -> Tensor:
    return draw_noise(seeded_generator(seed), (frames, 50, 384))


def ignore(*_: int) -> None:
    """Nobody watches."""


def render(
    model: HighSyncModel,
    crops: Tensor,
    audio: Tensor,
    *,
    seed: int = 42,
    guidance_scale: float = 1.0,
    on_step: OnStep = ignore,
) -> Tensor:
    return denoise(
        model,
        crops,
        audio,
        windows=plan_windows(len(crops), STEPS),
        guidance_scale=guidance_scale,
        generator=seeded_generator(seed),
        on_step=on_step,
    )


@pytest.fixture(scope="module")
def rendered(model: HighSyncModel) -> Tensor:
    return render(model, crops_of(12), audio_of(12))


@pytest.fixture(scope="module")
def conditions(model: HighSyncModel) -> Conditions:
    """Of a clip of 14 frames: two windows in every step."""
    with torch.inference_mode():
        latents = encode_crops(model, crops_of(14), ignore)
        return Conditions(latents, audio_of(14)[None], read_reference(model, latents, ignore), guidance_scale=1.0)


def test_a_clip_comes_out_in_the_form_it_went_in(rendered: Tensor) -> None:
    assert rendered.shape == (12, 256, 256, 3)
    assert rendered.dtype == torch.uint8


@torch.inference_mode()
def test_latents_outside_the_mouth_are_the_crops_own(model: HighSyncModel, conditions: Conditions) -> None:
    noise = draw_noise(seeded_generator(0), conditions.latents.shape)
    finished = denoise_latents(model, noise, conditions, plan_windows(14, STEPS), ignore)
    assert torch.equal(finished[..., ~MASK], conditions.latents[..., ~MASK])
    assert not torch.allclose(finished[..., MASK], conditions.latents[..., MASK], atol=0.1)


@torch.inference_mode()
def test_noise_outside_the_mouth_is_never_seen(model: HighSyncModel, conditions: Conditions) -> None:
    noise = draw_noise(seeded_generator(0), conditions.latents.shape)
    other = torch.where(MASK, noise, -noise)
    first, second = (
        next(denoising_steps(model, drawn, conditions, plan_windows(14, 1), ignore)).velocity
        for drawn in (noise, other)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize("guidance_scale", [1.0, 3.5])
@torch.inference_mode()
def test_overlapping_windows_are_averaged_with_and_without_guidance(
    model: HighSyncModel, conditions: Conditions, guidance_scale: float
) -> None:
    # Given a step of two windows that share frames
    conditions = replace(conditions, guidance_scale=guidance_scale)
    plan = plan_windows(14, 1)
    first, second = plan.steps[0]
    shared = sorted(set(first.targets) & set(second.targets))
    latents = torch.where(MASK, draw_noise(seeded_generator(0), conditions.latents.shape), conditions.latents)
    # When it is taken
    step = next(denoising_steps(model, latents, conditions, plan, ignore))
    # Then a shared frame follows the mean of what both saw, another frame what its one window saw
    seen = [predict_velocity(model, latents, step.timestep, window, conditions) for window in (first, second)]
    both = [(seen[0][:, :, frame - first.first] + seen[1][:, :, frame - second.first]) / 2 for frame in shared]
    assert shared
    assert torch.allclose(step.velocity[:, :, shared], torch.stack(both, dim=2), atol=1e-5)
    assert torch.allclose(step.velocity[:, :, 0], seen[0][:, :, 0], atol=1e-5)


@torch.inference_mode()
def test_guidance_moves_on_along_the_difference(model: HighSyncModel, conditions: Conditions) -> None:
    window = plan_windows(14, 1).steps[0][0]
    noise = draw_noise(seeded_generator(0), conditions.latents.shape)

    def velocity(scale: float) -> Tensor:
        return predict_velocity(model, noise, 499, window, replace(conditions, guidance_scale=scale))

    assert torch.allclose(velocity(3.0) - velocity(2.0), velocity(2.0) - velocity(1.0), atol=1e-4)
    assert torch.equal(velocity(1.0), velocity(0.0))
    assert not torch.allclose(velocity(2.0), velocity(1.0), atol=1e-3)


def test_the_audio_moves_the_picture(model: HighSyncModel, rendered: Tensor) -> None:
    assert not torch.equal(render(model, crops_of(12), audio_of(12, seed=2)), rendered)


def test_a_seed_gives_the_same_picture_again_and_another_seed_another(model: HighSyncModel, rendered: Tensor) -> None:
    crops, audio = crops_of(12), audio_of(12)
    assert torch.equal(render(model, crops, audio, seed=42), rendered)
    assert not torch.equal(render(model, crops, audio, seed=43), rendered)


@pytest.mark.parametrize("frames", [1, 11])
def test_a_short_clip_is_rendered_as_one_that_holds_its_last_frame(model: HighSyncModel, frames: int) -> None:
    crops, audio = crops_of(frames), audio_of(frames)
    held = render(model, hold_last_frame(crops, 12, dim=0), hold_last_frame(audio, 12, dim=0))
    assert torch.allclose(render(model, crops, audio).float(), held[:frames].float(), atol=1)


def test_a_long_clip_is_not_held() -> None:
    assert hold_last_frame(torch.arange(14), WINDOW_FRAMES, dim=0).tolist() == list(range(14))


def test_pixels_span_minus_one_to_one_however_bright_the_clip() -> None:
    assert crops_to_pixels(
        torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 2, 1)
    ).flatten().tolist() == pytest.approx([-1, 1])
    bright = crops_to_pixels(torch.full((1, 2, 2, 3), 128, dtype=torch.uint8))
    assert bright.flatten().tolist() == pytest.approx([2 * 128 / 255 - 1] * 12, abs=1e-6)  # float32 near zero


def test_pixels_keep_their_place() -> None:
    crops = torch.arange(2 * 4 * 5 * 3, dtype=torch.uint8).view(2, 4, 5, 3)
    pixels = crops_to_pixels(crops)
    assert pixels.shape == (2, 3, 4, 5)
    assert pixels.is_contiguous()
    assert pixels[1, 2, 3, 4] == (crops[1, 3, 4, 2].float() / 255 - 0.5) / 0.5


@torch.inference_mode()
def test_pictures_are_truncated_to_whole_numbers(model: HighSyncModel, conditions: Conditions) -> None:
    latents = conditions.latents[:, :, :1]
    exact = decode_frame(model, latents[0].transpose(0, 1))
    assert torch.equal(decode_latents(model, latents, ignore)[0], (exact * 255).floor().to(torch.uint8))
    assert exact.min() >= 0
    assert exact.max() <= 1


def test_every_pass_is_reported_and_so_is_the_work_around_them(model: HighSyncModel) -> None:
    reports: list[tuple[int, int]] = []
    render(model, crops_of(14), audio_of(14), on_step=lambda done, total: reports.append((done, total)))
    assert reports == [
        *[(0, 2)] * 3,  # 14 frames in batches of 5 into the VAE
        *[(0, 2)] * 2,  # and in batches of 12 into the reference UNet
        (1, 2),
        (2, 2),
        *[(2, 2)] * 14,  # and one by one out of the VAE
    ]


class Canceled(Exception):
    """Somebody changed their mind."""


@pytest.mark.parametrize("pieces", [0, 5, 8])
def test_a_caller_may_stop_between_any_two_pieces_of_work(model: HighSyncModel, pieces: int) -> None:
    seen = []

    def stop(done: int, total: int) -> None:
        seen.append(done)
        if len(seen) > pieces:
            raise Canceled

    with pytest.raises(Canceled):
        render(model, crops_of(14), audio_of(14), on_step=stop)
    assert len(seen) == pieces + 1


def test_a_full_device_is_an_error_of_its_own(model: HighSyncModel) -> None:
    def fill_up(done: int, total: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(DeviceOutOfMemory, match="14 frames"):
        render(model, crops_of(14), audio_of(14), on_step=fill_up)


def test_numbers_out_of_range_are_not_passed_off_as_a_picture(model: HighSyncModel) -> None:
    vae = cast(nn.Module, deepcopy(model.vae))
    next(vae.get_submodule("decoder").parameters()).data.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="not finite"):
        decode_frame(replace(model, vae=vae), torch.zeros(1, 4, 32, 32))


@pytest.mark.parametrize(
    ("audio_frames", "plan_frames", "message"), [(11, 13, "as many audio features"), (13, 14, "planned for 14 frames")]
)
def test_what_does_not_belong_together_is_refused(
    model: HighSyncModel, audio_frames: int, plan_frames: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        denoise(
            model,
            crops_of(13),
            audio_of(audio_frames),
            windows=plan_windows(plan_frames, 1),
            guidance_scale=1.0,
            generator=seeded_generator(0),
            on_step=ignore,
        )


def test_reduced_precision_gives_nearly_the_same_picture(rendered: Tensor) -> None:
    reduced = load_model("tiny", device=torch.device("cpu"), dtype=torch.bfloat16)
    rounded = render(reduced, crops_of(12), audio_of(12))
    assert (rounded.float() - rendered.float()).abs().mean() < 2
