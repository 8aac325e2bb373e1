"""The janitor removes what nobody needs, and never anything of a live job: with real stores, and with their fakes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.errors import StorageUnavailable, UploadNotFound
from core.janitor import (
    _DOUBTFUL_AFTER_S,
    Janitor,
    JanitorReport,
    MemorySuspects,
    RedisSuspects,
    Suspects,
    purge,
    remove_upload,
)
from core.job_store import JobStore, Lease, MemoryJobStore, RedisJobStore
from core.jobs import Job, JobStatus
from core.metrics import JANITOR_REMOVED
from core.redis_client import connect
from core.storage import LocalStorage, Storage
from core.uploads import MemoryUploadStore, RedisUploadStore, Upload, UploadStore, new_upload_id, upload_key, uploads_of
from tests.core.houses import LEASE_TTL_S, RESULT, age_redis, make_job

GRACE_S = 1000.0
KEEP_S = 100.0


@dataclass
class Place:
    """A service without processes: what the API, its clients and the workers do, step by step."""

    store: JobStore
    uploads: UploadStore
    suspects: Suspects
    storage: Storage
    let_pass: Any
    scratch: Path
    janitor: Janitor = field(init=False)

    def __post_init__(self) -> None:
        self.janitor = Janitor(self.store, self.uploads, self.storage, self.suspects, GRACE_S)

    def put(self, key: str) -> None:
        (self.scratch / "source").write_bytes(key.encode())
        self.storage.put_file(key, self.scratch / "source", "video/mp4")

    def upload(self) -> Upload:
        now = datetime.now(UTC)
        upload = Upload(
            id=new_upload_id(),
            tenant="one",
            created_at=now,
            kept_until=now + timedelta(seconds=KEEP_S),
            max_bytes=1000,
        )
        self.uploads.create(upload, KEEP_S, 0)
        self.put(upload.key)
        return self.uploads.receive(upload.id, 40, 0)

    def post(self, *uploads: Upload, retention_s: float | None = 10.0) -> Job:
        urls = [upload.url for upload in uploads] or ["https://v.org/a.mp4"]
        job = make_job(video_url=urls[0], audio_url=urls[-1], retention_s=retention_s)
        for upload_id in uploads_of(job):
            self.uploads.hold(upload_id, job.id)
        self.store.create(job)
        return job

    def begin(self, job: Job | None = None) -> Lease:
        """A worker takes the next job, which is this one."""
        lease = self.store.claim_next("worker")
        assert lease is not None
        assert job is None or lease.job.id == job.id
        self.put(f"jobs/{lease.job.id}/segments/0.mkv")
        return lease

    def finish(self, lease: Lease) -> None:
        key = f"jobs/{lease.job.id}/attempt-{lease.token}/result.mp4"
        self.put(key)
        self.store.succeed(lease, RESULT.model_copy(update={"key": key}))

    def keys(self) -> list[str]:
        return [*self.storage.list("jobs"), *self.storage.list("uploads")]


def memory_place(folder: Path) -> Place:
    now = [datetime.now(UTC).timestamp()]

    def clock() -> float:
        return now[0]

    def let_pass(seconds: float) -> None:
        now[0] += seconds

    storage = LocalStorage(folder / "storage", "http://x", "s" * 32)
    storage.prepare()
    store = MemoryJobStore(LEASE_TTL_S, clock)
    return Place(store, MemoryUploadStore(clock), MemorySuspects(clock), storage, let_pass, folder)


@pytest.fixture(params=["memory", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "memory":
        return memory_place(tmp_path)
    client = connect(request.getfixturevalue("redis_url"))
    storage = LocalStorage(tmp_path / "storage", "http://x", "s" * 32)
    storage.prepare()

    def let_pass(seconds: float) -> None:
        age_redis(client, seconds)
        for index in ("highsync:uploads:unused", "highsync:uploads:doubtful", "highsync:orphans"):
            for member in client.zrange(index, 0, -1):
                client.zincrby(index, -seconds, str(member))

    store = RedisJobStore(client, LEASE_TTL_S)
    return Place(store, RedisUploadStore(client), RedisSuspects(client), storage, let_pass, tmp_path)


class TestRetention:
    def test_a_job_goes_with_all_that_was_its_own_when_its_time_is_over(self, place: Place) -> None:
        place.finish(place.begin(job := place.post(place.upload(), place.upload())))
        assert place.janitor.clean() == JanitorReport()
        assert len(place.keys()) == 4

        place.let_pass(11.0)

        assert place.janitor.clean() == JanitorReport(jobs=1)
        assert place.keys() == []
        assert place.store.list().jobs == ()
        assert place.uploads.used_bytes("one") == 0
        with pytest.raises(UploadNotFound):
            place.uploads.get(uploads_of(job)[0])

    def test_a_job_without_an_end_of_its_retention_stays(self, place: Place) -> None:
        place.finish(place.begin(place.post(place.upload(), retention_s=None)))
        place.let_pass(10 * GRACE_S)

        assert place.janitor.clean() == JanitorReport()

    def test_what_another_job_uses_stays(self, place: Place) -> None:
        shared, own = place.upload(), place.upload()
        place.finish(place.begin(place.post(shared, own)))
        other = place.post(shared)
        place.let_pass(10 * KEEP_S)

        place.janitor.clean()

        assert place.keys() == [shared.key]
        place.store.request_cancel(other.id)
        purge(place.store.get(other.id), place.store, place.uploads, place.storage)
        assert place.keys() == []

    def test_one_that_cannot_be_purged_keeps_no_other_from_it(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stuck, free = place.post(), place.post()
        for job in (stuck, free):
            place.finish(place.begin(job))
        place.let_pass(11.0)
        storage = PartlyBroken(place.storage, f"jobs/{stuck.id}")
        monkeypatch.setattr(place.janitor, "storage", storage)

        assert place.janitor.clean().jobs == 1
        assert [job.id for job in place.store.list().jobs] == [stuck.id]

        storage.broken = "nothing"
        place.let_pass(301.0)
        assert place.janitor.clean().jobs == 1


class PartlyBroken:
    """A storage on a disk with one bad folder."""

    def __init__(self, storage: Storage, broken: str) -> None:
        self._storage = storage
        self.broken = broken

    def delete_prefix(self, prefix: str) -> None:
        if prefix.startswith(self.broken):
            raise StorageUnavailable("The storage folder: Input/output error.")
        self._storage.delete_prefix(prefix)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)


class TestUploads:
    def test_one_that_nobody_used_goes_after_its_time(self, place: Place) -> None:
        place.upload()
        place.let_pass(KEEP_S + 1)

        assert place.janitor.clean() == JanitorReport(uploads=1)
        assert place.keys() == []

    def test_a_job_that_was_never_created_holds_nothing_for_long(self, place: Place) -> None:
        upload = place.upload()
        place.uploads.hold(upload.id, make_job().id)  # and the API dies
        place.let_pass(_DOUBTFUL_AFTER_S + 1)

        assert place.janitor.clean() == JanitorReport(uploads=1)

    def test_a_job_that_waits_for_long_keeps_its_inputs(self, place: Place) -> None:
        upload = place.upload()
        place.post(upload)
        for _ in range(3):
            place.let_pass(10 * GRACE_S)
            assert place.janitor.clean() == JanitorReport()
        assert place.keys() == [upload.key]

    def test_a_crash_between_file_and_record_is_made_good(self, place: Place) -> None:
        upload = place.upload()
        place.uploads.withdraw(upload.id)
        place.storage.delete_prefix(upload.key)  # and the API dies
        place.let_pass(61.0)

        assert place.janitor.clean().uploads == 1
        assert place.uploads.used_bytes("one") == 0


class TestOrphans:
    def test_files_without_a_record_go_after_a_grace(self, place: Place) -> None:
        lost_job, lost_upload = make_job().id, new_upload_id()
        place.put(f"jobs/{lost_job}/attempt-1/result.mp4")
        place.put(f"uploads/{lost_upload}")
        assert place.janitor.clean() == JanitorReport()
        place.let_pass(GRACE_S - 1)
        assert place.janitor.clean() == JanitorReport()

        place.let_pass(2)

        assert place.janitor.clean() == JanitorReport(orphans=2)
        assert place.keys() == []

    def test_a_record_that_comes_back_ends_the_suspicion(self, place: Place) -> None:
        """Given an operator who restores a backup of Redis, the grace begins anew for whatever is lost again."""
        job = make_job()
        place.put(f"jobs/{job.id}/plan.json")
        place.janitor.clean()
        place.let_pass(GRACE_S - 1)
        place.store.create(job)
        place.janitor.clean()
        place.store.request_cancel(job.id)
        place.store.delete(job.id)
        place.janitor.clean()
        place.let_pass(GRACE_S - 1)

        assert place.janitor.clean() == JanitorReport()

    def test_what_is_not_ours_is_left_alone(self, place: Place) -> None:
        place.put("jobs/my-own-notes/a.txt")
        place.put("uploads/readme.txt")
        place.janitor.clean()
        place.let_pass(2 * GRACE_S)

        assert place.janitor.clean() == JanitorReport()

    def test_many_are_removed_over_some_rounds_each_of_bounded_work(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("core.janitor.AT_ONCE", 3)
        kept = [place.post(retention_s=None) for _ in range(4)]
        for job in kept:
            place.put(f"jobs/{job.id}/plan.json")
        for _ in range(7):
            place.put(f"jobs/{make_job().id}/plan.json")
        for _ in range(4):
            place.janitor.clean()
        place.let_pass(GRACE_S + 1)

        removed = [place.janitor.clean().orphans for _ in range(8)]

        assert sum(removed) == 7
        assert max(removed) <= 3
        assert len(place.keys()) == 4


def test_one_round_at_a_time(place: Place) -> None:
    place.upload()
    place.let_pass(KEEP_S + 1)
    with place.store.exclusive("janitor", 30):
        assert place.janitor.clean() == JanitorReport()
    assert place.janitor.clean() == JanitorReport(uploads=1)


def test_rounds_that_meet_after_all_do_no_harm(place: Place) -> None:
    """As when one takes longer than its lock holds: both do their best, and nothing is lost or counted twice."""
    for _ in range(6):
        place.finish(place.begin(place.post(place.upload(), place.upload())))
    kept = place.post(place.upload())
    place.let_pass(KEEP_S + 11)
    reports = [JanitorReport(), JanitorReport()]

    with ThreadPoolExecutor(2) as pool:
        for round_ in [pool.submit(place.janitor._clean, report) for report in reports]:
            round_.result()

    assert [job.id for job in place.store.list().jobs] == [kept.id]
    assert place.keys() == [upload_key(upload_id) for upload_id in uploads_of(kept)]
    assert place.uploads.used_bytes("one") == 40
    assert sum(report.jobs for report in reports) == 6


def test_what_was_removed_is_counted(place: Place) -> None:
    before = JANITOR_REMOVED.labels("uploads")._value.get()
    place.upload()
    place.let_pass(KEEP_S + 1)
    place.janitor.clean()
    assert JANITOR_REMOVED.labels("uploads")._value.get() == before + 1


class AnyOrder(RuleBasedStateMachine):
    """In whatever order things happen: a live job has its uploads and its segments, a finished one its result."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.place = memory_place(Path(self.folder.name))
        self.usable: list[Upload] = []
        self.leases: list[Lease] = []

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule()
    def upload(self) -> None:
        self.usable.append(self.place.upload())

    @rule(data=st.data(), dies=st.booleans())
    def post(self, data: st.DataObject, dies: bool) -> None:
        """A client posts a job; the API may die between holding the inputs and creating it."""
        if not self.usable:
            return
        chosen = [data.draw(st.sampled_from(self.usable)) for _ in range(2)]
        try:
            if dies:
                self.place.uploads.hold(chosen[0].id, make_job().id)
            else:
                self.place.post(*chosen, retention_s=data.draw(st.sampled_from([None, 5.0, 500.0])))
        except UploadNotFound:
            self.usable = [upload for upload in self.usable if upload not in chosen]

    @rule()
    def begin(self) -> None:
        if self.place.store.list(JobStatus.QUEUED).jobs:
            self.leases.append(self.place.begin())

    @precondition(lambda self: self.leases)
    @rule(data=st.data(), how=st.sampled_from(["finish", "release", "cancel"]))
    def end(self, data: st.DataObject, how: str) -> None:
        lease = self.leases.pop(data.draw(st.integers(0, len(self.leases) - 1)))
        if how == "finish":
            self.place.finish(lease)
        elif how == "release":
            self.place.store.release(lease)
        else:
            self.place.store.finish_canceled(lease)

    @rule(data=st.data())
    def purge(self, data: st.DataObject) -> None:
        if over := [job for job in self.place.store.list().jobs if job.status.is_terminal]:
            purge(data.draw(st.sampled_from(over)), self.place.store, self.place.uploads, self.place.storage)

    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        if self.usable:
            upload = data.draw(st.sampled_from(self.usable))
            held = {held for job in self.place.store.list().jobs for held in uploads_of(job)}
            if upload.id not in held:
                try:
                    leaving = self.place.uploads.withdraw(upload.id)
                except Exception:  # noqa: BLE001  it has left, or a job that was never created holds it
                    return
                remove_upload(leaving, self.place.uploads, self.place.storage)

    @rule(seconds=st.sampled_from([1.0, 50.0, 200.0, 700.0, 2000.0]))
    def wait(self, seconds: float) -> None:
        self.place.let_pass(seconds)

    @rule()
    def clean(self) -> None:
        self.place.janitor.clean()

    @invariant()
    def nobody_misses_anything(self) -> None:
        for job in self.place.store.list(limit=1000).jobs:
            for upload_id in uploads_of(job):
                assert self.place.storage.exists(self.place.uploads.get(upload_id).key)
            if job.status is JobStatus.RUNNING:
                assert self.place.storage.exists(f"jobs/{job.id}/segments/0.mkv")
            if job.result is not None:
                assert self.place.storage.exists(job.result.key)

    @invariant()
    def nothing_is_left_in_the_end(self) -> None:
        """Whatever is in storage has a record, or will go: nothing of ours is out of the janitor's sight."""
        recorded = {job.id for job in self.place.store.list(limit=1000).jobs}
        assert {key.split("/")[1] for key in self.place.storage.list("jobs")} <= recorded


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=40, stateful_step_count=40, suppress_health_check=list(HealthCheck))


def test_everything_goes_once_all_jobs_are_purged(place: Place) -> None:
    shared = place.upload()
    jobs = [place.post(shared, place.upload()) for _ in range(3)]
    for job in jobs:
        place.finish(place.begin(job))
    place.upload()
    for _ in range(3):
        place.let_pass(KEEP_S + GRACE_S)
        place.janitor.clean()

    assert place.keys() == []
    assert place.uploads.used_bytes("one") == 0


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    from structlog.testing import capture_logs

    with capture_logs():
        yield
