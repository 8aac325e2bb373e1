"""From a job to its result: fetch → analyse → render → compose → publish, with a checkpoint after each costly step."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from core.errors import QueueUnavailable, StorageUnavailable
from core.job_store import Lease
from core.jobs import Job, JobResult
from core.preflight import thumbnail_key
from core.private_urls import PrivateUrls
from core.storage.protocol import sha256_of
from core.tracing import record_span
from model.plan import Container, DubPlan, Segment
from model.progress import Stage, StageProgress
from model.survey import Survey
from worker.bench import Report, Workbench
from worker.checkpoint import Checkpoint, Fingerprint
from worker.inputs import fetch_input
from worker.lease_keeper import LeaseKeeper
from worker.measures import FrameCounter, count_rendered, show_stage
from worker.options import dub_options, media_limits, own_voice
from worker.patience import PatientStorage, keep_trying
from worker.preflight import preflight_report
from worker.progress import AnyStage, ProgressMeter, StageClock, WorkerStage

RESULT_TYPES = {Container.MP4: "video/mp4", Container.MOV: "video/quicktime"}
THUMBNAIL_TYPE = "image/jpeg"

log = structlog.get_logger(__name__)


def job_folder(lease: Lease) -> str:
    """Where everything of the job lies."""
    return f"jobs/{lease.job.id}"


def attempt_folder(lease: Lease) -> str:
    """Where this attempt, and no other, puts its result."""
    return f"{job_folder(lease)}/attempt-{lease.token}"


@dataclass(frozen=True, slots=True)
class _Inputs:
    """The files, and what tells them and all else that shapes the result apart from others. In the options of the
    fingerprint the voices of segments have names only: every attempt has a folder of its own."""

    video: Path
    audio: Path | None
    fingerprint: Fingerprint


class Attempt:
    """One attempt. Every step may raise the errors of `core` and `model`, or an interruption from `keeper.check`."""

    def __init__(self, lease: Lease, bench: Workbench, keeper: LeaseKeeper, scratch: Path) -> None:
        self._lease = lease
        self._bench = bench
        self._keeper = keeper
        self._scratch = scratch
        self._storage = PatientStorage(bench.storage, patience_s=bench.storage_patience_s, check=keeper.check)
        self._urls = PrivateUrls(bench.settings.secret_key)
        self._checkpoint = Checkpoint(self._storage, lease.job.id, scratch)
        self._meter = ProgressMeter()
        self._stages = StageClock(on_run=_trace_stage)
        self._frames = FrameCounter()

    def run(self) -> JobResult | None:
        """All steps, in order. None: only a preflight was asked for, and it stands in the job's record."""
        try:
            return self._run()
        finally:
            self._stages.stop()

    def _run(self) -> JobResult | None:
        inputs = self._fetch(self._lease.job)
        if self._lease.job.options.preflight_only:
            self._report(self._survey(inputs, may_be_silent=True))
            return None
        plan = self._analyse(inputs)
        started, inherited = time.monotonic(), self._checkpoint.finished_segments()
        segments = self._render_segments(plan)
        path = self._scratch / f"result.{plan.options.output.container}"
        report = self._bench.pipeline.compose(plan, segments, path, self._on_progress)
        if not inherited:
            self._bench.speed.note(plan.options, report.frames_synced, time.monotonic() - started)
        result = self._publish(path, report)
        count_rendered(report, self._stages.seconds)
        log.info("attempt_timed", **self.timings)
        return result

    @property
    def timings(self) -> dict[str, float]:
        """Seconds spent in each stage so far."""
        return {stage.value: round(seconds, 3) for stage, seconds in self._stages.seconds.items()}

    def _fetch(self, job: Job) -> _Inputs:
        """All inputs."""
        own = {own_voice(number): segment.audio_url for number, segment in enumerate(job.options.segments)}
        total = len(job.input_urls)
        sha256s: list[str | None] = []
        for name, url in {"video": job.video_url, "voice": job.audio_url, **own}.items():
            self._at(WorkerStage.FETCH, len(sha256s) - sha256s.count(None), total)
            sha256s.append(None if url is None else self._fetch_one(url, self._scratch / name))
        self._at(WorkerStage.FETCH, total, total)
        video_sha256, *audio_sha256s = sha256s
        assert video_sha256 is not None  # noqa: S101  a job has a video
        return _Inputs(
            self._scratch / "video",
            None if job.audio_url is None else self._scratch / "voice",
            Fingerprint(video_sha256, tuple(audio_sha256s), self._bench.weights_sha256, dub_options(job)),
        )

    def _fetch_one(self, url: str, path: Path) -> str:
        return fetch_input(
            self._urls.open(url),
            path,
            storage=self._storage,
            download=self._bench.download,
            max_bytes=self._bench.settings.input_max_bytes,
            check=self._keeper.check,
            wanted_sha256=self._lease.job.input_sha256.get(url),
        )

    def _analyse(self, inputs: _Inputs) -> DubPlan:
        """The plan of an earlier attempt at the same thing, or a new one."""
        plan = self._checkpoint.load_plan(inputs.fingerprint)
        if plan is None:
            found = self._survey(inputs, may_be_silent=False)
            self._report(found)
            plan = self._bench.pipeline.plan(found)
            self._checkpoint.save_plan(inputs.fingerprint, plan)
        log.info("plan_ready", frames=plan.frames, segments=len(plan.segments))
        return plan

    def _survey(self, inputs: _Inputs, *, may_be_silent: bool) -> Survey:
        return self._bench.pipeline.survey(
            inputs.video,
            inputs.audio,
            dub_options(self._lease.job, self._scratch),
            media_limits(self._bench.settings),
            may_be_silent=may_be_silent,
            on_progress=self._on_progress,
        )

    def _report(self, found: Survey) -> None:
        """Show in the job's record what was found, with the thumbnails in storage beside it."""
        for face_id, path in self._bench.pipeline.thumbnails(found, self._scratch, self._on_progress).items():
            self._storage.put_file(thumbnail_key(self._lease.job.id, face_id), path, THUMBNAIL_TYPE)
            self._keeper.check()
        preflight = self._bench.pipeline.preflight(found)
        expected_time = self._bench.speed.expect(found.options, preflight.frames_to_render)
        report = preflight_report(preflight, expected_time)
        keep_trying(
            lambda: self._bench.store.report_preflight(self._lease, report),
            while_raising=QueueUnavailable,
            give_up_after_s=self._bench.store_patience_s,
            before_retry=self._keeper.check,
        )
        log.info("preflight_ready", faces=report.faces_total, warnings=[notice.code for notice in report.warnings])

    def _render_segments(self, plan: DubPlan) -> Mapping[int, Path]:
        """Files of all segments, by index. Those in the checkpoint are not rendered again."""
        finished = self._checkpoint.finished_segments()
        paths = {segment.index: self._scratch / f"segment-{segment.index}.mkv" for segment in plan.segments}
        total = sum(segment.frames for segment in plan.segments)
        done = 0
        for segment in plan.segments:
            path = paths[segment.index]
            if self._checkpoint.segment_key(segment) in finished and self._checkpoint.load_segment(segment, path):
                self._meter.inherit(Stage.DENOISE, segment.frames, total)
            else:
                self._render_segment(plan, segment, path, done, total)
            done += segment.frames
            self._at(Stage.DENOISE, done, total)
        return paths

    def _render_segment(self, plan: DubPlan, segment: Segment, path: Path, done: int, total: int) -> None:
        frames = FrameCounter()

        def on_progress(progress: StageProgress) -> None:
            frames.at(progress)
            denoised = segment.frames * progress.frames_done // progress.frames_total if _is_denoising(progress) else 0
            self._at(progress.stage, done + denoised, total)

        self._bench.pipeline.render_segment(plan, segment, path, on_progress)
        self._checkpoint.save_segment(segment, path)
        log.info("segment_rendered", segment=segment.index, frames=segment.frames)

    def _publish(self, path: Path, report: Report) -> JobResult:
        """Upload the result to this attempt's own place and make sure that it is there, whole."""
        self._at(WorkerStage.PUBLISH, 0, 1)
        key, size = f"{attempt_folder(self._lease)}/{path.name}", path.stat().st_size
        sha256 = sha256_of(path, self._keeper.check)
        self._storage.put_file(key, path, RESULT_TYPES[Container(path.suffix[1:])])
        stored = self._storage.stat(key)
        if (stored.bytes, stored.sha256) != (size, sha256):
            raise StorageUnavailable(f"The storage holds {stored.bytes} bytes of the result's {size}, or others.")
        self._at(WorkerStage.PUBLISH, 1, 1)
        return JobResult(
            key=key,
            sha256=sha256,
            bytes=size,
            width=report.width,
            height=report.height,
            fps=report.fps,
            frames=report.frames,
            duration_s=report.duration_seconds,
            weights=report.weights,
        )

    def _on_progress(self, progress: StageProgress) -> None:
        self._frames.at(progress)
        self._at(progress.stage, progress.frames_done, progress.frames_total)

    def _at(self, stage: AnyStage, done: int, total: int) -> None:
        """Note where the attempt is; the place where it stops when it has to."""
        if self._stages.at(stage):
            show_stage(stage)
        self._keeper.report(self._meter.at(stage, done, total))
        self._keeper.check()


def _is_denoising(progress: StageProgress) -> bool:
    """Whether the progress is of the one stage of a segment that takes time."""
    return progress.stage is Stage.DENOISE and progress.frames_total > 0


def _trace_stage(stage: str, start: float, end: float) -> None:
    """Keep a run of one stage as a step of the attempt. Times in seconds of the monotonic clock."""
    epoch_s = time.time() - time.monotonic()
    record_span(stage, round((epoch_s + start) * 1e9), round((epoch_s + end) * 1e9))
