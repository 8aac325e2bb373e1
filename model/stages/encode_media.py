"""Stage encode_media: the finished pictures and the new voice into one file, encoded once."""

from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from model.media.picture import Picture
from model.media.sound import Soundtrack
from model.media.voice_track import VoiceTrack
from model.media.writer import VideoTrack, new_file
from model.plan import DubPlan
from model.progress import OnProgress, Stage, StageProgress, ignore_progress


def encode_media(
    pictures: Iterable[Picture], plan: DubPlan, out_path: Path, on_progress: OnProgress = ignore_progress
) -> None:
    """Write a file as plan.options.output wants it that shows the pictures at the plan's times, with the plan's sound.

    pictures: exactly plan.frames of them, plan.video.width x plan.video.height. They are pulled one by one, and picture
    and sound advance together, so memory is flat. The sound lasts plan.duration_seconds (see `Soundtrack`).
    `out_path` appears when it is complete; an exception leaves nothing. Raises the MediaErrors of the sound, and
    ValueError when there are more or fewer pictures than planned.
    """
    end = max(plan.pts[-1] + 1, round(Fraction(plan.duration_seconds) / plan.video.time_base))
    output = plan.options.output
    with new_file(out_path, plan.video.time_base, output.container) as container:
        picture_track = VideoTrack(container, plan.video, output)
        sound_track = VoiceTrack(container, Soundtrack(plan), plan.duration_seconds, output.audio_codec)
        spans = pairwise((*plan.pts, end))
        for done, (picture, (pts, next_pts)) in enumerate(zip(pictures, spans, strict=True), start=1):
            picture_track.write(picture, pts, next_pts - pts)
            sound_track.write_until(float(next_pts * plan.video.time_base))
            on_progress(StageProgress(Stage.ENCODE_MEDIA, done, plan.frames))
        picture_track.finish()
        sound_track.finish()
