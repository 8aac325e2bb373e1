"""Convolutional parts shared by both UNets. Every tensor is (N, C, H, W): N frames, or N = rows * frames."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from model.networks.config import UNetConfig


class TimeEmbedding(nn.Module):
    """Timesteps to vectors: cosines first, then sines, then a two-layer perceptron (docs/model.md)."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.frequencies = config.channels[0] // 2
        self.linear_1 = nn.Linear(config.channels[0], config.time_width)
        self.linear_2 = nn.Linear(config.time_width, config.time_width)

    def forward(self, timesteps: Tensor) -> Tensor:
        """timesteps: (R,) numbers in [0, 999]. Returns (R, time_width)."""
        steps = torch.arange(self.frequencies, dtype=torch.float32, device=timesteps.device)
        angles = timesteps.float()[:, None] * torch.exp(-math.log(10000) / self.frequencies * steps)
        waves = torch.cat([angles.cos(), angles.sin()], dim=1).to(self.linear_1.weight.dtype)
        embedding: Tensor = self.linear_2(F.silu(self.linear_1(waves)))
        return embedding


class Resnet(nn.Module):
    """Two 3x3 convolutions around the time embedding, with a shortcut."""

    def __init__(self, config: UNetConfig, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(config.norm_groups, in_channels, eps=1e-5)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time_emb_proj = nn.Linear(config.time_width, out_channels)
        self.norm2 = nn.GroupNorm(config.norm_groups, out_channels, eps=1e-5)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, hidden_states: Tensor, time_embedding: Tensor) -> Tensor:
        """
        hidden_states  : (N, in_channels, H, W)
        time_embedding : (R, time_width), one for each run of N / R frames
        returns        : (N, out_channels, H, W)
        """
        shortcut = hidden_states if self.conv_shortcut is None else self.conv_shortcut(hidden_states)
        shift = self.time_emb_proj(F.silu(time_embedding))
        shift = shift.repeat_interleave(hidden_states.shape[0] // shift.shape[0], dim=0)
        hidden_states = self.conv1(F.silu(self.norm1(hidden_states)))
        hidden_states = hidden_states + shift[:, :, None, None]
        hidden_states = self.conv2(F.silu(self.norm2(hidden_states)))
        return hidden_states + shortcut


def up_resnets(
    config: UNetConfig, in_channels: int, skip_channels: tuple[int, ...], out_channels: int
) -> nn.ModuleList:
    """The resnets of an up block: each takes what came before it and one skip, in the order the skips are used."""
    widths = (in_channels, *[out_channels] * (len(skip_channels) - 1))
    return nn.ModuleList(
        [Resnet(config, width + skip, out_channels) for width, skip in zip(widths, skip_channels, strict=True)]
    )


class Downsample(nn.Module):
    """Halve height and width by a strided convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H/2, W/2)."""
        halved: Tensor = self.conv(hidden_states)
        return halved


class Upsample(nn.Module):
    """Double height and width by repeating cells, then smooth by a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, hidden_states: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, 2H, 2W)."""
        doubled: Tensor = self.conv(F.interpolate(hidden_states, scale_factor=2.0, mode="nearest"))
        return doubled
