"""All scores of one dubbed clip: what each is called, in which unit, and which way is better."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.evaluation import agreement, pictures
from model.evaluation.mouth import Places, closed_share, mouth_opening
from model.stages.crop_faces import crop_faces

Image = NDArray[np.uint8]
Curve = NDArray[np.float64]

_EYES_CROP = 128
"""Side of the crops in which eyes are followed, px."""


@dataclass(frozen=True, slots=True, eq=False)
class Dub:
    """A result of F frames, with what is known about it; None where nobody knows.

    frames, source, reference: (F, H, W, 3) uint8 RGB, dubbed, as filmed, and as it should be. times_seconds: (F,), when
    each is shown. boxes: (F, 4) px, the crop of the model in the picture. mouth: (F, 3), where the lips meet when
    closed and how high the resting face is, px of the picture. asked, original: (F,) opening of a mouth that says the
    new words, and of the filmed mouth, heights of the face. silences: (start, stop) seconds in which nothing is said.
    """

    name: str
    frames: Image
    times_seconds: Curve
    boxes: pictures.Boxes
    source: Image | None = None
    reference: Image | None = None
    mouth: Places | None = None
    asked: Curve | None = None
    original: Curve | None = None
    silences: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Metric:
    """One number per clip. better: `higher`, `lower`, or neither. shown: from a mean of scores to what is reported; it
    may turn the order around. The scores behind a PSNR are mean squared errors, which have means."""

    name: str
    title: str
    unit: str
    better: str
    shown: Callable[[float], float] = float


METRICS = (
    Metric("lips_seen", "frames in which lips are found", "share", "higher"),
    Metric("correlation", "opening, correlation with the sound's", "", "higher"),
    Metric("best_correlation", "the same at the best lag", "", "higher"),
    Metric("lag", "best lag (positive: late)", "frames", ""),
    Metric("lag_size", "size of the best lag", "frames", "lower"),
    Metric("swap", "swap test: new sound minus old", "", "higher"),
    Metric("silence", "silence test: lips closed", "share", "higher"),
    Metric("outside_psnr", "PSNR outside the mouth rectangle", "dB", "higher", pictures.psnr),
    Metric("seam", "seam energy", "levels", "lower"),
    Metric("mouth_psnr", "PSNR of the mouth rectangle, against the reference", "dB", "higher", pictures.psnr),
    Metric("mouth_ssim", "SSIM of the mouth rectangle, against the reference", "", "higher"),
    Metric("flicker", "flicker", "levels", "lower"),
    Metric("source_flicker", "flicker of the source", "levels", ""),
    Metric("eye_leak", "eye height, correlation with the filmed opening", "", ""),
)

NEED_WEIGHTS = ("FID", "LPIPS", "CSIM", "LSE-C", "LSE-D")
"""What papers report and this package does not compute."""

Scores = Mapping[str, float | None]


def opening_of(dub: Dub) -> Curve | None:
    """How far the dubbed mouth is open, (F,) heights of the face, NaN where it is not seen; None where its place is not
    known."""
    return None if dub.mouth is None else mouth_opening(dub.frames, dub.mouth)


def score(dub: Dub, opening: Curve | None) -> Scores:
    """Every metric of `METRICS`, None where it is not defined for this clip. opening: `opening_of` the clip."""
    return {**_lips(dub, opening), **_pixels(dub), **_likeness(dub), "eye_leak": _eye_leak(dub)}


def _lips(dub: Dub, opening: Curve | None) -> dict[str, float | None]:
    scores: dict[str, float | None] = dict.fromkeys(
        ("lips_seen", "correlation", "best_correlation", "lag", "lag_size", "swap", "silence")
    )
    if opening is None:
        return scores
    scores["lips_seen"] = float(np.isfinite(opening).mean())
    if dub.asked is not None:
        scores["correlation"] = agreement.correlation(opening, dub.asked)
        if lag := agreement.best_lag(opening, dub.asked):
            scores |= {"best_correlation": lag.correlation, "lag": lag.frames, "lag_size": abs(lag.frames)}
        if dub.original is not None:
            scores["swap"] = agreement.swap(opening, dub.asked, dub.original)
    silent = np.zeros(len(opening), np.bool_)
    for start, stop in dub.silences:
        silent |= (dub.times_seconds >= start) & (dub.times_seconds < stop)
    if silent.any():
        scores["silence"] = closed_share(opening[silent])
    return scores


def _pixels(dub: Dub) -> dict[str, float | None]:
    scores: dict[str, float | None] = {"flicker": pictures.flicker(dub.frames, dub.boxes)}
    if dub.source is None:
        return {**scores, **dict.fromkeys(("outside_psnr", "seam", "source_flicker"))}
    return {
        **scores,
        "source_flicker": pictures.flicker(dub.source, dub.boxes),
        "outside_psnr": pictures.outside_mse(dub.frames, dub.source, dub.boxes),
        "seam": pictures.seam_energy(dub.frames, dub.source, dub.boxes),
    }


def _likeness(dub: Dub) -> dict[str, float | None]:
    if dub.reference is None:
        return dict.fromkeys(("mouth_psnr", "mouth_ssim"))
    return {
        "mouth_psnr": pictures.inside_mse(dub.frames, dub.reference, dub.boxes),
        "mouth_ssim": pictures.ssim(dub.frames, dub.reference, dub.boxes),
    }


def _eye_leak(dub: Dub) -> float | None:
    if dub.original is None or dub.source is None:
        return None
    crops = crop_faces(dub.source, dub.boxes.tolist(), _EYES_CROP)
    return agreement.correlation(pictures.eye_height(crops), dub.original)
