"""Stage decode_media: both files, or why not."""

from pathlib import Path

import pytest

from model.errors import NoAudioStream, NoVideoStream
from model.plan import MediaLimits
from model.stages.decode_media import decode_media
from tests.media_factory import make_video, make_voice


def test_facts_of_both_files(tmp_path: Path) -> None:
    media = decode_media(make_video(tmp_path / "a.mp4"), make_voice(tmp_path / "a.wav", seconds=2.0), MediaLimits())

    assert (media.video.width, media.video.height, media.video.frames) == (64, 48, 10)
    assert media.audio.duration_seconds == 2.0


def test_files_the_wrong_way_round_are_named(tmp_path: Path) -> None:
    video, voice = make_video(tmp_path / "a.mp4"), make_voice(tmp_path / "a.wav")

    with pytest.raises(NoVideoStream):
        decode_media(voice, voice, MediaLimits())
    with pytest.raises(NoAudioStream):
        decode_media(video, video, MediaLimits())


def test_the_real_clip(real_media_dir: Path) -> None:
    media = decode_media(real_media_dir / "speaker.mp4", real_media_dir / "voice.wav", MediaLimits())

    assert (media.video.width, media.video.height, media.video.fps, media.video.frames) == (1080, 1920, 25, 250)
    assert media.audio.duration_seconds == 9.6
