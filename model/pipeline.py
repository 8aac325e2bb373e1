"""A dub from files to file: analyse() decides, render_segment() generates, compose() joins, dub() does all three.

analyse() is survey() and plan(): between them preflight() can tell what was found. All are
functions over plain data and files, so that a service can checkpoint between them, repeat one segment, or
spread segments over many machines. Memory is flat in the length of the video: frames stream through, and a render holds
the crops of one segment.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from model.audio.features import AudioFeatures
from model.audio.log_mel import SAMPLE_RATE_HZ
from model.device import device_faults_translated
from model.faces.detector import FaceDetector, Image, make_detector
from model.faces.thumbnails import write_thumbnails
from model.media.audio import read_audio_mono_16k
from model.media.frame import Frame
from model.media.picture import Picture
from model.media.reader import read_frames
from model.media.segment_file import SegmentWriter, read_segment
from model.plan import Box, DubOptions, DubPlan, MediaLimits, Segment, Voice
from model.preflight import Preflight, preflight, reported_faces
from model.progress import OnProgress, Stage, StageProgress, ignore_progress
from model.schedule import derived_seed, seeded_generator
from model.stages.composite import composite, crossfade
from model.stages.crop_faces import crop_faces
from model.stages.denoise import denoise
from model.stages.encode_audio import encode_audio
from model.stages.encode_media import encode_media
from model.stages.plan_windows import plan_windows
from model.survey import Survey, plan_dub, survey
from model.weights import HighSyncModel, load_model


@dataclass(frozen=True, slots=True)
class DubReport:
    """What compose() wrote. Frames passed through are the source's own: no face was in them, or they are the
    `frames_outside` of all passages."""

    width: int
    height: int
    fps: float
    frames: int
    frames_synced: int
    frames_passed_through: int
    frames_outside: int
    duration_seconds: float
    weights: str


@dataclass(frozen=True, slots=True)
class _EncodedVoice:
    """The features of one voice, kept while its segments are rendered one after the other."""

    identity: tuple[Path, int, int, float]
    features: AudioFeatures


class Pipeline:
    """The loaded networks and the face detector, ready for any number of dubs, one after the other."""

    def __init__(self, model: HighSyncModel, detector: FaceDetector) -> None:
        self.model = model
        self._detector = detector
        self._voice: _EncodedVoice | None = None

    def dub(
        self,
        video_path: Path,
        audio_path: Path | None,
        out_path: Path,
        options: DubOptions,
        limits: MediaLimits | None = None,
        on_progress: OnProgress = ignore_progress,
    ) -> DubReport:
        """Analyse, render every segment, compose: the whole dub on this machine."""
        plan = self.analyse(video_path, audio_path, options, limits or MediaLimits(), on_progress)
        with TemporaryDirectory(prefix="highsync-", dir=out_path.parent) as folder:
            paths = {segment.index: Path(folder) / f"{segment.index}.mkv" for segment in plan.segments}
            for segment in plan.segments:
                self.render_segment(plan, segment, paths[segment.index], on_progress)
            return self.compose(plan, paths, out_path, on_progress)

    def analyse(
        self,
        video_path: Path,
        audio_path: Path | None,
        options: DubOptions,
        limits: MediaLimits,
        on_progress: OnProgress = ignore_progress,
    ) -> DubPlan:
        """Survey and plan in one. Raises the errors of both."""
        return self.plan(self.survey(video_path, audio_path, options, limits, on_progress=on_progress))

    def survey(
        self,
        video_path: Path,
        audio_path: Path | None,
        options: DubOptions,
        limits: MediaLimits,
        *,
        may_be_silent: bool = False,
        on_progress: OnProgress = ignore_progress,
    ) -> Survey:
        """Decode the inputs once and follow every face: see `model.survey.survey`."""
        return survey(
            video_path,
            audio_path,
            options,
            limits,
            self._detector,
            may_be_silent=may_be_silent,
            on_progress=on_progress,
        )

    def preflight(self, found: Survey) -> Preflight:
        """What a dub of these inputs would meet: see `model.preflight.preflight`. No network runs."""
        return preflight(found, self.model.config.crop_size)

    def thumbnails(self, found: Survey, folder: Path, on_progress: OnProgress = ignore_progress) -> dict[str, Path]:
        """Write a JPEG of each face that a preflight report names; their paths by the faces' ids."""
        frames = len(found.faces.pts)

        def on_each() -> None:
            on_progress(StageProgress(Stage.TRACK_FACES, frames, frames))

        chosen = reported_faces(found.faces)
        return write_thumbnails(found.video_path, found.faces, chosen, folder, found.limits, on_each)

    def plan(self, found: Survey) -> DubPlan:
        """Decide everything that can be decided before a network of ours runs: see `model.survey.plan_dub`."""
        return plan_dub(found)

    @device_faults_translated()
    def render_segment(
        self, plan: DubPlan, segment: Segment, out_path: Path, on_progress: OnProgress = ignore_progress
    ) -> None:
        """Generate the crops of one segment into a segment file. Depends on nothing but the plan and the source files.

        Raises DeviceOutOfMemory, DeviceFailed, and CorruptMedia when a source file is not the one that was analysed.
        """
        crops = self._crop_segment(plan, segment, on_progress)
        on_progress(StageProgress(Stage.ENCODE_AUDIO, 0, segment.frames))
        audio_features = self._features(plan, segment)
        on_progress(StageProgress(Stage.PLAN_WINDOWS, 0, segment.frames))
        windows = plan_windows(segment.frames, plan.options.num_inference_steps)

        def on_step(done: int, total: int) -> None:
            on_progress(StageProgress(Stage.DENOISE, segment.frames * done // total, segment.frames))

        generated = denoise(
            self.model,
            torch.from_numpy(crops),
            audio_features,
            windows=windows,
            guidance_scale=plan.options.guidance_scale,
            generator=seeded_generator(segment_seed(plan.options.seed, segment.index)),
            on_step=on_step,
        )
        with SegmentWriter(out_path, segment.frames, self.model.config.crop_size) as writer:
            for crop in generated:
                writer.write(crop.numpy())

    def compose(
        self,
        plan: DubPlan,
        segment_paths: Mapping[int, Path],
        out_path: Path,
        on_progress: OnProgress = ignore_progress,
    ) -> DubReport:
        """Put the generated mouths into the source's frames and write the result with the new voice, in one encode.

        segment_paths: the segment file of every segment of the plan, by index.
        """
        pictures = _composed_pictures(plan, segment_paths, on_progress)
        encode_media(pictures, plan, out_path, on_progress)
        synced = sum(segment.frames - segment.overlap for segment in plan.segments)
        return DubReport(
            width=plan.video.width,
            height=plan.video.height,
            fps=float(plan.video.fps),
            frames=plan.frames,
            frames_synced=synced,
            frames_passed_through=plan.frames - synced,
            frames_outside=plan.frames - sum(voice.stop - voice.first for voice in plan.voices),
            duration_seconds=plan.duration_seconds,
            weights=self.model.weights.name,
        )

    def _crop_segment(self, plan: DubPlan, segment: Segment, on_progress: OnProgress) -> Image:
        """The segment's crops, (F, S, S, 3) uint8 RGB; the frames around them are let go one by one."""

        def pictures() -> Iterator[Image]:
            for done, frame in enumerate(_source_frames(plan, segment.first, segment.stop), start=1):
                yield frame.to_rgb()
                on_progress(StageProgress(Stage.CROP_FACES, done, segment.frames))

        return crop_faces(pictures(), segment.boxes, self.model.config.crop_size)

    def _features(self, plan: DubPlan, segment: Segment) -> Tensor:
        """What the frames of a segment hear of its voice, (F, 50, 384)."""
        voice = plan.voices[segment.voice]
        starts = plan.span_seconds(voice)[0] - voice.skip_seconds
        times = [time - starts for time in plan.times_seconds(segment.first, segment.stop)]
        return self._encoded(voice, plan).at(times)

    def _encoded(self, voice: Voice, plan: DubPlan) -> AudioFeatures:
        """The features of a voice's file, followed by silence where it is to be heard longer than it lasts."""
        spans = ((each.skip_seconds, *plan.span_seconds(each)) for each in plan.voices if each.path == voice.path)
        seconds = max(skip + stop - start for skip, start, stop in spans)
        file = voice.path.stat()
        identity = (voice.path, file.st_mtime_ns, file.st_size, seconds)
        known = self._voice
        if known is None or known.identity != identity:
            samples = read_audio_mono_16k(voice.path, plan.limits)
            missing = round(seconds * SAMPLE_RATE_HZ) - samples.size
            samples = np.pad(samples, (0, max(0, missing)))
            known = self._voice = _EncodedVoice(identity, encode_audio(self.model.audio_encoder, samples))
        return known.features


def load_pipeline(weights: str, device: torch.device, dtype: torch.dtype, yunet_path: Path | None) -> Pipeline:
    """Load the networks (see `model.weights.load_model`) and the face detector. Raises WeightsError, DetectorError."""
    return Pipeline(load_model(weights, device=device, dtype=dtype), make_detector(yunet_path))


def segment_seed(seed: int, index: int) -> int:
    """The seed of a segment's noise: the dub's own for the first, as published; another for each that follows."""
    if index == 0:
        return seed
    return derived_seed(seed, index)


def _source_frames(plan: DubPlan, first: int, stop: int) -> Iterator[Frame]:
    """The source frames shown by output frames [first, stop), in that order."""
    known = next((i for i, source in enumerate(plan.source_frames) if source != i), plan.frames)
    return read_frames(plan.video_path, plan.source_frames[first:stop], plan.pts[:known], plan.limits)


def _composed_pictures(plan: DubPlan, segment_paths: Mapping[int, Path], on_progress: OnProgress) -> Iterator[Picture]:
    """The pictures of the result in order; those without a face, and those outside passages, are the source's own."""
    frames = _source_frames(plan, 0, plan.frames)
    mouths = _generated_mouths(plan, segment_paths)
    for done, (frame, mouth) in enumerate(zip(frames, mouths, strict=True), start=1):
        on_progress(StageProgress(Stage.COMPOSITE, done, plan.frames))
        if mouth is None:
            yield frame.planes
        else:
            crop, box = mouth
            yield composite(frame.planes, crop, box, plan.options.geometry)


def _generated_mouths(plan: DubPlan, segment_paths: Mapping[int, Path]) -> Iterator[tuple[Image, Box] | None]:
    """For each output frame the generated crop and its place, or None; overlapping segments are cross-faded."""
    waiting = deque(plan.segments)
    tail: list[Image] = []
    position = 0
    while waiting:
        segment = waiting.popleft()
        overlap_after = waiting[0].overlap if waiting else 0
        yield from (None for _ in range(position, segment.first))
        before, tail = tail, []
        for offset, crop in enumerate(read_segment(segment_paths[segment.index])):
            if offset < segment.overlap:
                crop = crossfade(before[offset], crop, offset, segment.overlap)  # noqa: PLW2901
            if offset < segment.frames - overlap_after:
                yield crop, segment.boxes[offset]
            else:
                tail.append(crop)
        position = segment.stop - overlap_after
    yield from (None for _ in range(position, plan.frames))
