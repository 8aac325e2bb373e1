"""A photograph as a head: NASA's portrait of astronaut Eileen Collins (public domain), which scikit-image carries. Her
smile is painted over with her own skin; the mouth that speaks is drawn."""

from dataclasses import replace

import cv2
import numpy as np

from model.training.synthetic.heads import Head, Image, Mouth, canvas

_UNIT = 127.0
_ORIGIN = (225.0, 51.0)
"""Height of the face and the middle of the forehead's upper end, px of the portrait."""

_SMILE = ((225.5, 147.5), (29.0, 13.0))
"""Middle and radii of what is painted over, px of the portrait."""

_MOUTH = Mouth(
    x=0.0,
    y=0.757,
    half_width=0.15,
    upper_lip=0.026,
    lower_lip=0.042,
    curve=-0.012,
    reach=0.115,
    teeth=0.108,
    lips=(206.0, 122.0, 118.0),
    inside=(58.0, 22.0, 24.0),
    enamel=(232.0, 224.0, 210.0),
    tongue=(186.0, 96.0, 98.0),
)


def portrait_head(density: float, rng: np.random.Generator) -> Head:
    """The portrait at `density` px per unit; its lips a little different each time."""
    from skimage import data

    portrait = _without_smile(np.asarray(data.astronaut(), np.uint8))  # type: ignore[no-untyped-call]
    x, y = canvas(density)
    across, down = np.broadcast_arrays(x * _UNIT + _ORIGIN[0], y * _UNIT + _ORIGIN[1])
    rgb = cv2.remap(portrait, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    shape = 0.3 * np.sqrt(np.clip(1.0 - (x / 0.42) ** 2 - ((y - 0.5) / 0.7) ** 2, 0.0, 1.0))
    fuller = rng.uniform(0.85, 1.15)
    return Head(
        name="portrait",
        picture=np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)]),
        overlay=None,
        shape=shape.astype(np.float32),
        density=density,
        half_width=0.36,
        mouth=replace(_MOUTH, upper_lip=_MOUTH.upper_lip * fuller, lower_lip=_MOUTH.lower_lip * fuller),
        eyes=None,
    )


def _without_smile(portrait: Image) -> Image:
    """The portrait with skin where the mouth was."""
    (x, y), (across, down) = _SMILE
    rows, columns = np.mgrid[: portrait.shape[0], : portrait.shape[1]]
    bent = y - 5.0 * ((columns - x) / across) ** 2
    mask = (((columns - x) / across) ** 2 + ((rows - bent) / down) ** 2 < 1.0).astype(np.uint8)
    skin = cv2.inpaint(portrait, mask, 3, cv2.INPAINT_NS)
    smooth = cv2.GaussianBlur(skin, (0, 0), 4.0)
    blend = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 1.5)[..., None]
    return np.asarray(np.rint(skin + blend * (smooth.astype(np.float32) - skin)), np.uint8)
