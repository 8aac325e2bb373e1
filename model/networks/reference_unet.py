"""The reference UNet: reads the crop as it is and says what the denoiser may copy from it."""

from typing import cast

import torch
from torch import Tensor, nn

from model.networks.attention import ReferenceTransformer
from model.networks.config import UNetConfig
from model.networks.reference_features import ReferenceFeatures
from model.networks.resnet import Downsample, Resnet, TimeEmbedding, Upsample, up_resnets


class ReferenceUNet(nn.Module):
    """Stable Diffusion's 2D UNet without text attention and without output head (docs/model.md)."""

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

    def forward(self, latents: Tensor) -> ReferenceFeatures:
        """latents: (N, 4, h, w) clean, scaled latents of N crops. Timestep is always 0."""
        time_embedding = self.time_embedding(torch.zeros(1, device=latents.device))
        hidden_states = self.conv_in(latents)

        hidden_states, skips_0, down_0 = self.down_blocks[0](hidden_states, time_embedding)
        hidden_states, skips_1, down_1 = self.down_blocks[1](hidden_states, time_embedding)
        hidden_states, skips_2, down_2 = self.down_blocks[2](hidden_states, time_embedding)
        hidden_states, skips_3 = self.down_blocks[3](hidden_states, time_embedding)
        hidden_states, mid = self.mid_block(hidden_states, time_embedding)
        hidden_states = self.up_blocks[0](hidden_states, skips_3, time_embedding)
        hidden_states, up_1 = self.up_blocks[1](hidden_states, skips_2, time_embedding)
        hidden_states, up_2 = self.up_blocks[2](hidden_states, skips_1, time_embedding)
        up_3 = self.up_blocks[3](hidden_states, skips_0, time_embedding)

        return ReferenceFeatures(down=(down_0, down_1, down_2), mid=mid, up=(up_1, up_2, up_3))


class AttentionDownBlock(nn.Module):
    """Two (resnet, transformer) layers, then half the size."""

    def __init__(self, config: UNetConfig, in_channels: int, out_channels: int) -> None:
        super().__init__()
        widths = (in_channels, out_channels)
        self.resnets = nn.ModuleList([Resnet(config, width, out_channels) for width in widths])
        self.attentions = nn.ModuleList([ReferenceTransformer(config, out_channels) for _ in widths])
        self.downsamplers = nn.ModuleList([Downsample(out_channels)])

    def forward(
        self, hidden_states: Tensor, time_embedding: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        """(N, in, H, W) to (N, out, H/2, W/2); its input and layers as skips; the layers' features."""
        skips, features = [hidden_states], []
        for resnet, attention in zip(self.resnets, self.attentions, strict=True):
            hidden_states = resnet(hidden_states, time_embedding)
            hidden_states, normed = attention(hidden_states)
            skips.append(hidden_states)
            features.append(normed)
        return self.downsamplers[0](hidden_states), tuple(skips), tuple(features)


class DownBlock(nn.Module):
    """Two resnets at the coarsest size."""

    def __init__(self, config: UNetConfig, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList([Resnet(config, width, out_channels) for width in (in_channels, out_channels)])

    def forward(self, hidden_states: Tensor, time_embedding: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(N, in, H, W) to (N, out, H, W); its input and layers as skips."""
        skips = [hidden_states]
        for resnet in self.resnets:
            hidden_states = resnet(hidden_states, time_embedding)
            skips.append(hidden_states)
        return hidden_states, tuple(skips)


class MidBlock(nn.Module):
    """Resnet, transformer, resnet."""

    def __init__(self, config: UNetConfig, channels: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList([Resnet(config, channels, channels) for _ in range(2)])
        self.attentions = nn.ModuleList([ReferenceTransformer(config, channels)])

    def forward(self, hidden_states: Tensor, time_embedding: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) to the same, and its features (N, H*W, C)."""
        hidden_states = self.resnets[0](hidden_states, time_embedding)
        hidden_states, normed = self.attentions[0](hidden_states)
        return self.resnets[1](hidden_states, time_embedding), normed


class UpBlock(nn.Module):
    """Three resnets, each with a skip, then twice the size."""

    def __init__(self, config: UNetConfig, in_channels: int, skip_channels: tuple[int, ...], out_channels: int) -> None:
        super().__init__()
        self.resnets = up_resnets(config, in_channels, skip_channels, out_channels)
        self.upsamplers = nn.ModuleList([Upsample(out_channels)])

    def forward(self, hidden_states: Tensor, skips: tuple[Tensor, ...], time_embedding: Tensor) -> Tensor:
        """(N, in, H, W) and skips, used from the last, to (N, out, 2H, 2W)."""
        for resnet, skip in zip(self.resnets, reversed(skips), strict=True):
            hidden_states = resnet(torch.cat([hidden_states, skip], dim=1), time_embedding)
        doubled: Tensor = self.upsamplers[0](hidden_states)
        return doubled


class AttentionUpBlock(nn.Module):
    """Three (resnet, transformer) layers, each with a skip, then twice the size."""

    def __init__(self, config: UNetConfig, in_channels: int, skip_channels: tuple[int, ...], out_channels: int) -> None:
        super().__init__()
        self.resnets = up_resnets(config, in_channels, skip_channels, out_channels)
        self.attentions = nn.ModuleList([ReferenceTransformer(config, out_channels) for _ in skip_channels])
        self.upsamplers = nn.ModuleList([Upsample(out_channels)])

    def forward(
        self, hidden_states: Tensor, skips: tuple[Tensor, ...], time_embedding: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(N, in, H, W) and skips, used from the last, to (N, out, 2H, 2W); the layers' features."""
        features = []
        for resnet, attention, skip in zip(self.resnets, self.attentions, reversed(skips), strict=True):
            hidden_states = resnet(torch.cat([hidden_states, skip], dim=1), time_embedding)
            hidden_states, normed = attention(hidden_states)
            features.append(normed)
        return self.upsamplers[0](hidden_states), tuple(features)


class LastUpBlock(nn.Module):
    """Three (resnet, transformer) layers of which only the features matter: nothing after the last is computed."""

    def __init__(self, config: UNetConfig, in_channels: int, skip_channels: tuple[int, ...], out_channels: int) -> None:
        super().__init__()
        self.resnets = up_resnets(config, in_channels, skip_channels, out_channels)
        self.attentions = nn.ModuleList([ReferenceTransformer(config, out_channels) for _ in skip_channels])

    def forward(self, hidden_states: Tensor, skips: tuple[Tensor, ...], time_embedding: Tensor) -> tuple[Tensor, ...]:
        """(N, in, H, W) and skips, used from the last, to the layers' features (N, H*W, out)."""
        skip_2, skip_1, skip_0 = skips
        hidden_states = self.resnets[0](torch.cat([hidden_states, skip_0], dim=1), time_embedding)
        hidden_states, first = self.attentions[0](hidden_states)
        hidden_states = self.resnets[1](torch.cat([hidden_states, skip_1], dim=1), time_embedding)
        hidden_states, second = self.attentions[1](hidden_states)
        hidden_states = self.resnets[2](torch.cat([hidden_states, skip_2], dim=1), time_embedding)
        last = cast(ReferenceTransformer, self.attentions[2])
        return first, second, last.features(hidden_states)
