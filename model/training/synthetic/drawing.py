"""Draws what moves most: a mouth and eyes, over the picture of a head, with soft edges."""

from dataclasses import dataclass

import numpy as np

from model.training.synthetic.heads import Color, Eyes, Mouth, Plane

_TOOTH = 0.029
"""Width of an upper tooth, face coordinates."""

_TEETH_BELOW = 0.011
"""How far the upper teeth reach below the line on which closed lips meet."""

_IRIS, _PUPIL = 0.031, 0.0135


@dataclass(frozen=True, slots=True)
class MouthPose:
    """What a mouth does: see `visemes.Viseme`; jaw: how far it has dropped, [0, 1]."""

    aperture: float
    width: float
    rounding: float
    tongue: float
    tuck: float
    jaw: float


@dataclass(frozen=True, slots=True)
class EyePose:
    """openness: 0 closed, 1 open. squint: how far the lower lid is up, [0, 1]. gaze: of the irises, in units of half an
    eye's width and height."""

    openness: float
    squint: float
    gaze: tuple[float, float]


@dataclass(frozen=True, slots=True)
class LipLines:
    """The numbers behind a drawn mouth, in face coordinates: half its width; how far the edge of the upper lip is above
    and that of the lower lip below the line on which closed lips meet, in the middle; how thick the lips are."""

    half_width: float
    lift: float
    drop: float
    upper_lip: float
    lower_lip: float

    @property
    def gap(self) -> float:
        """The opening between the lips in the middle."""
        return self.lift + self.drop


def lip_lines(mouth: Mouth, pose: MouthPose) -> LipLines:
    """Where the lips of a mouth are in a pose."""
    gap = mouth.reach * pose.aperture
    spread = max(pose.width, 0.0)
    fuller = 1.0 + 0.3 * pose.rounding - 0.12 * spread - 0.08 * (pose.aperture < 0.02)
    return LipLines(
        half_width=mouth.half_width * (1.0 + 0.13 * pose.width - 0.2 * pose.rounding),
        lift=0.28 * gap,
        drop=0.72 * gap,
        upper_lip=mouth.upper_lip * fuller,
        lower_lip=mouth.lower_lip * fuller * (1.0 - 0.45 * pose.tuck),
    )


def draw_mouth(image: Plane, x: Plane, y: Plane, mouth: Mouth, pose: MouthPose, px: float) -> None:
    """Draw over `image` (h, w, 3), in place. x, y (h, w): face coordinates of its px, each `px` wide."""
    lines = lip_lines(mouth, pose)
    x, y = x - mouth.x, y - mouth.y
    u = x / lines.half_width
    bow = np.clip(1.0 - u * u, 0.0, 1.0)
    within = np.clip(1.0 - (u / 0.88) ** 2, 0.0, 1.0) ** (0.8 - 0.3 * pose.rounding)
    middle = mouth.curve * u * u
    top, bottom = middle - lines.lift * within, middle + lines.drop * within
    cupid = 1.0 + 0.16 * np.exp(-(((np.abs(u) - 0.24) / 0.14) ** 2)) - 0.2 * np.exp(-((u / 0.12) ** 2))
    above = middle - lines.lift * bow**0.7 - lines.upper_lip * bow**0.85 * cupid
    below = middle + lines.drop * bow**0.7 + lines.lower_lip * bow**0.6
    edges = (above, top, bottom, below)
    lips = _between(y, above, below, px) * np.clip((1.0 - np.abs(u)) * lines.half_width / px, 0.0, 1.0)
    _lay(image, lips[..., None], _lip_color(x, y, edges, mouth, lines))
    opening = _between(y, top, bottom, px) * np.clip((0.88 - np.abs(u)) * lines.half_width / px, 0.0, 1.0)
    opening *= np.clip(lines.gap / (1.5 * px), 0.0, 1.0)
    _lay(image, opening[..., None], _inside(x, y, top, mouth, lines, pose, px))
    seam = np.exp(-(((y - middle) / max(0.0055, 0.7 * px)) ** 2)) * bow**0.25 * (bow > 0)
    seam *= 0.75 * np.clip(1.0 - lines.gap / 0.015, 0.0, 1.0)
    _lay(image, seam[..., None], np.array(mouth.lips, np.float32) * 0.35)


def _lip_color(x: Plane, y: Plane, edges: tuple[Plane, Plane, Plane, Plane], mouth: Mouth, lines: LipLines) -> Plane:
    """The upper lip faces down and is darker, the lower one catches the light; both darken towards the mouth."""
    above, top, bottom, below = edges
    upper = np.clip((y - above) / np.maximum(top - above, 1e-4), 0.0, 1.0)
    lower = np.clip((below - y) / np.maximum(below - bottom, 1e-4), 0.0, 1.0)
    shade = np.where(y < (top + bottom) / 2, 0.98 - 0.24 * upper**2, 1.04 - 0.22 * lower**3)
    gloss = 0.2 * np.exp(-(((y - bottom - 0.42 * lines.lower_lip) / (0.22 * lines.lower_lip)) ** 2))
    gloss *= np.exp(-((x / (0.5 * lines.half_width)) ** 2))
    return np.asarray(np.array(mouth.lips, np.float32) * shade[..., None] + 255.0 * 0.4 * gloss[..., None], np.float32)


def _inside(x: Plane, y: Plane, top: Plane, mouth: Mouth, lines: LipLines, pose: MouthPose, px: float) -> Plane:
    """What an open mouth shows: a dark cave, a tongue on its floor, lower teeth, upper teeth in the lip's shadow."""
    cave = np.broadcast_to(np.array(mouth.inside, np.float32), (*x.shape, 3)).copy()
    crown = 1.0 - (x / (0.7 * lines.half_width)) ** 2
    tongue_top = lines.drop - lines.gap * (0.3 + 0.55 * pose.tongue) * np.sqrt(np.clip(crown, 0.0, 1.0))
    tongue = _step(y - tongue_top, px) * (crown > 0)
    depth = np.clip((y - tongue_top) / 0.05, 0.0, 1.0)
    tongue_color = np.array(mouth.tongue, np.float32) * (0.72 + 0.28 * depth)[..., None]
    _lay(cave, tongue[..., None], tongue_color)
    from_gap = 0.5 - np.abs(np.abs(x) / _TOOTH % 1.0 - 0.5)
    gap_lines = 1.0 - 0.28 * np.exp(-((from_gap / 0.1) ** 2))
    round_row = np.clip(1.0 - 0.62 * (x / mouth.teeth) ** 2, 0.25, 1.0)
    lower_top = lines.drop - 0.017 + 0.01 * (x / mouth.teeth) ** 2
    lower = (
        _step(y - lower_top, px) * _step(0.8 * mouth.teeth - np.abs(x), px) * np.clip((lines.gap - 0.04) / 0.03, 0, 1)
    )
    _lay(cave, lower[..., None], np.array(mouth.enamel, np.float32) * (0.72 * round_row * gap_lines)[..., None])
    edge = _TEETH_BELOW - 0.012 * (x / mouth.teeth) ** 2
    upper = _step(edge - y, px) * _step(mouth.teeth - np.abs(x), px)
    upper *= 1.0 - np.clip((pose.tongue - 0.86) / 0.12, 0.0, 1.0) * tongue
    shadow = 0.62 + 0.38 * np.clip((y - top) / 0.02, 0.0, 1.0)
    _lay(cave, upper[..., None], np.array(mouth.enamel, np.float32) * (shadow * round_row * gap_lines)[..., None])
    return cave


def draw_eye(image: Plane, x: Plane, y: Plane, eyes: Eyes, pose: EyePose, px: float) -> None:
    """Draw one eye over `image` (h, w, 3), in place. x, y (h, w): face coordinates of its px."""
    side = 1.0 if x.mean() > 0 else -1.0
    across = (side * x - eyes.x) / eyes.half_width
    down = y - eyes.y + eyes.slant * across
    bow = np.clip(1.0 - across * across, 0.0, 1.0)
    lowest = 0.78 * eyes.half_height * bow * (1.0 - 0.6 * pose.squint)
    highest = -1.2 * eyes.half_height * bow**0.75
    lid = lowest + pose.openness * (highest - lowest)
    _lay(image, _between(down, highest, lowest, px)[..., None], np.array(eyes.lid, np.float32))
    ball = _between(down, lid, lowest, px) * (bow > 0)
    _lay(image, ball[..., None], _eyeball(side * across, down, eyes, pose, px, lid))
    line = np.exp(-(((down - lid) / max(0.0065, 0.8 * px)) ** 2)) * bow**0.2 * (bow > 0)
    _lay(image, 0.9 * line[..., None], np.array(eyes.lash, np.float32))
    rim = np.exp(-(((down - lowest) / max(0.005, 0.8 * px)) ** 2)) * bow**0.2 * (bow > 0)
    _lay(image, 0.3 * rim[..., None], np.array(eyes.lash, np.float32))


def _eyeball(across: Plane, down: Plane, eyes: Eyes, pose: EyePose, px: float, lid: Plane) -> Plane:
    white = np.broadcast_to(np.array((226.0, 220.0, 216.0), np.float32), (*across.shape, 3)).copy()
    white *= (1.0 - 0.3 * across**2)[..., None]
    right = across * eyes.half_width - pose.gaze[0] * eyes.half_width
    radius = np.sqrt(right**2 + (down - pose.gaze[1] * eyes.half_height) ** 2)
    ring = 0.6 + 0.4 * np.clip((_IRIS - radius) / 0.007, 0.0, 1.0)
    _lay(white, _step(_IRIS - radius, px)[..., None], np.array(eyes.iris, np.float32) * ring[..., None])
    _lay(white, _step(_PUPIL - radius, px)[..., None], np.array((12.0, 10.0, 10.0), np.float32))
    glint = np.sqrt((right + 0.009) ** 2 + (down - pose.gaze[1] * eyes.half_height + 0.01) ** 2)
    _lay(white, _step(0.006 - glint, px)[..., None], np.array((250.0, 250.0, 250.0), np.float32))
    white *= (0.6 + 0.4 * np.clip((down - lid) / 0.014, 0.0, 1.0))[..., None]
    return white


def _step(distance: Plane, px: float) -> Plane:
    """Coverage of a px by what lies on the positive side of an edge `distance` away."""
    return np.asarray(np.clip(distance / px + 0.5, 0.0, 1.0), np.float32)


def _between(y: Plane, top: Plane, bottom: Plane, px: float) -> Plane:
    """Coverage by what lies below one line and above another."""
    return _step(y - top, px) * _step(bottom - y, px)


def _lay(image: Plane, cover: Plane, color: Plane | Color) -> None:
    image += cover * (np.asarray(color, np.float32) - image)
