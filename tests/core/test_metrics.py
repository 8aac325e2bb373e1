"""Metrics: named by one rule, exported by the process that sets them, and whole in a prefork worker."""

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from core import metrics
from core.docs import PAGES
from core.errors import ErrorCode, QueueUnavailable
from core.job_store import MemoryJobStore, QueueStats
from core.jobs import JobFailure, JobStatus
from core.metrics import QueueCollector, measured, measured_fetch, record_finished, service_registry, worker_registry
from tests.core.houses import make_job

ALLOWED_LABELS = {
    "outcome", "error_code", "kind", "reason", "stage", "result", "op", "state", "weights", "weights_sha256", "device",
    "dtype", "phase", "handler", "method", "status",
}  # fmt: skip


def exported(registry: CollectorRegistry) -> dict[str, float]:
    return {
        f"{sample.name}{sorted(sample.labels.items()) if sample.labels else ''}": sample.value
        for metric in registry.collect()
        for sample in metric.samples
    }


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    return registry.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize("make", [lambda: service_registry(MemoryJobStore()), worker_registry], ids=["api", "worker"])
def test_names_and_labels_follow_the_rules(make: object) -> None:
    assert callable(make)
    for metric in make().collect():
        assert metric.name.startswith(("highsync_", "http_"))
        assert metric.documentation.endswith(".")
        for sample in metric.samples:
            assert set(sample.labels) - {"le"} <= ALLOWED_LABELS


def test_every_metric_belongs_to_a_process() -> None:
    defined = {item for item in vars(metrics).values() if isinstance(item, MetricWrapperBase)}
    assert defined == {*metrics.SERVICE_METRICS, *metrics.WORKER_METRICS}


def test_every_metric_is_on_its_page() -> None:
    page = PAGES["metrics.md"]()
    for registry in (service_registry(MemoryJobStore()), worker_registry()):
        for metric in registry.collect():
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            assert f"| `{name}` | {metric.type} |" in page


def test_the_api_says_nothing_in_a_workers_name() -> None:
    text = generate_latest(service_registry(MemoryJobStore())).decode()
    assert "highsync_worker_up" not in text
    assert "highsync_queue_depth" not in generate_latest(worker_registry()).decode()


def test_the_state_of_the_queue_is_exported() -> None:
    store = MemoryJobStore()
    for _ in range(3):
        store.create(make_job())
    store.request_cancel(store.list(limit=1).jobs[0].id)

    registry = service_registry(store)
    assert value(registry, "highsync_queue_depth") == 2
    assert value(registry, "highsync_jobs", state="queued") == 2
    assert value(registry, "highsync_jobs", state="canceled") == 1
    assert 0 <= value(registry, "highsync_queue_oldest_age_seconds") < 60


class CountingStore(MemoryJobStore):
    """A store that counts how often it is asked, and can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.away = False

    def stats(self) -> QueueStats:
        self.asked += 1
        if self.away:
            raise QueueUnavailable("Redis is away.")
        return super().stats()


def test_many_scrapes_ask_redis_once_in_a_while() -> None:
    store, now = CountingStore(), [0.0]
    collector = QueueCollector(store, max_age_s=5, clock=lambda: now[0])
    for second in range(11):
        now[0] = second
        assert list(collector.collect())
    assert store.asked == 3


def test_without_redis_there_is_no_number_and_no_fault() -> None:
    store = CountingStore()
    store.away = True
    registry = service_registry(store)
    assert not any(name.startswith("highsync_queue") for name in exported(registry))


def test_registering_asks_nothing() -> None:
    store = CountingStore()
    service_registry(store)
    assert store.asked == 0


def test_an_end_is_counted_with_its_reason_and_its_duration() -> None:
    registry = worker_registry()
    labels = {"outcome": "failed", "error_code": "no_face_found"}
    before = value(registry, "highsync_jobs_finished_total", **labels)
    seconds_before = value(registry, "highsync_job_duration_seconds_sum", outcome="failed")
    start = datetime.now(UTC)

    record_finished(
        make_job(
            status=JobStatus.FAILED,
            error=JobFailure.of(ErrorCode.NO_FACE_FOUND, "No face."),
            started_at=start,
            finished_at=start + timedelta(seconds=90),
        )
    )

    assert value(registry, "highsync_jobs_finished_total", **labels) == before + 1
    assert value(registry, "highsync_job_duration_seconds_sum", outcome="failed") == seconds_before + 90


def test_what_alerts_count_is_there_before_it_happens_for_the_first_time() -> None:
    bug = {"outcome": "failed", "error_code": "internal_error"}
    for registry in (service_registry(MemoryJobStore()), worker_registry()):
        assert registry.get_sample_value("highsync_jobs_finished_total", bug) is not None
    service = service_registry(MemoryJobStore())
    assert service.get_sample_value("highsync_deadline_expired_total", {"phase": "running"}) is not None


def test_operations_are_timed_with_their_outcome() -> None:
    registry = worker_registry()

    @measured("test")
    def operate(fail: bool) -> str:
        if fail:
            raise QueueUnavailable("no")
        return "done"

    assert operate(False) == "done"
    with pytest.raises(QueueUnavailable):
        operate(True)
    for outcome in ("ok", "QueueUnavailable"):
        assert value(registry, "highsync_storage_op_seconds_count", op="test", outcome=outcome) == 1


def test_downloads_are_timed_with_their_outcome() -> None:
    registry = worker_registry()
    before = value(registry, "highsync_fetch_seconds_count", outcome="ok")
    with measured_fetch():
        pass
    assert value(registry, "highsync_fetch_seconds_count", outcome="ok") == before + 1
