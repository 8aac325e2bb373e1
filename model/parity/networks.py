"""Checks of the networks: keys and shapes, reference features, one denoising pass inside out, the motion module."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from model.networks.attention import DenoisingTransformerBlock
from model.networks.config import FULL, TINY
from model.networks.denoising_unet import DenoisingUNet
from model.networks.motion_module import MotionModule
from model.networks.mouth_mask import mouth_region
from model.networks.reference_features import ReferenceFeatures
from model.networks.reference_unet import ReferenceUNet
from model.parity.checks import EXACT, Check, array_error, equality_error, stats_error, worst
from model.parity.rules import Goldens

FEATURES_TOLERANCE = 1e-4
STEP_TOLERANCE = 1e-4
MOTION_TOLERANCE = 1e-5


def check_manifests(goldens: Goldens) -> Iterator[Check]:
    """Both UNets at full size have exactly the published tensors."""
    for name, network_class in (("reference_unet", ReferenceUNet), ("denoising_unet", DenoisingUNet)):
        manifest = goldens.json(f"manifest_{name}.json")
        with torch.device("meta"):
            network = network_class(FULL)
        parameters = {key: list(tensor.shape) for key, tensor in network.state_dict().items()}
        buffers = {key for key, _ in network.named_buffers()}
        yield Check(f"{name} keys and shapes", equality_error(parameters, dict(manifest["tensors"])), EXACT)
        yield Check(f"{name} buffers", equality_error(buffers, set(manifest["buffers"])), EXACT)
        count = sum(parameter.numel() for parameter in network.parameters())
        yield Check(f"{name} parameters", equality_error(count, manifest["total_parameters"]), EXACT)
        for part, words in (("motion_module", ("motion_modules",)), ("audio_attention", ("attn2", "norm2"))):
            if expected := manifest.get(f"{part}_parameters"):
                found = _count_parameters(network, words)
                yield Check(f"{name} parameters, {part}", equality_error(found, expected), EXACT)


def _count_parameters(network: nn.Module, words: tuple[str, ...]) -> int:
    """Numbers in the parameters that have one of these words in their path, the resnets' left out."""
    return sum(
        parameter.numel()
        for key, parameter in network.named_parameters()
        if any(word in key.split(".") for word in words) and "resnets" not in key
    )


def check_reference_bank(goldens: Goldens) -> Iterator[Check]:
    """The features of the reference UNet: their pairing, their values, and what does not reach them."""
    golden = goldens.json("reference_bank.json")
    network = ReferenceUNet(TINY)
    goldens.fill(network)
    latents = goldens.input("ref_latents", golden["input_shape"])
    features = network(latents).named()

    pairs = [(bank["reader"], bank["writer"]) for bank in golden["banks"]]
    yield Check("reference features, pairing", equality_error([(path, path) for path in features], pairs), EXACT)
    errors = {bank["writer"]: stats_error(features[bank["writer"]], bank) for bank in golden["banks"]}
    yield worst("reference features, 16 blocks", errors, FEATURES_TOLERANCE)
    full = golden["full_tensor"]
    smallest = goldens.arrays(full["file"])[full["key"]]
    yield Check("reference features, mid block", array_error(features[full["writer"]], smallest), FEATURES_TOLERANCE)

    manifest = goldens.json("manifest_reference_unet.json")
    _erase(network, manifest["used_by_forward_but_without_effect_on_any_banked_tensor"])
    erased = network(latents).named()
    same = [equality_error(torch.equal(erased[path], tensor), True) for path, tensor in features.items()]
    yield worst("reference features, keys without effect", same, EXACT)


def _erase(network: nn.Module, keys: list[str]) -> None:
    state = network.state_dict()
    network.load_state_dict({**state, **{key: torch.full_like(state[key], torch.nan) for key in keys}})


def check_motion_module(goldens: Goldens) -> Iterator[Check]:
    """One motion module: its keys, its positions, the mouth rectangle and all around it."""
    golden = goldens.json("motion_module.json")
    module = MotionModule(TINY, golden["input_shape"][1])
    goldens.fill(module)
    state = module.state_dict()
    shapes = {key: list(tensor.shape) for key, tensor in state.items()}
    yield Check("motion module, keys", equality_error(shapes, dict(golden["state_dict"])), EXACT)
    table = next(tensor for key, tensor in state.items() if key.endswith(".pe"))
    rows = golden["positional_encoding"]["rows_0_to_3"]
    yield Check("motion module, positions", array_error(table[0, : len(rows)], rows), MOTION_TOLERANCE)

    given = goldens.input(golden["input"], golden["input_shape"])
    output = by_frame(module(_as_frames(given), given.shape[2]), rows=1)
    region = mouth_region(given.shape[-1])
    bounds = [[region.rows.start, region.rows.stop], [region.columns.start, region.columns.stop]]
    yield Check("motion module, rectangle", equality_error(bounds, [golden["rows"], golden["cols"]]), EXACT)
    inside = output[0, :, :, region.rows, region.columns]
    yield Check(
        "motion module, inside", array_error(inside, goldens.arrays("motion_module.npz")["inside"]), MOTION_TOLERANCE
    )
    yield Check("motion module, whole output", stats_error(output, golden["output"]), MOTION_TOLERANCE)
    outside = torch.ones(given.shape[-2:], dtype=torch.bool)
    outside[region.rows, region.columns] = False
    untouched = torch.equal(output[..., outside], given[..., outside])
    yield Check("motion module, outside untouched", equality_error(untouched, True), EXACT)


def check_denoise_step(goldens: Goldens) -> Iterator[Check]:
    """One pass of the denoising UNet, the conditional row alone and with the unconditional one, module by module."""
    golden = goldens.json("denoise_step_intermediates.json")
    inputs = {name: goldens.input(name, shape) for name, shape in golden["inputs"].items()}
    reference_unet, denoising_unet = ReferenceUNet(TINY), DenoisingUNet(TINY)
    goldens.fill(reference_unet)
    goldens.fill(denoising_unet)

    def row(audio: Tensor | None, reference: ReferenceFeatures | None) -> dict[str, Tensor]:
        """All module outputs of one row, and its prediction."""
        with _Recorder(denoising_unet) as recorder:
            output = denoising_unet(inputs["step_latents"], golden["timestep"], audio, reference)
        return {**recorder.outputs(frames=output.shape[2]), "output": output}

    conditional = row(inputs["step_audio"], reference_unet(inputs["step_ref_latents"]))
    unconditional = row(None, None)
    compared = [*golden["cfg"]["tensors"], "output"]
    both = {name: torch.cat([unconditional[name], conditional[name]]) for name in compared}
    expected = goldens.arrays("denoise_step.npz")
    for case, outputs in (("no_cfg", conditional), ("cfg", both)):
        yield Check(f"denoising pass {case}", array_error(outputs["output"], expected[case]), STEP_TOLERANCE)
        tensors: Mapping[str, Mapping[str, Any]] = golden[case]["tensors"]
        errors = {name: stats_error(outputs[name], stats) for name, stats in tensors.items()}
        yield worst(f"denoising pass {case}, {len(errors)} modules", errors, STEP_TOLERANCE)
        yield Check(f"denoising pass {case}, output", stats_error(outputs["output"], golden[case]["output"]), 1e-4)


class _Recorder:
    """Listens to every module of a network while it is open. Only proofs look inside networks this way."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._inputs: dict[str, Tensor] = {}
        self._outputs: dict[str, Tensor] = {}

    def __enter__(self) -> "_Recorder":
        for path, module in self._network.named_modules():
            self._handles.append(module.register_forward_hook(self._hook(path)))
        return self

    def __exit__(self, *error: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _hook(self, path: str) -> Any:
        def keep(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            self._inputs[path] = inputs[0]
            self._outputs[path] = output[0] if isinstance(output, tuple) else output

        return keep

    def outputs(self, frames: int) -> dict[str, Tensor]:
        """What came out of each module: tokens as they are, pictures as (1, C, F, H, W).

        The unconditional row skips the audio attention, whose result it knows: that result and the norm in front of it
        are what they would have been.
        """
        recorded = dict(self._outputs)
        for path, module in self._network.named_modules():
            if isinstance(module, DenoisingTransformerBlock) and f"{path}.norm2" not in recorded:
                hidden = self._inputs[path] + recorded[f"{path}.attn1"]
                recorded[f"{path}.norm2"] = module.norm2(hidden)
                recorded[f"{path}.attn2"] = module.attn2.to_silence().expand_as(hidden)
        pictures = {path: by_frame(tensor, rows=1) for path, tensor in recorded.items() if tensor.ndim == 4}
        return {**recorded, **pictures}


def _as_frames(clip: Tensor) -> Tensor:
    """(B, C, F, H, W) to (B*F, C, H, W)."""
    return clip.transpose(1, 2).flatten(0, 1)


def by_frame(pictures: Tensor, *, rows: int) -> Tensor:
    """(B*F, C, H, W) to (B, C, F, H, W) with B = rows."""
    return pictures.reshape(rows, -1, *pictures.shape[1:]).transpose(1, 2)
