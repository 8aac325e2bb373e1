"""What the reference UNet tells the denoising UNet, as data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class ReferenceFeatures:
    """Normed tokens in front of each self-attention of the reference UNet: (N, tokens, channels) for N frames.

    They depend on the frame alone, not on timestep or window: compute them once per frame and keep them.

    down : one tuple per down block with attention (0, 1, 2), two layers each
    mid  : the middle block's only attention
    up   : one tuple per up block with attention (1, 2, 3), three layers each
    """

    down: tuple[tuple[Tensor, ...], ...]
    mid: Tensor
    up: tuple[tuple[Tensor, ...], ...]

    @property
    def frames(self) -> int:
        """Number of frames N."""
        return self.mid.shape[0]

    def named(self) -> dict[str, Tensor]:
        """Tensors by the path of their transformer block, in the published order: widest first, then down, up, mid."""
        by_path = {
            f"down_blocks.{block}.attentions.{layer}.transformer_blocks.0": tensor
            for block, layers in enumerate(self.down)
            for layer, tensor in enumerate(layers)
        }
        by_path |= {
            f"up_blocks.{block}.attentions.{layer}.transformer_blocks.0": tensor
            for block, layers in enumerate(self.up, start=1)
            for layer, tensor in enumerate(layers)
        }
        by_path["mid_block.attentions.0.transformer_blocks.0"] = self.mid
        return dict(sorted(by_path.items(), key=lambda item: -item[1].shape[-1]))

    def select(self, frame_indices: Sequence[int]) -> "ReferenceFeatures":
        """The features of these frames, in this order; an index may repeat."""
        index = torch.tensor(list(frame_indices), dtype=torch.long, device=self.mid.device)
        return self._map(lambda tensor: tensor.index_select(0, index))

    def to(self, target: torch.device | torch.dtype) -> "ReferenceFeatures":
        """The same features on another device or in another precision."""
        return self._map(lambda tensor: tensor.to(target))

    @staticmethod
    def concatenate(parts: Sequence["ReferenceFeatures"]) -> "ReferenceFeatures":
        """The features of all parts, one after the other along the frames. `parts` holds at least one."""
        return ReferenceFeatures(
            down=tuple(_joined(blocks) for blocks in zip(*(part.down for part in parts), strict=True)),
            mid=torch.cat([part.mid for part in parts]),
            up=tuple(_joined(blocks) for blocks in zip(*(part.up for part in parts), strict=True)),
        )

    def _map(self, change: Callable[[Tensor], Tensor]) -> "ReferenceFeatures":
        return ReferenceFeatures(
            down=tuple(tuple(change(tensor) for tensor in layers) for layers in self.down),
            mid=change(self.mid),
            up=tuple(tuple(change(tensor) for tensor in layers) for layers in self.up),
        )


def _joined(blocks: tuple[tuple[Tensor, ...], ...]) -> tuple[Tensor, ...]:
    """Concatenate, layer by layer, the same block of several parts."""
    return tuple(torch.cat(layer) for layer in zip(*blocks, strict=True))
