"""A job's options and the operator's limits in the words of the model library, which core does not know."""

from pathlib import Path

from core.jobs import Face, FaceAt, Job, JobOutput, JobSegment
from core.settings import Settings
from model.plan import (
    AudioCodec,
    Container,
    DubOptions,
    FaceChoice,
    FacePoint,
    MediaLimits,
    Output,
    Passage,
    SyncMode,
    VideoCodec,
)


def dub_options(job: Job, folder: Path = Path()) -> DubOptions:
    """The job's options in the words of the model library. folder: where the voices of segments lie."""
    options = job.options
    return DubOptions(
        sync_mode=SyncMode(options.sync_mode.value),
        seed=options.seed,
        num_inference_steps=options.num_inference_steps,
        guidance_scale=options.guidance_scale,
        face=face_choice(options.face),
        output=output_of(options.output),
        passages=tuple(passage(segment, folder / own_voice(n)) for n, segment in enumerate(options.segments)),
    )


def own_voice(number: int) -> str:
    """The name of the file that holds the voice of a segment."""
    return f"voice-{number}"


def passage(segment: JobSegment, voice: Path) -> Passage:
    """A segment of the job in the words of the model library. voice: where its own voice lies if it has one."""
    face = None if segment.face is None else face_choice(segment.face)
    return Passage(segment.start_s, segment.end_s, None if segment.audio_url is None else voice, face)


def output_of(output: JobOutput) -> Output:
    """How the result is written, in the words of the model library."""
    return Output(
        container=Container(output.container.value),
        codec=VideoCodec(output.codec.value),
        quality=output.quality,
        audio_codec=AudioCodec(output.audio_codec.value),
    )


def face_choice(face: Face) -> FaceChoice:
    """Which face, in the words of the model library."""
    return FacePoint(face.x, face.y, face.time_s) if isinstance(face, FaceAt) else face


def media_limits(settings: Settings) -> MediaLimits:
    """The operator's limits in the words of the model library."""
    return MediaLimits(
        max_pixels=settings.media_max_pixels,
        max_frames=settings.media_max_frames,
        max_duration_seconds=settings.media_max_duration_s,
        max_fps=settings.media_max_fps,
        max_streams=settings.media_max_streams,
        max_decoded_bytes=settings.media_max_decoded_bytes,
        decoder_memory_bytes=settings.decoder_memory_bytes,
        decoder_cpu_seconds=settings.decoder_cpu_s,
        decoder_silence_seconds=settings.decoder_silence_s,
    )
