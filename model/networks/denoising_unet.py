"""The denoising UNet: predicts the velocity of a window of noisy crops."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from model.networks.attention import DenoisingTransformer
from model.networks.config import UNetConfig
from model.networks.motion_module import MotionModule
from model.networks.reference_features import ReferenceFeatures
from model.networks.resnet import Downsample, Resnet, TimeEmbedding, Upsample, up_resnets

LayerReferences = tuple[Tensor, ...] | tuple[None, ...]
"""Reference tokens of each transformer of a block, (N, H*W, C) each, or None for each."""

_NOTHING_DOWN: tuple[LayerReferences, ...] = ((None,) * 2,) * 3
_NOTHING_UP: tuple[LayerReferences, ...] = ((None,) * 3,) * 3


class DenoisingUNet(nn.Module):
    """Stable Diffusion's UNet over the frames of a window, with audio attention and motion modules (docs/model.md).

    Frames ride in the batch: inside, every tensor is (B*F, C, H, W), and only the motion modules look across frames.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        c0, c1, c2, c3 = config.channels
        self.conv_in = nn.Conv2d(config.latent_channels, c0, 3, padding=1)
        self.time_embedding = TimeEmbedding(config)
        self.down_blocks = nn.ModuleList(
            [
                AttentionDownBlock(config, c0, c0),
                AttentionDownBlock(config, c0, c1),
                AttentionDownBlock(config, c1, c2),
                DownBlock(config, c2, c3),
            ]
        )
        self.mid_block = MidBlock(config, c3)
        self.up_blocks = nn.ModuleList(
            [
                UpBlock(config, c3, (c3, c3, c2), c3),
                AttentionUpBlock(config, c3, (c2, c2, c1), c2),
                AttentionUpBlock(config, c2, (c1, c1, c0), c1),
                LastUpBlock(config, c1, (c0, c0, c0), c0),
            ]
        )
        self.conv_norm_out = nn.GroupNorm(config.norm_groups, c0, eps=1e-5)
        self.conv_out = nn.Conv2d(c0, config.latent_channels, 3, padding=1)

    def forward(
        self,
        latents: Tensor,
        timestep: int | Tensor,
        audio_features: Tensor | None,
        reference_features: ReferenceFeatures | None,
    ) -> Tensor:
        """
        latents            : (B, 4, F, h, w) noisy inside the mouth rectangle, clean outside
        timestep           : one number in [0, 999] for all rows, or (B,)
        audio_features     : (B, F, 50, audio_width); None = the unconditional row, as if all were zero
        reference_features : of B*F frames, row after row; None = the unconditional row, no reference at all
        returns            : (B, 4, F, h, w) predicted velocity
        """
        rows, channels, frames, height, width = latents.shape
        if reference_features is not None and reference_features.frames != rows * frames:
            raise ValueError(f"{rows * frames} frames of latents, but {reference_features.frames} of reference")
        audio = None if audio_features is None else audio_features.flatten(0, 1)
        down, mid, up = (
            (_NOTHING_DOWN, None, _NOTHING_UP)
            if reference_features is None
            else (reference_features.down, reference_features.mid, reference_features.up)
        )
        time_embedding = self.time_embedding(torch.as_tensor(timestep, device=latents.device).reshape(-1))
        hidden = self.conv_in(latents.transpose(1, 2).flatten(0, 1))

        hidden, skips_0 = self.down_blocks[0](hidden, time_embedding, audio, down[0], frames)
        hidden, skips_1 = self.down_blocks[1](hidden, time_embedding, audio, down[1], frames)
        hidden, skips_2 = self.down_blocks[2](hidden, time_embedding, audio, down[2], frames)
        hidden, skips_3 = self.down_blocks[3](hidden, time_embedding, frames)
        hidden = self.mid_block(hidden, time_embedding, audio, mid, frames)
        hidden = self.up_blocks[0](hidden, skips_3, time_embedding, frames)
        hidden = self.up_blocks[1](hidden, skips_2, time_embedding, audio, up[0], frames)
        hidden = self.up_blocks[2](hidden, skips_1, time_embedding, audio, up[1], frames)
        hidden = self.up_blocks[3](hidden, skips_0, time_embedding, audio, up[2], frames)

        velocity: Tensor = self.conv_out(F.silu(self.conv_norm_out(hidden)))
        return velocity.reshape(rows, frames, channels, height, width).transpose(1, 2)


class AttentionDownBlock(nn.Module):
    """Two (resnet, transformer, motion) layers, then half the size."""

    def __init__(self, config: UNetConfig, in_channels: int, out_channels: int) -> None:
        super().__init__()
        widths = (in_channels, out_channels)
        self.resnets = nn.ModuleList([Resnet(config, width, out_channels) for width in widths])
        self.attentions = nn.ModuleList([DenoisingTransformer(config, out_channels) for _ in widths])
        self.motion_modules = nn.ModuleList([MotionModule(config, out_channels) for _ in widths])
        self.downsamplers = nn.ModuleList([Downsample(out_channels)])

    def forward(
        self, hidden: Tensor, time_embedding: Tensor, audio: Tensor | None, references: LayerReferences, frames: int
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(N, in, H, W) to (N, out, H/2, W/2); its input and layers as skips."""
        skips = [hidden]
        for resnet, attention, motion, reference in zip(
            self.resnets, self.attentions, self.motion_modules, references, strict=True
        ):
            hidden = resnet(hidden, time_embedding)
            hidden = attention(hidden, audio, reference)
            hidden = motion(hidden, frames)
            skips.append(hidden)
        return self.downsamplers[0](hidden), tuple(skips)


class DownBlock(nn.Module):
    """Two (resnet, motion) layers at the coarsest size."""

    def __init__(self, config: UNetConfig, in_channels: int, out_channels: int) -> None:
        super().__init__()
        widths = (in_channels, out_channels)
        self.resnets = nn.ModuleList([Resnet(config, width, out_channels) for width in widths])
        self.motion_modules = nn.ModuleList([MotionModule(config, out_channels) for _ in widths])

    def forward(self, hidden: Tensor, time_embedding: Tensor, frames: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(N, in, H, W) to (N, out, H, W); its input and layers as skips."""
        skips = [hidden]
        for resnet, motion in zip(self.resnets, self.motion_modules, strict=True):
            hidden = resnet(hidden, time_embedding)
            hidden = motion(hidden, frames)
            skips.append(hidden)
        return hidden, tuple(skips)


class MidBlock(nn.Module):
    """Resnet, transformer, motion, resnet."""

    def __init__(self, config: UNetConfig, channels: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList([Resnet(config, channels, channels) for _ in range(2)])
        self.attentions = nn.ModuleList([DenoisingTransformer(config, channels)])
        self.motion_modules = nn.ModuleList([MotionModule(config, channels)])

    def forward(
        self, hidden: Tensor, time_embedding: Tensor, audio: Tensor | None, reference: Tensor | None, frames: int
    ) -> Tensor:
        """(N, C, H, W) to the same."""
        hidden = self.resnets[0](hidden, time_embedding)
        hidden = self.attentions[0](hidden, audio, reference)
        hidden = self.motion_modules[0](hidden, frames)
        hidden = self.resnets[1](hidden, time_embedding)
        return hidden


class UpBlock(nn.Module):
    """Three (resnet, motion) layers, each with a skip, then twice the size."""

    def __init__(self, config: UNetConfig, in_channels: int, skip_channels: tuple[int, ...], out_channels: int) -> None:
        super().__init__()
        self.resnets = up_resnets(config, in_channels, skip_channels, out_channels)
        self.motion_modules = nn.ModuleList([MotionModule(config, out_channels) for _ in skip_channels])
        self.upsamplers = nn.ModuleList([Upsample(out_channels)])

    def forward(self, hidden: Tensor, skips: tuple[Tensor, ...], time_embedding: Tensor, frames: int) -> Tensor:
        """(N, in, H, W) and skips, used from the last, to (N, out, 2H, 2W)."""
        for resnet, motion, skip in zip(self.resnets, self.motion_modules, reversed(skips), strict=True):
            hidden = resnet(torch.cat([hidden, skip], dim=1), time_embedding)
            hidden = motion(hidden, frames)
        doubled: Tensor = self.upsamplers[0](hidden)
        return doubled


class LastUpBlock(nn.Module):
    """Three (resnet, transformer, motion) layers, each with a skip."""

    def __init__(self, config: UNetConfig, in_channels: int, skip_channels: tuple[int, ...], out_channels: int) -> None:
        super().__init__()
        self.resnets = up_resnets(config, in_channels, skip_channels, out_channels)
        self.attentions = nn.ModuleList([DenoisingTransformer(config, out_channels) for _ in skip_channels])
        self.motion_modules = nn.ModuleList([MotionModule(config, out_channels) for _ in skip_channels])

    def forward(
        self,
        hidden: Tensor,
        skips: tuple[Tensor, ...],
        time_embedding: Tensor,
        audio: Tensor | None,
        references: LayerReferences,
        frames: int,
    ) -> Tensor:
        """(N, in, H, W) and skips, used from the last, to (N, out, H, W)."""
        for resnet, attention, motion, skip, reference in zip(
            self.resnets, self.attentions, self.motion_modules, reversed(skips), references, strict=True
        ):
            hidden = resnet(torch.cat([hidden, skip], dim=1), time_embedding)
            hidden = attention(hidden, audio, reference)
            hidden = motion(hidden, frames)
        return hidden


class AttentionUpBlock(LastUpBlock):
    """The layers of the last up block, then twice the size."""

    def __init__(self, config: UNetConfig, in_channels: int, skip_channels: tuple[int, ...], out_channels: int) -> None:
        super().__init__(config, in_channels, skip_channels, out_channels)
        self.upsamplers = nn.ModuleList([Upsample(out_channels)])

    def forward(
        self,
        hidden: Tensor,
        skips: tuple[Tensor, ...],
        time_embedding: Tensor,
        audio: Tensor | None,
        references: LayerReferences,
        frames: int,
    ) -> Tensor:
        """(N, in, H, W) and skips, used from the last, to (N, out, 2H, 2W)."""
        hidden = super().forward(hidden, skips, time_embedding, audio, references, frames)
        doubled: Tensor = self.upsamplers[0](hidden)
        return doubled
