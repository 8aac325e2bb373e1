"""
Every metric of the service, in one place. Labels are bounded: never a job, a URL or a tenant.

The objects belong to no registry: each process edge makes one with what that process sets (`service_registry`,
`worker_registry`), so that no process exports zeros for another one's work.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from core.errors import ErrorCode, QueueUnavailable
from core.job_store.protocol import JobStore, QueueStats
from core.jobs import Job, JobStatus

_SECONDS_OF_A_CALL = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_SECONDS_OF_A_JOB = (5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)
_SECONDS_OF_A_STAGE = (0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600)
_SECONDS_OF_A_WAIT = (0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 120, 300, 600, 1800)
_SECONDS_OF_A_REQUEST = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_RATIOS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 50, 100)

# requests
HTTP_REQUESTS = Counter(
    "http_requests_total",
    "Requests answered, by the template of their route.",
    ["handler", "method", "status"],
    registry=None,
)
HTTP_REQUEST_DURATION_SECONDS = Histogram(
    "http_request_duration_seconds",
    "From a request to the end of its answer, but for streams of events.",
    ["handler", "method"],
    buckets=_SECONDS_OF_A_REQUEST,
    registry=None,
)

# jobs
JOBS_SUBMITTED = Counter("highsync_jobs_submitted_total", "Jobs accepted.", registry=None)
IDEMPOTENT_REPLAYS = Counter(
    "highsync_idempotent_replays_total", "Requests answered again by their Idempotency-Key.", registry=None
)
REQUESTS_REFUSED = Counter(
    "highsync_requests_refused_total",
    "Requests refused for who sent them, or for a limit of theirs.",
    ["error_code"],
    registry=None,
)
JOBS_FINISHED = Counter("highsync_jobs_finished_total", "Jobs that are over.", ["outcome", "error_code"], registry=None)
JOB_DURATION_SECONDS = Histogram(
    "highsync_job_duration_seconds",
    "From the first start of a job to its end.",
    ["outcome"],
    buckets=_SECONDS_OF_A_JOB,
    registry=None,
)
QUEUE_WAIT_SECONDS = Histogram(
    "highsync_queue_wait_seconds",
    "From the acceptance of a job to its first start.",
    buckets=_SECONDS_OF_A_WAIT,
    registry=None,
)
JOB_ATTEMPTS = Counter(
    "highsync_job_attempts_total", "Starts of jobs: first, or again after a lost one.", ["reason"], registry=None
)
LEASES_LOST = Counter("highsync_leases_lost_total", "Running jobs whose worker fell silent.", registry=None)
DEADLINE_EXPIRED = Counter(
    "highsync_deadline_expired_total", "Jobs whose deadline passed, while queued or running.", ["phase"], registry=None
)
DUPLICATE_DELIVERIES = Counter(
    "highsync_duplicate_deliveries_total", "Messages for jobs that had nothing to start.", registry=None
)

# the work
STAGE_DURATION_SECONDS = Histogram(
    "highsync_stage_duration_seconds",
    "Time in a stage, per job.",
    ["stage"],
    buckets=_SECONDS_OF_A_STAGE,
    registry=None,
)
STAGE_FRAMES = Counter(
    "highsync_stage_frames_total", "Frames that a stage has done, counted while it runs.", ["stage"], registry=None
)
FRAMES = Counter("highsync_frames_total", "Frames of results: synced, or passed through.", ["result"], registry=None)
REALTIME_FACTOR = Histogram(
    "highsync_realtime_factor", "Processing seconds per second of result.", buckets=_RATIOS, registry=None
)

# the worker
WORKER_UP = Gauge(
    "highsync_worker_up", "1 while the worker has its model loaded.", multiprocess_mode="livemax", registry=None
)
WORKER_BUSY = Gauge(
    "highsync_worker_busy", "1 while the worker renders a job.", multiprocess_mode="livemax", registry=None
)
WORKER_STAGE = Gauge(
    "highsync_worker_stage",
    "1 for the stage that the worker is at; 0 for all of them while it waits for a job.",
    ["stage"],
    multiprocess_mode="livemax",
    registry=None,
)
WORKER_RSS_BYTES = Gauge(
    "highsync_worker_rss_bytes",
    "Memory of the process that renders, as Linux counts it.",
    multiprocess_mode="livemax",
    registry=None,
)
GPU_MEMORY_BYTES = Gauge(
    "highsync_gpu_memory_bytes",
    "GPU memory of the process that renders, after its latest job: allocated, reserved, peak.",
    ["kind"],
    multiprocess_mode="livemax",
    registry=None,
)
MODEL_LOAD_SECONDS = Gauge(
    "highsync_model_load_seconds", "How long loading the model took.", multiprocess_mode="livemax", registry=None
)
MODEL_INFO = Gauge(
    "highsync_model_info",
    "1, with the loaded weights as labels.",
    ["weights", "weights_sha256", "device", "dtype"],
    multiprocess_mode="livemax",
    registry=None,
)

SCRATCH_FREE_RATIO = Gauge(
    "highsync_scratch_free_ratio", "Free share of the scratch disk.", multiprocess_mode="livemax", registry=None
)
RENDERS_STALLED = Counter(
    "highsync_renders_stalled_total", "Renders that gave no sign of life and were ended.", registry=None
)

# input and output
FETCH_SECONDS = Histogram(
    "highsync_fetch_seconds", "Time to download an input.", ["outcome"], buckets=_SECONDS_OF_A_STAGE, registry=None
)
FETCH_BYTES = Counter("highsync_fetch_bytes_total", "Bytes of inputs downloaded.", registry=None)
STORAGE_OP_SECONDS = Histogram(
    "highsync_storage_op_seconds",
    "Time of an operation on the storage.",
    ["op", "outcome"],
    buckets=_SECONDS_OF_A_CALL,
    registry=None,
)
WEBHOOK_DELIVERIES = Counter(
    "highsync_webhook_deliveries_total", "Webhook deliveries attempted.", ["outcome"], registry=None
)
WEBHOOK_DELIVERY_SECONDS = Histogram(
    "highsync_webhook_delivery_seconds",
    "Time of an attempt to deliver a webhook.",
    ["outcome"],
    buckets=_SECONDS_OF_A_CALL,
    registry=None,
)
JANITOR_REMOVED = Counter(
    "highsync_janitor_removed_total",
    "What the janitor removed: old jobs, unused uploads, orphaned files, uploads never finished.",
    ["kind"],
    registry=None,
)

SERVICE_METRICS: tuple[MetricWrapperBase, ...] = (
    HTTP_REQUESTS,
    HTTP_REQUEST_DURATION_SECONDS,
    JOBS_SUBMITTED,
    IDEMPOTENT_REPLAYS,
    REQUESTS_REFUSED,
    JOBS_FINISHED,
    LEASES_LOST,
    DEADLINE_EXPIRED,
    JANITOR_REMOVED,
    STORAGE_OP_SECONDS,
    WEBHOOK_DELIVERIES,
    WEBHOOK_DELIVERY_SECONDS,
)
WORKER_METRICS: tuple[MetricWrapperBase, ...] = (
    JOBS_FINISHED,
    JOB_DURATION_SECONDS,
    QUEUE_WAIT_SECONDS,
    JOB_ATTEMPTS,
    DUPLICATE_DELIVERIES,
    STAGE_DURATION_SECONDS,
    STAGE_FRAMES,
    FRAMES,
    REALTIME_FACTOR,
    WORKER_UP,
    WORKER_BUSY,
    WORKER_STAGE,
    WORKER_RSS_BYTES,
    GPU_MEMORY_BYTES,
    MODEL_LOAD_SECONDS,
    MODEL_INFO,
    SCRATCH_FREE_RATIO,
    RENDERS_STALLED,
    FETCH_SECONDS,
    FETCH_BYTES,
    STORAGE_OP_SECONDS,
)


def service_registry(store: JobStore) -> CollectorRegistry:
    """What the API exports: its own counters and, from the one place that asks, the state of the queue."""
    registry = _registry_of(SERVICE_METRICS)
    registry.register(QueueCollector(store))
    return registry


def worker_registry(processes: Collector | None = None) -> CollectorRegistry:
    """What the worker exports: the parent of a prefork pool answers for its children, whom `processes` brings."""
    return _registry_of(WORKER_METRICS, processes)


def _registry_of(metrics: Sequence[MetricWrapperBase], processes: Collector | None = None) -> CollectorRegistry:
    """
    What this process counts of these. With PROMETHEUS_MULTIPROC_DIR set (before Python starts): what all processes
    count that have the same folder, as `processes` or the plain collector of the folder has it.
    """
    _begin_at_zero()
    registry = CollectorRegistry()
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry.register(_Together(metrics, processes or MultiProcessCollector(None)))  # type: ignore[no-untyped-call]
        return registry
    for collector in metrics:
        registry.register(collector)
    return registry


def _begin_at_zero() -> None:
    """
    Show what alerts and dashboards count before it happens for the first time. Prometheus sees no increase in a series
    that begins with 1, so that the first job to meet a bug would call nobody.
    """
    for status in (status for status in JobStatus if status.is_terminal):
        JOB_DURATION_SECONDS.labels(status.value)
    for status in (JobStatus.SUCCEEDED, JobStatus.CANCELED):
        JOBS_FINISHED.labels(status.value, "")
    JOBS_FINISHED.labels(JobStatus.EXPIRED.value, ErrorCode.DEADLINE_EXCEEDED.value)
    for code in ErrorCode:
        JOBS_FINISHED.labels(JobStatus.FAILED.value, code.value)
    for phase in ("queued", "running"):
        DEADLINE_EXPIRED.labels(phase)
    for reason in ("first", "again"):
        JOB_ATTEMPTS.labels(reason)
    FETCH_SECONDS.labels("ok")


class _Together(Collector):
    """These metrics of all processes, and none that others in the same folder have merely declared."""

    def __init__(self, metrics: Iterable[MetricWrapperBase], processes: Collector) -> None:
        self._names = {family.name for metric in metrics for family in metric.describe()}
        self._processes = processes

    def collect(self) -> Iterator[Metric]:
        """The sums."""
        return (family for family in self._processes.collect() if family.name in self._names)


def record_finished(job: Job) -> None:
    """Count a job that has just come to its end. Called once, by whoever ended it."""
    outcome = job.status.value
    JOBS_FINISHED.labels(outcome, job.error.code.value if job.error else "").inc()
    if job.started_at and job.finished_at:
        JOB_DURATION_SECONDS.labels(outcome).observe((job.finished_at - job.started_at).total_seconds())


@contextmanager
def measured(operation: str) -> Iterator[None]:
    """Time an operation on the storage; the outcome is `ok` or the name of the exception. Also a decorator."""
    with _timed(partial(STORAGE_OP_SECONDS.labels, operation)):
        yield


@contextmanager
def measured_fetch() -> Iterator[None]:
    """Time the download of an input, likewise."""
    with _timed(FETCH_SECONDS.labels):
        yield


@contextmanager
def _timed(histogram_of: Callable[[str], Histogram]) -> Iterator[None]:
    start = time.monotonic()
    outcome = "ok"
    try:
        yield
    except Exception as error:
        outcome = type(error).__name__
        raise
    finally:
        histogram_of(outcome).observe(time.monotonic() - start)


class QueueCollector(Collector):
    """Depth and age of the queue and jobs by state, asked for at most every `max_age_s` seconds."""

    def __init__(self, store: JobStore, max_age_s: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._max_age_s = max_age_s
        self._clock = clock
        self._stats: QueueStats | None = None
        self._asked_at = float("-inf")

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges. Absent while Redis is away: no number is better than an old one."""
        if self._clock() - self._asked_at >= self._max_age_s:
            self._asked_at = self._clock()
            self._stats = self._ask()
        if self._stats is None:
            return
        yield GaugeMetricFamily("highsync_queue_depth", "Jobs that wait for a worker.", value=self._stats.depth)
        yield GaugeMetricFamily(
            "highsync_queue_oldest_age_seconds", "How long the first of them waits.", value=self._stats.oldest_age_s
        )
        jobs = GaugeMetricFamily("highsync_jobs", "Jobs kept, by state.", labels=["state"])
        for status, count in self._stats.by_status.items():
            jobs.add_metric([status.value], count)
        yield jobs

    def _ask(self) -> QueueStats | None:
        try:
            return self._store.stats()
        except QueueUnavailable:
            return None

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing is asked when the collector is registered."""
        return ()
