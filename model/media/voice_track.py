"""The sound track of an output file, with its sound's own rate and channels where the codec can have them."""

from fractions import Fraction
from itertools import product
from typing import cast

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.error import FFmpegError
from numpy.typing import NDArray

from model.media.sound import Sound, Tape
from model.plan import AudioCodec, VoiceFormat

_CODECS: dict[AudioCodec, tuple[str, str]] = {
    AudioCodec.AAC: ("aac", "fltp"),
    AudioCodec.PCM: ("pcm_s24le", "s32"),
    AudioCodec.FLAC: ("flac", "s32"),
}
"""The name of the encoder, and the sample format it takes. Of 32 bits both s32 encoders keep the upper 24."""

_DEFAULT_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}
"""Layouts of files that give their number of channels only."""

_FRAME_SAMPLES = 1024
_RATES_HZ = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)
"""ISO/IEC 14496-3, table 1.18."""

_BITS_PER_SECOND_AND_CHANNEL = 128_000
_BITS_PER_SAMPLE = 5
"""Just under the most AAC may spend: 6144 bits on the 1024 samples of one channel's frame."""


class VoiceTrack:
    """Encodes one sound into one output file, as far ahead as it is asked to.

    The sound is cut, or followed by silence, to exactly `duration_seconds`. Raises the MediaErrors of its files.
    """

    def __init__(
        self,
        container: OutputContainer,
        sound: Sound,
        duration_seconds: float,
        codec: AudioCodec = AudioCodec.AAC,
    ) -> None:
        rate, layout = _encodable(codec, sound.format)
        self._container = container
        self._stream = cast(AudioStream, container.add_stream(_CODECS[codec][0], rate=rate, layout=layout))
        self._stream.codec_context.format = _CODECS[codec][1]
        if codec is AudioCodec.AAC:
            self._stream.bit_rate = min(_BITS_PER_SECOND_AND_CHANNEL, _BITS_PER_SAMPLE * rate) * self._stream.channels
        self._codec, self._rate, self._layout = codec, rate, layout
        self._tape = Tape(sound.runs(rate, layout), layout)
        self._written, self._end = 0, round(duration_seconds * rate)

    def write_until(self, seconds: float) -> None:
        """Encode the sound up to this time, or to its end."""
        while self._written < min(seconds * self._rate, self._end):
            block = self._tape.take(min(_FRAME_SAMPLES, self._end - self._written))
            frame = _frame(block, self._codec, self._rate, self._layout)
            frame.pts, frame.time_base = self._written, Fraction(1, self._rate)
            self._container.mux(self._stream.encode(frame))
            self._written += frame.samples

    def finish(self) -> None:
        """Encode the rest."""
        self.write_until(float("inf"))
        self._container.mux(self._stream.encode(None))


def _encodable(codec: AudioCodec, wanted: VoiceFormat) -> tuple[int, str]:
    """The first rate and layout the encoder opens with: the sound's own; else the nearest usual rate, the usual layout
    of as many channels, or stereo."""
    usual_rate = min(_RATES_HZ, key=lambda known: abs(known - wanted.rate_hz))
    layouts = (wanted.layout, _DEFAULT_LAYOUTS.get(wanted.channels, "stereo"), "stereo")
    name, sample_format = _CODECS[codec]
    for candidate in product((wanted.rate_hz, usual_rate), layouts):
        encoder = cast(AudioCodecContext, av.CodecContext.create(name, "w"))
        try:
            encoder.format, (encoder.sample_rate, encoder.layout) = sample_format, candidate
            encoder.open()
        except (FFmpegError, ValueError):
            continue
        return candidate
    return usual_rate, "stereo"


def _frame(block: NDArray[np.float32], codec: AudioCodec, rate: int, layout: str) -> av.AudioFrame:
    """One encoder frame of samples (channels, n) in [-1, 1]."""
    if codec is AudioCodec.AAC:  # PyAV brings it into planes; it would not take eight of them from us
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block.T).reshape(1, -1), format="flt", layout=layout)
    else:
        levels = np.clip(np.rint(block.T.astype(np.float64) * 2**23), -(2**23), 2**23 - 1).astype(np.int32) << 8
        frame = av.AudioFrame.from_ndarray(levels.reshape(1, -1), format="s32", layout=layout)
    frame.sample_rate = rate
    return frame
