"""A synthetic clip from its number: who, what is said, how it is played and filmed, and the truth about every frame."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.audio.log_mel import SAMPLE_RATE_HZ
from model.training.shards import FPS, Phoneme, Split
from model.training.synthetic.drawing import lip_lines
from model.training.synthetic.filming import FRAME_HEIGHT, FRAME_WIDTH, Boxes, Framing, crop_boxes, frame_face
from model.training.synthetic.heads import Head, Image
from model.training.synthetic.looks import Look
from model.training.synthetic.painting import paint_head
from model.training.synthetic.performance import Leaks, Performance, perform
from model.training.synthetic.portrait import portrait_head
from model.training.synthetic.scene import Pose, Scene
from model.training.synthetic.scenery import paint_background
from model.training.synthetic.speech import PAUSE, Samples, speak
from model.training.synthetic.texts import draw_speaker, draw_text
from model.training.synthetic.visemes import articulate

SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // FPS

_DENSITY = 1.25 / 1.1
"""Px of a head's picture per px of the crop: a little more than is seen."""

_PORTRAIT_SHARE = 0.08
_SILENT_SHARE = 0.05
"""So many of the training clips show the portrait, and so many clips hold nothing but silence."""

_VOICE, _FACE, _PLAY, _FILM = range(4)
_SPLITS = {Split.TRAIN: 0, Split.HELDOUT: 1}


@dataclass(frozen=True, slots=True)
class ClipOptions:
    """What all clips of a set have in common. Clips that differ in boxes or leaks only are the same otherwise."""

    frames: int = 100
    size: int = 256
    boxes: Boxes = Boxes.FIXED
    leaks: Leaks = field(default_factory=Leaks)


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticClip:
    """A clip of F frames, 25 per second, and what is true of each.

    frames: (F, size, size, 3) uint8 RGB crops. audio: (F * 640,) int16 mono 16 kHz. aperture, width: (F,) float32, of
    the opening between the lips in its middle and of the mouth from corner to corner, in heights of the resting face.
    phonemes: IPA, "" in silence, without gaps from 0 s on. boxes: (F, 4) int32, the crop in the frame.
    mouth: (F, 3) float32, where the lips meet when closed, x and y, and the height of the resting face, px of the crop.
    voice, text, face: who speaks, what, and who is seen; no value is in both splits.
    """

    split: Split
    frames: Image
    audio: Samples
    aperture: NDArray[np.float32]
    width: NDArray[np.float32]
    phonemes: tuple[Phoneme, ...]
    boxes: NDArray[np.int32]
    mouth: NDArray[np.float32]
    voice: str
    text: str
    face: str


def make_clip(seed: int, index: int, split: Split, options: ClipOptions) -> SyntheticClip:
    """Clip number `index` of a set: the same bytes for the same arguments. Raises SpeechSynthesizerMissing."""

    def stream(purpose: int) -> np.random.Generator:
        return np.random.default_rng([seed, _SPLITS[split], index, purpose])

    voice, text, audio, phonemes = _say(stream(_VOICE), split, options.frames)
    said = articulate(phonemes, options.frames, FPS)
    head = _cast(stream(_FACE), split, options.size)
    play = perform(said, FPS, options.leaks, stream(_PLAY))
    film = stream(_FILM)
    framing = frame_face(play.chin, head.half_width, FPS, film)
    boxes = crop_boxes(framing, options.boxes, FPS)
    scene = Scene(head, paint_background(FRAME_WIDTH, FRAME_HEIGHT, film), film)
    crops = [scene.shoot(_pose(play, framing, at), boxes[at].tolist(), options.size) for at in range(options.frames)]
    lines = [lip_lines(head.mouth, pose) for pose in play.mouth]
    return SyntheticClip(
        split=split,
        frames=np.stack(crops),
        audio=audio,
        aperture=np.array([line.gap for line in lines], np.float32),
        width=np.array([2.0 * line.half_width for line in lines], np.float32),
        phonemes=phonemes,
        boxes=boxes,
        mouth=_mouth_places(scene, play, framing, boxes, options.size),
        voice=voice,
        text=text,
        face=head.name if head.eyes is None else f"{split}-{seed}-{index}",
    )


def _cast(rng: np.random.Generator, split: Split, size: int) -> Head:
    """Somebody to be seen; the portrait is for training only."""
    is_portrait = rng.uniform() < _PORTRAIT_SHARE and split is Split.TRAIN
    density = _DENSITY * size
    return portrait_head(density, rng) if is_portrait else paint_head(Look.drawn(rng), density, rng)


def _pose(play: Performance, framing: Framing, at: int) -> Pose:
    return Pose(
        camera=framing.cameras[at],
        turn=(float(play.turn[at, 0]), float(play.turn[at, 1])),
        mouth=play.mouth[at],
        eyes=play.eyes[at],
        brow=float(play.brow[at]),
        cheek=float(play.cheek[at]),
        chin=float(play.chin[at]),
        light=float(framing.light[at]),
        pan=(float(framing.pan[at, 0]), float(framing.pan[at, 1])),
    )


def _mouth_places(
    scene: Scene, play: Performance, framing: Framing, boxes: NDArray[np.int32], size: int
) -> NDArray[np.float32]:
    """SyntheticClip.mouth."""
    places = np.empty((len(boxes), 3), np.float32)
    for at, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        zoom = np.array([size / (x1 - x0), size / (y1 - y0)])
        place = (scene.mouth_place(_pose(play, framing, at)) - (x0, y0)) * zoom
        places[at] = (*place, zoom[1] * np.hypot(*framing.cameras[at][:, 1]))
    return places


def _say(rng: np.random.Generator, split: Split, frames: int) -> tuple[str, str, Samples, tuple[Phoneme, ...]]:
    """A voice, its words, (F * 640,) samples and the phonemes in them: sentences with pauses, or silence."""
    length = frames * SAMPLES_PER_FRAME
    language, speaker = draw_speaker(rng, split)
    audio = np.zeros(length, np.float64)
    phonemes: list[Phoneme] = []
    texts: list[str] = []
    at = int(rng.uniform(0.0, 0.7) * SAMPLE_RATE_HZ)
    gain = rng.uniform(0.25, 1.0)
    hiss = rng.choice([0.0, 1.0]) * 10.0 ** rng.uniform(-0.5, 1.5)
    is_silent = rng.uniform() < _SILENT_SHARE
    while at < length and not is_silent:
        text = draw_text(rng, language, split)
        spoken = speak(text, speaker)
        begin = at / SAMPLE_RATE_HZ
        phonemes += (Phoneme(one.label, one.start_seconds + begin, one.end_seconds + begin) for one in spoken.phonemes)
        heard = spoken.samples[: length - at]
        audio[at : at + len(heard)] = gain * heard
        texts.append(text)
        at += len(spoken.samples) + int(rng.uniform(0.0, 0.8) * SAMPLE_RATE_HZ)
    audio += hiss * rng.standard_normal(length)
    samples = np.clip(np.rint(audio), -32768, 32767).astype(np.int16)
    return speaker.voice, " / ".join(texts), samples, tuple(_without_gaps(phonemes, length / SAMPLE_RATE_HZ))


def _without_gaps(phonemes: list[Phoneme], duration_seconds: float) -> list[Phoneme]:
    """The phonemes up to a time with pauses wherever nothing is heard, neighbouring pauses joined."""
    filled: list[Phoneme] = []
    at = 0.0
    for one in [*phonemes, Phoneme(PAUSE, duration_seconds, duration_seconds)]:
        start, end = min(one.start_seconds, duration_seconds), min(one.end_seconds, duration_seconds)
        if start > at:
            filled.append(Phoneme(PAUSE, at, start))
        if end > start:
            filled.append(Phoneme(one.label, start, end))
        at = max(at, end)
    joined: list[Phoneme] = []
    for one in filled:
        if joined and joined[-1].label == one.label == PAUSE:
            joined[-1] = Phoneme(PAUSE, joined[-1].start_seconds, one.end_seconds)
        else:
            joined.append(one)
    return joined
