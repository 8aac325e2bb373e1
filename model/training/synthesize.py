"""Makes a dataset of synthetic talking heads: clips side by side in several processes, shards in one order."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from pydantic import JsonValue

from model.audio.encoder import WHISPER_TINY, AudioEncoder, AudioEncoderConfig
from model.audio.features import tokens_shape
from model.training.hearing import encoder_of, fingerprint, heard
from model.training.shards import Clip, ClipLabels, ShardWriter, Split
from model.training.synthetic.clips import ClipOptions, SyntheticClip, make_clip
from model.training.workers import in_order, worker_pool

RECIPE = 1
"""Counts the changes after which the same seed makes other clips."""

OnClip = Callable[[int, int], None]
"""Told, whenever a clip is done, how many are and how many there will be."""


@dataclass(frozen=True, slots=True)
class SynthesisConfig:
    """What to make. The first `clips` are for training; held-out ones share no face, voice or sentence with them.

    audio_encoder: see `hearing.encoder_of`.
    """

    clips: int
    heldout_clips: int
    seed: int = 0
    clip: ClipOptions = field(default_factory=ClipOptions)
    audio_encoder: Path | AudioEncoderConfig = WHISPER_TINY


@dataclass(frozen=True, slots=True)
class _Order:
    """One clip to make."""

    split: Split
    index: int

    @property
    def clip_id(self) -> str:
        return f"{self.split}-{self.index:06d}"


def synthesize(folder: Path, config: SynthesisConfig, *, processes: int, on_clip: OnClip) -> None:
    """Make what the folder still lacks. The same configuration gives the same bytes, whatever the number of processes
    and however often it was interrupted; more clips can be added later.

    Raises DatasetError when the folder holds another set, SpeechSynthesizerMissing, WeightsError.
    """
    encoder = encoder_of(config.audio_encoder)
    writer = ShardWriter(
        folder,
        crop_size=config.clip.size,
        audio_shape=tokens_shape(encoder.config),
        maker=_maker(config, encoder),
        audio_encoder=encoder,
    )
    orders = [_Order(Split.TRAIN, index) for index in range(config.clips)]
    orders += [_Order(Split.HELDOUT, index) for index in range(config.heldout_clips)]
    missing = [order for order in orders if order.clip_id not in writer.clip_ids]
    with writer, worker_pool(processes, __name__) as pool:
        clips = in_order(pool, processes, partial(_make, config), missing)
        for done, clip in enumerate(clips, start=1 + len(orders) - len(missing)):
            writer.add(clip)
            on_clip(done, len(orders))


def _maker(config: SynthesisConfig, encoder: AudioEncoder) -> dict[str, JsonValue]:
    """What has to be the same when a set is gone on with."""
    clip: dict[str, JsonValue] = asdict(config.clip)
    return {"recipe": RECIPE, "seed": config.seed, "audio_encoder": fingerprint(encoder), **clip}


def _make(config: SynthesisConfig, order: _Order) -> Clip:
    made = make_clip(config.seed, order.index, order.split, config.clip)
    return to_clip(made, order.clip_id, encoder_of(config.audio_encoder))


def to_clip(made: SyntheticClip, clip_id: str, encoder: AudioEncoder) -> Clip:
    """A synthetic clip as datasets hold it, with what is heard at each of its frames."""
    x, y, face_height = made.mouth.T
    return Clip(
        labels=ClipLabels(clip_id, made.face, made.voice, made.text, len(made.frames)),
        split=made.split,
        frames=made.frames,
        audio_features=heard(made.audio, len(made.frames), encoder),
        audio=made.audio,
        ground_truth={
            "aperture": made.aperture,
            "width": made.width,
            "mouth_x": x.copy(),
            "mouth_y": y.copy(),
            "face_height": face_height.copy(),
        },
        phonemes=made.phonemes,
    )
