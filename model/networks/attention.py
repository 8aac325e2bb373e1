"""Attention and the two kinds of spatial transformer: one that writes reference features, one that reads them."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from model.networks.config import UNetConfig


class AttentionHeads(nn.Module):
    """What every attention here is made of: queries, keys and values without bias, the output with one."""

    def __init__(self, config: UNetConfig, channels: int, context_channels: int) -> None:
        super().__init__()
        self.heads = config.attention_heads
        self.to_q = nn.Linear(channels, channels, bias=False)
        self.to_k = nn.Linear(context_channels, channels, bias=False)
        self.to_v = nn.Linear(context_channels, channels, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def attend(self, tokens: Tensor, context: Tensor) -> Tensor:
        """
        tokens  : (N, T, channels) that ask
        context : (N, S, context_channels) that answer
        returns : (N, T, channels)
        """
        query, key, value = (
            projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projected in (self.to_q(tokens), self.to_k(context), self.to_v(context))
        )
        attended = F.scaled_dot_product_attention(query, key, value)
        output: Tensor = self.to_out[0](attended.transpose(1, 2).flatten(2))
        return output


class Attention(AttentionHeads):
    """Attention of the cells of a frame to something."""

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """(N, T, channels) that ask, (N, S, context_channels) that answer, to (N, T, channels)."""
        return self.attend(tokens, context)

    def to_silence(self) -> Tensor:
        """What attention to all-zero context gives every token: its values are zero, so the output bias. (channels,)"""
        return cast(nn.Linear, self.to_out[0]).bias


class GatedLinear(nn.Module):
    """A linear layer whose second half gates the first through GELU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(in_channels, 2 * out_channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T, in_channels) to (N, T, out_channels)."""
        value: Tensor
        value, gate = self.proj(tokens).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """Widen four times, gate, narrow. The empty middle entry keeps the published key `net.2`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(GatedLinear(channels, 4 * channels), nn.Identity(), nn.Linear(4 * channels, channels))

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, T, channels) to the same."""
        output: Tensor = self.net(tokens)
        return output


class ReferenceTransformerBlock(nn.Module):
    """Self-attention and feed-forward of the reference UNet."""

    def __init__(self, config: UNetConfig, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = Attention(config, channels, channels)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels)

    def forward(self, hidden_states: Tensor, normed: Tensor) -> Tensor:
        """
        hidden_states : (N, H*W, C)
        normed        : (N, H*W, C)  norm1 of hidden_states, which is also what the reference features keep
        returns       : (N, H*W, C)
        """
        hidden_states = hidden_states + self.attn1(normed, normed)
        output: Tensor = hidden_states + self.ff(self.norm3(hidden_states))
        return output


class DenoisingTransformerBlock(nn.Module):
    """Self-attention that also sees the reference, audio attention, feed-forward (docs/model.md)."""

    def __init__(self, config: UNetConfig, channels: int) -> None:
        super().__init__()
        self.audio_scale = config.audio_scale
        self.norm1 = nn.LayerNorm(channels)
        self.attn1 = Attention(config, channels, channels)
        self.norm2 = nn.LayerNorm(channels)
        self.attn2 = Attention(config, channels, config.audio_width)
        self.norm3 = nn.LayerNorm(channels)
        self.ff = FeedForward(channels)

    def forward(self, hidden_states: Tensor, audio_tokens: Tensor | None, reference_tokens: Tensor | None) -> Tensor:
        """
        hidden_states    : (N, H*W, C)          tokens of the noisy crops
        audio_tokens     : (N, 50, audio_width) of each frame; None = unconditional, as if all were zero
        reference_tokens : (N, H*W, C)          the same block of the reference UNet; None = no reference
        returns          : (N, H*W, C)
        """
        normed = self.norm1(hidden_states)
        context = normed if reference_tokens is None else torch.cat([normed, reference_tokens], dim=1)
        hidden_states = hidden_states + self.attn1(normed, context)
        heard = self.attn2.to_silence() if audio_tokens is None else self._listen(hidden_states, audio_tokens)
        hidden_states = hidden_states + self.audio_scale * heard
        output: Tensor = hidden_states + self.ff(self.norm3(hidden_states))
        return output

    def _listen(self, hidden_states: Tensor, audio_tokens: Tensor) -> Tensor:
        heard: Tensor = self.attn2(self.norm2(hidden_states), audio_tokens)
        return heard


class _SpatialTransformer(nn.Module):
    """Norm and 1x1 convolutions around one transformer block over the cells of a frame."""

    def __init__(self, config: UNetConfig, channels: int, block: nn.Module) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(config.norm_groups, channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList([block])
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def to_tokens(self, hidden_states: Tensor) -> Tensor:
        """(N, C, H, W) to (N, H*W, C)."""
        projected: Tensor = self.proj_in(self.norm(hidden_states))
        return projected.flatten(2).transpose(1, 2)

    def from_tokens(self, tokens: Tensor, residual: Tensor) -> Tensor:
        """Tokens (N, H*W, C) back on the grid of residual (N, C, H, W), added to it.

        Contiguous: on tensors with channels last, torch's GroupNorm on the CPU loses digits.
        """
        projected: Tensor = self.proj_out(tokens.transpose(1, 2).reshape(residual.shape).contiguous())
        return projected + residual


class ReferenceTransformer(_SpatialTransformer):
    """Spatial transformer of the reference UNet."""

    def __init__(self, config: UNetConfig, channels: int) -> None:
        super().__init__(config, channels, ReferenceTransformerBlock(config, channels))

    @property
    def block(self) -> ReferenceTransformerBlock:
        """The transformer block."""
        return cast(ReferenceTransformerBlock, self.transformer_blocks[0])

    def forward(self, hidden_states: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) to the same, and the reference features (N, H*W, C) met on the way."""
        tokens = self.to_tokens(hidden_states)
        normed = self.block.norm1(tokens)
        tokens = self.block(tokens, normed)
        return self.from_tokens(tokens, hidden_states), normed

    def features(self, hidden_states: Tensor) -> Tensor:
        """Only the reference features of (N, C, H, W), skipping all that follows them. Returns (N, H*W, C)."""
        normed: Tensor = self.block.norm1(self.to_tokens(hidden_states))
        return normed


class DenoisingTransformer(_SpatialTransformer):
    """Spatial transformer of the denoising UNet."""

    def __init__(self, config: UNetConfig, channels: int) -> None:
        super().__init__(config, channels, DenoisingTransformerBlock(config, channels))

    def forward(self, hidden_states: Tensor, audio_tokens: Tensor | None, reference_tokens: Tensor | None) -> Tensor:
        """
        hidden_states    : (N, C, H, W)
        audio_tokens     : (N, 50, audio_width) | None
        reference_tokens : (N, H*W, C) | None
        returns          : (N, C, H, W)
        """
        tokens = self.to_tokens(hidden_states)
        tokens = self.transformer_blocks[0](tokens, audio_tokens, reference_tokens)
        return self.from_tokens(tokens, hidden_states)
