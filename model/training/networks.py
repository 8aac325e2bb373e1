"""Both UNets as one network, so that several processes can train them together, and what each stage trains of them."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import apply_activation_checkpointing

from model.networks.attention import DenoisingTransformer, ReferenceTransformer
from model.networks.denoising_unet import DenoisingUNet
from model.networks.motion_module import MotionModule
from model.networks.reference_unet import ReferenceUNet
from model.networks.resnet import Resnet

CHECKPOINTED = (Resnet, DenoisingTransformer, ReferenceTransformer, MotionModule)
"""With gradient checkpointing, what is inside these is computed again on the way back."""

STAGE_2_PARTS = (".motion_modules.", ".transformer_blocks.0.attn2.", ".transformer_blocks.0.norm2.")
"""Parts of the names of what stage 2 trains. Resnets have a `norm2`, too, which has nothing to do with audio."""


class UNets(nn.Module):
    """The denoising UNet with the reference UNet that tells it what the person looks like."""

    def __init__(self, denoising_unet: DenoisingUNet, reference_unet: ReferenceUNet) -> None:
        super().__init__()
        self.denoising_unet = denoising_unet
        self.reference_unet = reference_unet

    def forward(
        self, latents: Tensor, timesteps: Tensor, audio_features: Tensor, reference_latents: Tensor | None
    ) -> Tensor:
        """
        latents           : (B, C, F, h, w) noisy
        timesteps         : (B,)
        audio_features    : (B, F, N, D)
        reference_latents : (B, C, h, w) clean, one for all frames of a row; None = no reference
        returns           : (B, C, F, h, w) predicted velocity
        """
        features = None
        if reference_latents is not None:
            rows, frames = latents.shape[0], latents.shape[2]
            features = self.reference_unet(reference_latents).select(
                [row for row in range(rows) for _ in range(frames)]
            )
        velocity: Tensor = self.denoising_unet(latents, timesteps, audio_features, features)
        return velocity


def learns_in_stage_1(name: str) -> bool:
    """Whether a parameter of UNets learns from single frames: all but motion."""
    return "motion_modules" not in name


def learns_in_stage_2(name: str) -> bool:
    """Whether a parameter of UNets learns from clips: motion, and how the denoiser listens."""
    return name.startswith("denoising_unet.") and any(part in name for part in STAGE_2_PARTS)


def make_learn(network: nn.Module, learns: Callable[[str], bool]) -> dict[str, nn.Parameter]:
    """Let exactly these parameters have gradients. Returns them by name."""
    chosen = {name: parameter for name, parameter in network.named_parameters() if learns(name)}
    network.requires_grad_(requires_grad=False)
    for parameter in chosen.values():
        parameter.requires_grad_(True)
    return chosen


def checkpoint_gradients(network: nn.Module) -> None:
    """Have activations computed again on the way back instead of kept: a third more time for a fraction of the memory.

    The names in its state dict stay, those of its parameters do not.
    """
    apply_activation_checkpointing(network, check_fn=lambda module: isinstance(module, CHECKPOINTED))
