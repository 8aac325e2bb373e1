"""The voice in: facts, and samples for the audio encoder."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain

import av
import numpy as np
from av.audio.stream import AudioStream
from av.codec.context import ThreadType
from av.container import InputContainer
from numpy.typing import NDArray

from model.errors import AudioTooShort, CorruptMedia, MediaTooLarge, NoAudioStream, SilentAudio
from model.media.decoding.container import open_media
from model.media.decoding.source import MediaSource
from model.plan import AudioFacts, VoiceFormat

_SHORTEST_SECONDS = 0.02
_MOST_PLANES = 7
_LOWEST_RATE_HZ, _HIGHEST_RATE_HZ = 1_000, 768_000


def probe_audio(source: MediaSource) -> AudioFacts:
    """Decode the voice once and say what it holds; the duration is the decoded one.

    Raises NotMedia, NoAudioStream, CorruptMedia, AudioTooShort, SilentAudio, MediaTooLarge.
    """
    samples, peak = 0, 0.0
    with open_media(source) as container:
        stream = open_audio_stream(container)
        for frame in _decode(container, stream, source):
            samples += frame.samples
            peak = max(peak, _peak(frame))
        rate, channels = stream.codec_context.sample_rate, stream.codec_context.channels
        codec = stream.codec_context.codec.canonical_name
    if samples < _SHORTEST_SECONDS * rate:
        raise AudioTooShort(f"The voice is {samples} samples long; at least {_SHORTEST_SECONDS:g} seconds are needed.")
    if peak == 0.0:
        raise SilentAudio("The voice holds no sound at all: every sample is zero.")
    return AudioFacts(codec=codec, sample_rate_hz=rate, channels=channels, duration_seconds=samples / rate, peak=peak)


def voice_format(source: MediaSource) -> VoiceFormat:
    """What the voice file says of its sound, without decoding it. Raises NotMedia, NoAudioStream, CorruptMedia."""
    with open_media(source) as container:
        context = open_audio_stream(container).codec_context
        return VoiceFormat(rate_hz=context.sample_rate, layout=context.layout.name, channels=context.channels)


def decode_samples(source: MediaSource, rate_hz: int, layout: str | None = None) -> Iterator[NDArray[np.float32]]:
    """The voice at a sample rate, and in a channel layout if one is given, in runs of (channels, n) float32.

    Raises NotMedia, NoAudioStream, CorruptMedia, MediaTooLarge.
    """
    with open_media(source) as container:
        frames = _decode(container, open_audio_stream(container), source)
        resampler = av.AudioResampler(format="flt", layout=layout, rate=rate_hz)
        for frame in chain(frames, [None]):
            for converted in resampler.resample(frame):
                if converted is not None:  # what an idle resampler gives back at the end
                    interleaved = converted.to_ndarray().reshape(-1, converted.layout.nb_channels)
                    yield np.ascontiguousarray(interleaved.T, np.float32)


def open_audio_stream(container: InputContainer) -> AudioStream:
    """The first sound stream of a file, ready to decode. Raises NoAudioStream, CorruptMedia without a decoder."""
    if not container.streams.audio:
        raise NoAudioStream("The voice file has no audio stream.")
    stream = container.streams.audio[0]
    if stream.codec_context is None:
        raise CorruptMedia("The voice's codec is not known.")
    stream.codec_context.thread_type = ThreadType.AUTO
    return stream


def _decode(container: InputContainer, stream: AudioStream, source: MediaSource) -> Iterator[av.AudioFrame]:
    """The frames of a sound stream, all of one rate and layout, for as long as the limits allow.

    Raises MediaTooLarge, and CorruptMedia when rate or layout change midway or a sample is not a number.
    """
    limits, samples, shape = source.limits, 0, None
    for frame in container.decode(stream):
        source.pulse()
        shape = shape or (frame.sample_rate, frame.layout.name, frame.format.name)
        if (frame.sample_rate, frame.layout.name, frame.format.name) != shape:
            raise CorruptMedia("The voice changes its sample rate or channels midway.")
        if not _LOWEST_RATE_HZ <= frame.sample_rate <= _HIGHEST_RATE_HZ:
            raise CorruptMedia(f"The voice says that it has {frame.sample_rate} samples per second.")
        samples += frame.samples
        if Fraction(samples, frame.sample_rate) > limits.max_duration_seconds:
            raise MediaTooLarge(f"The voice is longer than {limits.max_duration_seconds:g} seconds.")
        if not np.isfinite(_samples(frame)).all():
            raise CorruptMedia("The voice holds samples that are not numbers.")
        yield frame


def _samples(frame: av.AudioFrame) -> NDArray[np.generic]:
    """The samples in any order. PyAV reads beyond its memory where eight channels or more have a plane each."""
    if frame.format.is_planar and frame.layout.nb_channels > _MOST_PLANES:
        packed = av.AudioResampler(format=frame.format.packed, layout=frame.layout, rate=frame.sample_rate)
        (frame,) = packed.resample(frame)
    return frame.to_ndarray()


def _peak(frame: av.AudioFrame) -> float:
    """The largest distance of a sample from silence, as a share of full scale."""
    samples = _samples(frame)
    if samples.dtype == np.uint8:
        return float(np.abs(samples.astype(np.int16) - 128).max(initial=0)) / 128
    full_scale = 1.0 if samples.dtype.kind == "f" else 2.0 ** (8 * samples.dtype.itemsize - 1)
    return max(float(samples.max(initial=0)), -float(samples.min(initial=0))) / full_scale
