"""Stage decode_media: what the input files are, or why they cannot be dubbed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from model.errors import AudioTooShort, MediaError, SilentAudio
from model.media.audio import probe_audio
from model.media.reader import probe_video
from model.plan import AudioFacts, MediaLimits, Passage, VideoFacts


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """The facts of a video and of the voices it is to be dubbed with; None: there is none, or none that can be heard.

    passages: of each passage's own voice. keeps_sound: whether the video's own sound is to be heard outside passages.
    """

    video: VideoFacts
    audio: AudioFacts | None
    passages: tuple[AudioFacts | None, ...] = ()
    keeps_sound: bool = False


def decode_media(
    video: Path,
    audio: Path | None,
    limits: MediaLimits,
    passages: Sequence[Passage] = (),
    *,
    may_be_silent: bool = False,
) -> MediaFacts:
    """Open the files, check them against the limits and decode enough of them to know that they can be decoded.

    Raises every MediaError: see `probe_video` and `probe_audio`. may_be_silent: a silent voice is a finding, no error.
    """
    facts = probe_video(video, limits)
    return MediaFacts(
        facts,
        None if audio is None else _voice(audio, limits, may_be_silent=may_be_silent),
        tuple(_own_voices(passages, limits, may_be_silent=may_be_silent)),
        keeps_sound=bool(passages) and facts.has_audio and _can_be_heard(video, limits),
    )


def _own_voices(
    passages: Sequence[Passage], limits: MediaLimits, *, may_be_silent: bool
) -> Iterator[AudioFacts | None]:
    for number, passage in enumerate(passages):
        with _naming(f"Segment {number}"):
            voice = passage.audio_path
            yield None if voice is None else _voice(voice, limits, may_be_silent=may_be_silent)


def _voice(path: Path, limits: MediaLimits, *, may_be_silent: bool) -> AudioFacts | None:
    try:
        return probe_audio(path, limits)
    except SilentAudio:
        if not may_be_silent:
            raise
        return None


def _can_be_heard(video: Path, limits: MediaLimits) -> bool:
    """Whether the video's own sound is any. It is decoded whole: a fault is to be known before anything is rendered."""
    with _naming("The video's own sound"):
        try:
            probe_audio(video, limits)
        except (SilentAudio, AudioTooShort):
            return False
        return True


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Have an error say which of several files it is about."""
    try:
        yield
    except MediaError as error:
        raise type(error)(f"{what}: {error}") from error
