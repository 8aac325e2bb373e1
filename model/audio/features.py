"""What the lips hear: the audio features of a voice, at any time."""

from collections.abc import Sequence

import torch
from torch import Tensor

from model.audio.encoder import AudioEncoder, AudioEncoderConfig
from model.audio.log_mel import HOP_SAMPLES, SAMPLE_RATE_HZ, LogMel

COLUMNS_PER_ROW = 2
"""The encoder's second convolution halves time."""

ROWS_PER_SECOND = SAMPLE_RATE_HZ // HOP_SAMPLES // COLUMNS_PER_ROW
SEGMENT_ROWS = 1500
ROWS_BEFORE = 4
ROWS_AFTER = 5
ROWS_PER_FRAME = ROWS_BEFORE + 1 + ROWS_AFTER
ROUNDING_ROWS = 1e-6
"""A time this close below a row, 20 ns, is on it: times such as 7/25 s have no exact floating-point value."""

SEGMENTS_HELD = 2
"""Encoded segments kept at hand: consecutive frames need one, around its border two."""


class AudioFeatures:
    """The features of one voice, `num_rows` rows of S states of width D, 50 per second; Whisper-tiny has 5 of 384.

    A minute of those takes 23 MB, a film's 3 GB. Therefore a 30-second segment is encoded when somebody asks for a time
    in it, and only the latest two are held: rendering part of a voice encodes that part only. A segment is always
    encoded the same way, so the result does not depend on what was asked for before.
    """

    def __init__(self, encoder: AudioEncoder, log_mel: LogMel) -> None:
        self._encoder = encoder
        self._log_mel = log_mel
        self._held: dict[int, Tensor] = {}
        self.num_rows = sum(log_mel.columns_of(index) // COLUMNS_PER_ROW for index in range(log_mel.segments))

    def at(self, frame_times_seconds: Sequence[float]) -> Tensor:
        """The features (F, N, D) of frames shown at these times: 10 rows around each, row by row, state by state.

        Times beyond the voice get its last row. On the encoder's device, in its number format.
        """
        heard = [row for time in frame_times_seconds for row in rows_around(time, self.num_rows)]
        return self.rows(torch.tensor(heard, dtype=torch.long)).view(-1, *tokens_shape(self._encoder.config))

    def rows(self, indices: Tensor) -> Tensor:
        """The features (N, S, D) of the rows `indices` (N,), each in [0, num_rows)."""
        segments = indices // SEGMENT_ROWS
        encoder = self._encoder
        size = (len(indices), encoder.config.num_states, encoder.config.width)
        rows = torch.empty(size, device=encoder.device, dtype=encoder.dtype)
        for segment in sorted(set(segments.tolist())):
            asked = segments == segment
            rows[asked.to(rows.device)] = self._segment(segment)[(indices[asked] % SEGMENT_ROWS).to(rows.device)]
        return rows

    def _segment(self, index: int) -> Tensor:
        """The encoded segment `index`, (1500, S, D)."""
        if index not in self._held:
            while len(self._held) >= SEGMENTS_HELD:
                del self._held[next(iter(self._held))]
            with torch.inference_mode():
                log_mel = self._log_mel.segment(index).to(self._encoder.device, self._encoder.dtype)
                self._held[index] = self._encoder(log_mel.unsqueeze(0))[0]
        return self._held[index]


def tokens_shape(config: AudioEncoderConfig) -> tuple[int, int]:
    """How many tokens a frame hears, and their width: (50, 384) of Whisper-tiny."""
    return ROWS_PER_FRAME * config.num_states, config.width


def rows_around(time_seconds: float, num_rows: int) -> list[int]:
    """The 10 rows a frame at this time hears: four before its own, its own, five after, held at both ends."""
    centre = int(time_seconds * ROWS_PER_SECOND + ROUNDING_ROWS)
    return [min(max(row, 0), num_rows - 1) for row in range(centre - ROWS_BEFORE, centre + ROWS_AFTER + 1)]
