"""Paints the still head of a made-up person: skin under a light, hair, brows, nose, glasses. Eyes and mouth move, and
are drawn later."""

import cv2
import numpy as np

from model.training.synthetic.heads import Color, Eyes, Head, Image, Mouth, Plane, bump, canvas, smoothstep, twin_bump
from model.training.synthetic.looks import Look

_INSIDE: Color = (52, 18, 20)
_ENAMEL: Color = (236, 228, 212)
_TONGUE: Color = (186, 92, 96)


def paint_head(look: Look, density: float, rng: np.random.Generator) -> Head:
    """The head of a look, `density` px per unit; rng: for what is too fine to be part of the look."""
    painter = _Painter(look, density, rng)
    picture = painter.paint()
    return Head(
        name="drawn",
        picture=picture,
        overlay=painter.glasses() if look.glasses else None,
        shape=painter.shape,
        density=density,
        half_width=look.half_width,
        mouth=Mouth(
            x=0.0,
            y=look.mouth_y,
            half_width=look.mouth_half_width,
            upper_lip=look.upper_lip,
            lower_lip=look.lower_lip,
            curve=look.mouth_curve,
            reach=0.115,
            teeth=0.72 * look.mouth_half_width,
            lips=painter.lit(look.lips),
            inside=_INSIDE,
            enamel=painter.lit(_ENAMEL),
            tongue=painter.lit(_TONGUE),
        ),
        eyes=Eyes(
            x=look.eye_x,
            y=look.eye_y,
            half_width=look.eye_half_width,
            half_height=look.eye_half_height,
            slant=look.eye_slant,
            iris=look.iris,
            lid=painter.lit(tuple(0.86 * channel for channel in look.skin)),  # type: ignore[arg-type]
            lash=tuple(0.35 * channel for channel in look.hair),  # type: ignore[arg-type]
        ),
    )


class _Painter:
    """One picture in the making. All planes are (H, W) or broadcast to it."""

    def __init__(self, look: Look, density: float, rng: np.random.Generator) -> None:
        self._look = look
        self._density = density
        self._rng = rng
        self._x, self._y = canvas(density)
        self._size = (self._y.shape[0], self._x.shape[1])
        self._image = np.zeros((*self._size, 3), np.float32)
        self._opacity = np.zeros(self._size, np.float32)
        self.shape = self._depth()
        self._light = self._shading()

    def paint(self) -> Image:
        """RGB times opacity, and opacity."""
        look = self._look
        self._body()
        self._lay(look.hair, self._behind_hair(), 0.75 * self._strands())
        for side in (-1, 1):
            self._lay(look.skin, self._cover_ellipse((side * (look.half_width + 0.01), 0.5), (0.045, 0.1)), 0.82)
        self._skin()
        self._nostrils()
        self._brows()
        self._lay(look.hair, self._front_hair(), self._strands())
        rgba = np.dstack([self._image * self._opacity[..., None], 255.0 * self._opacity])
        return np.clip(np.rint(rgba), 0, 255).astype(np.uint8)

    def glasses(self) -> Image:
        """The frame and a hint of glass, like a picture."""
        look, d = self._look, self._density
        height, width = self._size
        overlay = np.zeros((height, width, 4), np.uint8)
        corner = 0.02 + 0.07 * look.glasses_round
        opaque = (*look.glasses_color, 255.0)
        thick = max(1, round(0.016 * d))
        for side in (-1, 1):
            outline = _rounded_box((side * look.eye_x, look.eye_y + 0.015), (0.125, 0.045 + corner * 0.55), corner)
            points = np.rint(((outline - (-1.0, -0.55)) * d) * 16).astype(np.int32)
            cv2.fillPoly(overlay, [points], (14, 14, 16, 18), cv2.LINE_AA, 4)
            cv2.polylines(
                overlay, [points], isClosed=True, color=opaque, thickness=thick, lineType=cv2.LINE_AA, shift=4
            )
            arm = np.array(
                [(side * (look.eye_x + 0.125), look.eye_y), (side * (look.half_width + 0.01), look.eye_y - 0.02)]
            )
            bridge = np.array([(0.0, look.eye_y - 0.015), (side * (look.eye_x - 0.12), look.eye_y)])
            for line in (arm, bridge):
                ends = np.rint(((line - (-1.0, -0.55)) * d) * 16).astype(np.int32)
                cv2.polylines(
                    overlay, [ends], isClosed=False, color=opaque, thickness=thick, lineType=cv2.LINE_AA, shift=4
                )
        return overlay

    def lit(self, color: Color) -> Color:
        """A colour in the light of this picture, as it falls on the middle of the face."""
        row, column = round((0.75 - self._y[0, 0]) * self._density), self._size[1] // 2
        red, green, blue = (np.array(color) * self._light[row, column]).clip(0, 255).tolist()
        return red, green, blue

    def _depth(self) -> Plane:
        """How far the surface of the face stands out, in units."""
        x, y, look = self._x, self._y, self._look
        round_head = np.clip(1.0 - (x / (1.12 * look.half_width)) ** 2 - ((y - 0.45) / 0.78) ** 2, 0.0, 1.0)
        depth = 0.38 * np.sqrt(round_head)
        bridge = smoothstep((y - 0.34) / 0.24) * (1.0 - smoothstep((y - 0.605) / 0.05))
        depth = depth + 0.075 * look.nose * bridge * np.exp(-0.5 * (x / (0.036 * look.nose_width)) ** 2)
        depth += 0.04 * look.nose * bump(x, y, (0.0, 0.6), (0.042 * look.nose_width, 0.035))
        depth += 0.026 * twin_bump(x, y, (0.052 * look.nose_width, 0.622), (0.022, 0.02))
        depth += 0.016 * twin_bump(x, y, (look.eye_x, look.brow_y + 0.02), (0.09, 0.03))
        depth -= 0.03 * twin_bump(x, y, (look.eye_x, look.eye_y), (0.075, 0.04))
        depth += 0.02 * twin_bump(x, y, (0.22, 0.56), (0.085, 0.075))
        depth += 0.024 * bump(x, y, (0.0, look.mouth_y), (0.14, 0.085))
        depth += 0.026 * bump(x, y, (0.0, 0.95), (0.085, 0.05))
        depth -= 0.014 * bump(x, y, (0.0, look.mouth_y + 0.095), (0.08, 0.022))
        depth -= (0.003 + 0.007 * look.age) * twin_bump(x, y, (0.165, 0.7), (0.016, 0.07))
        return np.asarray(depth, np.float32)

    def _shading(self) -> Plane:
        """What of a colour comes back from each px, (H, W, 3)."""
        look = self._look
        soft = cv2.GaussianBlur(self.shape, (0, 0), 0.012 * self._density)
        slope_y, slope_x = np.gradient(soft * self._density)
        slant_x, slant_y = look.light
        front = 1.1
        towards = front - slant_x * slope_x - slant_y * slope_y
        towards /= np.sqrt(1.0 + slope_x**2 + slope_y**2) * np.sqrt(front**2 + slant_x**2 + slant_y**2)
        shade = look.ambient + (1.08 - look.ambient) * np.clip(towards, 0.0, 1.0)
        gloss = 0.1 * np.clip(towards, 0.0, 1.0) ** 24
        tint = np.array([1.0 + 0.05 * look.warmth, 1.0, 1.0 - 0.07 * look.warmth])
        return np.asarray((shade + gloss)[..., None] ** np.array([0.95, 1.05, 1.12]) * tint, np.float32)

    def _lay(self, color: Color | Plane, cover: Plane, light: Plane | float = 1.0) -> None:
        """Put a colour over what is there. cover: how much of each px; light: what it is multiplied by."""
        lit = np.asarray(color, np.float32) * np.asarray(light, np.float32)[..., None]
        self._image += cover[..., None] * (lit - self._image)
        self._opacity += cover * (1.0 - self._opacity)

    def _cover(self, inside_by: Plane) -> Plane:
        """Coverage from a distance to the edge in units, positive inside."""
        return np.asarray(np.clip(inside_by * self._density + 0.5, 0.0, 1.0))

    def _cover_ellipse(self, centre: tuple[float, float], radii: tuple[float, float]) -> Plane:
        across, down = (self._x - centre[0]) / radii[0], (self._y - centre[1]) / radii[1]
        return self._cover((1.0 - np.sqrt(across**2 + down**2)) * min(radii))

    def _body(self) -> None:
        x, y, look = np.abs(self._x), self._y, self._look
        neck = self._cover(0.24 + 0.25 * smoothstep((y - 1.2) / 0.3) - x) * self._cover(y - 0.6)
        under_chin = 0.5 + 0.3 * smoothstep((y - 1.02 + 0.5 * x) / 0.25)
        self._lay(look.skin, neck, np.broadcast_to(under_chin, self._size))
        collar = 1.3 + 0.15 * smoothstep((0.3 - x) / 0.3)
        clothes = self._cover(y - collar) * self._cover(y - 1.27 - 0.25 * (x - 0.2) ** 2)
        self._lay(look.clothes, clothes, 0.85 + 0.15 * self._noise(5, 9))

    def _skin(self) -> None:
        x, y, look = self._x, self._y, self._look
        upper = look.half_width * np.sqrt(np.clip(1.0 - (np.clip(0.45 - y, 0, None) / 0.68) ** 2.4, 0.0, 1.0))
        below = np.clip((y - 0.45) / 0.555, 0.0, 1.0)
        half = upper * np.clip(1.0 - below**look.jaw, 0.0, 1.0) ** 0.62
        face = self._cover((half - np.abs(x)) * 0.8) * (half > 0.0)
        color = np.array(look.skin, np.float32) * (1.0 + 0.05 * self._noise(9, 9)[..., None])
        blush = 0.14 * twin_bump(x, y, (0.21, 0.58), (0.09, 0.07)) + 0.1 * bump(x, y, (0.0, 0.61), (0.05, 0.04))
        color *= 1.0 - blush[..., None] * np.array([0.1, 0.75, 0.65], np.float32)
        color *= 1.0 - 0.18 * twin_bump(x, y, (look.eye_x, look.eye_y + 0.005), (0.075, 0.035))[..., None]
        color *= 1.0 - 0.06 * look.age * self._wrinkles()[..., None]
        if look.freckles:
            spots = np.clip(self._noise(150, 150) - 1.1, 0.0, 1.0) * twin_bump(x, y, (0.15, 0.55), (0.14, 0.07))
            color *= 1.0 - 0.5 * look.freckles * spots[..., None] * np.array([0.6, 0.9, 1.0], np.float32)
        color += (self._bristles() * look.beard)[..., None] * (np.array(look.hair, np.float32) - color)
        self._image += face[..., None] * (color * self._light - self._image)
        self._opacity += face * (1.0 - self._opacity)

    def _wrinkles(self) -> Plane:
        x, y, look = self._x, self._y, self._look
        lines = sum(bump(x, y, (0.0, at), (0.13, 0.008)) for at in (0.13, 0.18, 0.225))
        lines = lines + twin_bump(x, y, (look.eye_x, look.eye_y + 0.055), (0.06, 0.007))
        return np.asarray(lines, np.float32)

    def _bristles(self) -> Plane:
        """Where hair grows on a face, strength [0, 1]."""
        x, y, look = np.abs(self._x), self._y, self._look
        chin = smoothstep((y - 0.56 - 0.3 * np.exp(-((x / 0.2) ** 4))) / 0.09)
        lip = look.moustache * bump(x, y, (0.0, look.mouth_y - 0.065), (0.1, 0.022))
        return np.asarray(np.clip(np.maximum(chin, lip) * (0.85 + 0.25 * self._noise(260, 260)), 0.0, 1.0))

    def _nostrils(self) -> None:
        wide = 0.036 * self._look.nose_width
        dark = tuple(0.28 * channel for channel in self._look.skin)
        shadow = twin_bump(self._x, self._y, (wide, 0.64), (0.013, 0.007))
        self._image += np.clip(1.3 * shadow, 0, 0.9)[..., None] * (np.array(dark, np.float32) - self._image)

    def _brows(self) -> None:
        look = self._look
        along = (np.abs(self._x) - look.eye_x) / 0.1
        middle = look.brow_y + look.brow_arch * (along**2 - 0.6) - 0.012 * along
        thick = look.brow_thickness * np.clip(1.0 - np.abs(along * 0.95) ** 3, 0.0, None) * (1.15 - 0.35 * along)
        cover = self._cover(thick - np.abs(self._y - middle)) * (np.abs(along) < 1.05)
        dark = tuple(0.8 * channel for channel in look.hair)
        self._lay(dark, np.asarray(cover * np.clip(0.85 + 0.12 * self._noise(90, 200), 0, 1), np.float32), 0.9)  # type: ignore[arg-type]

    def _behind_hair(self) -> Plane:
        look = self._look
        x, y = np.abs(self._x), self._y
        around = look.half_width + 0.1 + 0.05 * self._noise(7, 1)
        falls = self._cover(around - x) * self._cover(look.hair_length - y) * self._cover(y - 0.2)
        if look.hairline < -0.3:
            return np.zeros(self._size, np.float32)
        falls *= look.hair_length > 0.5
        return np.maximum(falls, self._cover_ellipse((0.0, 0.3), (look.half_width + 0.09, 0.56)) * (y < 0.42))

    def _front_hair(self) -> Plane:
        look = self._look
        x, y = np.abs(self._x), self._y
        sides = 0.55 * np.clip((x - 0.72 * look.half_width) / (0.34 * look.half_width), 0.0, 1.0) ** 2
        edge = look.hairline + min(look.hair_length, 0.42) * sides + look.fringe * self._noise(1, 14)
        inside = self._cover_ellipse((0.0, 0.3), (look.half_width + 0.09, 0.56))
        return np.asarray(inside * np.clip((edge - y) * self._density / 4.0 + 0.5, 0.0, 1.0), np.float32)

    def _strands(self) -> Plane:
        band = 0.25 * np.exp(-(((self._y + 0.12 + 0.5 * self._x**2) / 0.14) ** 2))
        return np.asarray(0.85 + 0.16 * self._noise(6, 170) + band, np.float32)

    def _noise(self, rows: int, columns: int) -> Plane:
        """Smooth noise of unit variance with so many waves down and across."""
        grid = self._rng.standard_normal((rows + 1, columns + 1)).astype(np.float32)
        return np.asarray(cv2.resize(grid, self._size[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def _rounded_box(centre: tuple[float, float], half: tuple[float, float], corner: float) -> np.ndarray:
    """The outline of a box with round corners, (N, 2) x, y."""
    corner = min(corner, *half)
    turns = np.linspace(0.0, 2.0 * np.pi, 48, endpoint=False)
    points = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    return np.asarray(centre + np.sign(points) * (np.array(half) - corner) + corner * points)
