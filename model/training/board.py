"""What a run shows of itself: scalars and strips for TensorBoard, the strips as files, too."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
from torch.utils.tensorboard import SummaryWriter

from model.faces.detector import Image


class Board:
    """Writes below the run's output: `tensorboard/` and `strips/`. A context manager; disabled it writes nothing.

    What an interrupted run wrote of later steps is replaced.
    """

    def __init__(self, output: Path, step: int, *, enabled: bool) -> None:
        self._strips = output / "strips"
        self._writer: SummaryWriter | None = None
        if enabled:
            self._strips.mkdir(parents=True, exist_ok=True)
            self._writer = SummaryWriter(output / "tensorboard", purge_step=step + 1)

    def scalars(self, numbers: Mapping[str, float], step: int) -> None:
        """Note numbers by name."""
        if self._writer is not None:
            for name, number in numbers.items():
                self._writer.add_scalar(name, number, step)

    def pictures(self, strips: Iterable[Image], step: int) -> None:
        """Keep pictures (H, W, 3) uint8 RGB."""
        if self._writer is not None:
            for number, strip in enumerate(strips):
                self._writer.add_image(f"strip/{number}", strip, step, dataformats="HWC")
                path = self._strips / f"step-{step:08d}-{number}.png"
                cv2.imwrite(str(path), cv2.cvtColor(strip, cv2.COLOR_RGB2BGR))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._writer is not None:
            self._writer.close()
