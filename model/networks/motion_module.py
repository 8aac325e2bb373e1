"""Attention over time, inside the mouth rectangle only."""

import math

import torch
from torch import Tensor, nn

from model.networks.attention import AttentionHeads, FeedForward
from model.networks.config import UNetConfig
from model.networks.mouth_mask import mouth_region


class PositionTable(nn.Module):
    """Sinusoids of the frame's place in the window, kept as the published buffer `pe`."""

    pe: Tensor

    def __init__(self, channels: int, max_frames: int) -> None:
        super().__init__()
        frames = torch.arange(max_frames, dtype=torch.float32)[:, None]
        angles = frames * torch.exp(torch.arange(0, channels, 2) * (-math.log(10000) / channels))
        table = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
        self.register_buffer("pe", table[None])

    def forward(self, tokens: Tensor) -> Tensor:
        """Add its position to each of (N, F, C) tokens."""
        return tokens + self.pe[:, : tokens.shape[1]]


class TemporalAttention(AttentionHeads):
    """Self-attention over the frames of one cell. Positions enter queries, keys and values."""

    def __init__(self, config: UNetConfig, channels: int) -> None:
        super().__init__(config, channels, channels)
        self.pos_encoder = PositionTable(channels, config.max_frames)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, F, C) to the same."""
        placed = self.pos_encoder(tokens)
        return self.attend(placed, placed)


class TemporalTransformerBlock(nn.Module):
    """Two temporal attentions and a feed-forward, each with its norm in front."""

    def __init__(self, config: UNetConfig, channels: int) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList([TemporalAttention(config, channels) for _ in range(2)])
        self.norms = nn.ModuleList([nn.LayerNorm(channels) for _ in range(2)])
        self.ff_norm = nn.LayerNorm(channels)
        self.ff = FeedForward(channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, F, C) to the same."""
        for norm, attention in zip(self.norms, self.attention_blocks, strict=True):
            tokens = tokens + attention(norm(tokens))
        output: Tensor = tokens + self.ff(self.ff_norm(tokens))
        return output


class TemporalTransformer(nn.Module):
    """The module's one child, as published: norm, projections and the block between them."""

    def __init__(self, config: UNetConfig, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(config.norm_groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.transformer_blocks = nn.ModuleList([TemporalTransformerBlock(config, channels)])
        self.proj_out = nn.Linear(channels, channels)
        nn.init.zeros_(self.proj_out.weight)
        nn.init.zeros_(self.proj_out.bias)

    def forward(self, hidden_states: Tensor, frames: int) -> Tensor:
        """
        hidden_states : (B*F, C, H, W), H = W
        frames        : F
        returns       : (B*F, C, H, W); outside the mouth rectangle it is the input

        Cells never mix here and what leaves the rectangle is dropped, so only the cells inside are computed. The
        group statistics still count every cell, those outside as zero (docs/model.md).
        """
        region = mouth_region(hidden_states.shape[-1])
        inside = (..., region.rows, region.columns)
        masked = torch.zeros_like(hidden_states)
        masked[inside] = hidden_states[inside]
        cells = self.norm(masked)[inside]

        tokens = self.proj_in(_time_last_but_one(cells, frames))
        tokens = self.transformer_blocks[0](tokens)
        moved = _frames_first(self.proj_out(tokens), cells.shape)

        output = hidden_states.clone()
        output[inside] = output[inside] + moved
        return output


class MotionModule(nn.Module):
    """Lets the frames of a window agree on the mouth's motion (docs/model.md). A single frame has none: it stays."""

    def __init__(self, config: UNetConfig, channels: int) -> None:
        super().__init__()
        self.temporal_transformer = TemporalTransformer(config, channels)

    def forward(self, hidden_states: Tensor, frames: int) -> Tensor:
        """(B*F, C, H, W) with F = frames to the same."""
        if frames == 1:
            return hidden_states
        output: Tensor = self.temporal_transformer(hidden_states, frames)
        return output


def _time_last_but_one(cells: Tensor, frames: int) -> Tensor:
    """(B*F, C, h, w) to (B*h*w, F, C)."""
    _, channels, height, width = cells.shape
    return cells.reshape(-1, frames, channels, height, width).permute(0, 3, 4, 1, 2).flatten(0, 2)


def _frames_first(tokens: Tensor, shape: torch.Size) -> Tensor:
    """(B*h*w, F, C) back to `shape` (B*F, C, h, w)."""
    _, _, height, width = shape
    return tokens.reshape(-1, height, width, *tokens.shape[1:]).permute(0, 3, 4, 1, 2).reshape(shape)
