"""The numbers of an architecture."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UNetConfig:
    """Size of both UNets: they share everything but the text, audio and motion parts.

    channels        : width at each resolution, finest first (latents h x w, then halved three times)
    latent_channels : channels of a latent in and of a prediction out
    attention_heads : heads of every attention; a head is channels / attention_heads wide
    norm_groups     : groups of every GroupNorm
    audio_width     : width of one audio token
    audio_scale     : factor on the whole audio attention, its bias included
    max_frames      : length of the temporal position table
    """

    channels: tuple[int, int, int, int]
    latent_channels: int = 4
    attention_heads: int = 8
    norm_groups: int = 32
    audio_width: int = 384
    audio_scale: float = 3.0
    max_frames: int = 32

    @property
    def time_width(self) -> int:
        """Width of the time embedding."""
        return 4 * self.channels[0]


FULL = UNetConfig(channels=(320, 640, 1280, 1280))
"""The published size (Stable Diffusion 1.5)."""

TINY = UNetConfig(channels=(32, 64, 128, 128))
"""The same layout, small enough for tests and for a CPU."""
