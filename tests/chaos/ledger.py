"""What came of the accepted jobs, counted from records, histories, storage, logs and the stub's own journal."""

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import boto3
from botocore.config import Config

from core.job_store import RedisJobStore
from core.jobs import Job, JobId, JobStatus
from tests.chaos.house import BUCKET, ChaosHouse
from tests.stub_stack import SEGMENTS

ENDS = frozenset(status.value for status in JobStatus if status.is_terminal)


@dataclass(frozen=True)
class Ledger:
    """The counts. `faults` names those that must be 0."""

    accepted: int
    over_under_fire: int
    succeeded: int
    failed: int
    lost: int
    duplicated: int
    damaged: int
    unasked: int
    attempts: int
    attempts_cut_short: int
    segments: int
    segments_begun_under_fire: int
    segments_begun_again: int
    finished_segments_rendered_again: int
    begun_again_beyond_those_in_flight: int
    leftover_results: int

    @property
    def faults(self) -> dict[str, int]:
        """The counts that break a promise, by name; empty when all are 0."""
        return {name: number for name in MUST_BE_ZERO if (number := getattr(self, name))}

    def rows(self) -> list[tuple[str, int]]:
        """What is counted, in words, and the number."""
        return [(MEANING[entry.name], getattr(self, entry.name)) for entry in fields(self)]


MEANING = {
    "accepted": "jobs accepted (202)",
    "over_under_fire": "of them over before the last fault was",
    "succeeded": "succeeded, with a result whose bytes have the sha256 of the record",
    "failed": "failed, canceled or expired",
    "lost": "**lost**: without a record, or not over at the end",
    "duplicated": "**duplicated**: published more than once, by the job's history or by the workers' logs",
    "damaged": "**damaged**: the result is missing in storage, or other bytes",
    "unasked": "**jobs that nobody asked for**: in the store, but never answered with 202",
    "attempts": "attempts at these jobs",
    "attempts_cut_short": "attempts that a fault ended",
    "segments": "segments of these jobs",
    "segments_begun_under_fire": "renderings of segments begun before the last fault was over",
    "segments_begun_again": "segments begun again, because the first rendering was in flight when its attempt ended",
    "finished_segments_rendered_again": "**segments rendered again after they had been saved**",
    "begun_again_beyond_those_in_flight": "**segments begun again beyond one for each attempt that was cut short**",
    "leftover_results": "uploads of an attempt that died before it could publish (the janitor's)",
}
MUST_BE_ZERO = (
    "failed",
    "lost",
    "duplicated",
    "damaged",
    "unasked",
    "finished_segments_rendered_again",
    "begun_again_beyond_those_in_flight",
)


def wait_until_over(house: ChaosHouse, timeout_s: float) -> None:
    """Wait until every job is over, or for so long."""
    store = RedisJobStore.connect(house.stack.redis_url)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        by_status = store.stats().by_status
        if by_status[JobStatus.QUEUED] == by_status[JobStatus.RUNNING] == 0:
            return
        time.sleep(0.5)


def make_ledger(house: ChaosHouse, ids: Sequence[str], fire_ended: datetime) -> Ledger:
    """Count. Nothing may run any more that could change what is counted. `fire_ended`: when the last fault was over."""
    store = RedisJobStore.connect(house.stack.redis_url)
    records = _all_records(store)
    jobs = {job_id: records[job_id] for job_id in ids if job_id in records}
    stored = _stored_results(house)
    published = Counter(line["job_id"] for line in house.stack.logged("job_succeeded"))
    ends = {job_id: sum(e.type in ENDS for e in store.history(JobId(job_id))) for job_id in jobs}
    good = {i for i, job in jobs.items() if job.result and stored.get(job.result.key) == job.result.sha256}
    succeeded = {job_id for job_id, job in jobs.items() if job.status is JobStatus.SUCCEEDED}
    over = {job_id for job_id, job in jobs.items() if job.status.is_terminal}
    attempts = {job_id: job.attempts for job_id, job in jobs.items()}
    over_in_time = {job_id for job_id, job in jobs.items() if job.finished_at and job.finished_at <= fire_ended}
    begun = _begun(house)
    return Ledger(
        accepted=len(ids),
        over_under_fire=len(over_in_time),
        succeeded=len(succeeded & good),
        failed=len(over - succeeded),
        lost=len(set(ids) - over),
        duplicated=sum(published[job_id] > 1 or ends[job_id] > 1 for job_id in jobs),
        damaged=len(succeeded - good),
        unasked=len(records.keys() - set(ids)),
        attempts=sum(attempts.values()),
        attempts_cut_short=sum(attempts.values()) - len(over),
        segments=SEGMENTS * len(jobs),
        segments_begun_under_fire=sum(t <= fire_ended.timestamp() for times in begun.values() for t in times),
        segments_begun_again=sum(len(times) - 1 for times in begun.values()),
        finished_segments_rendered_again=_rendered_again(house, begun),
        begun_again_beyond_those_in_flight=_beyond_those_in_flight(begun, attempts),
        leftover_results=len(stored.keys() - {job.result.key for job in jobs.values() if job.result}),
    )


def _all_records(store: RedisJobStore) -> dict[str, Job]:
    records: dict[str, Job] = {}
    cursor: str | None = None
    while True:
        page = store.list(cursor=cursor, limit=100)
        records |= {job.id: job for job in page.jobs}
        cursor = page.next_cursor
        if cursor is None:
            return records


def _stored_results(house: ChaosHouse) -> dict[str, str]:
    """sha256 of every result in storage, of whatever attempt, by key."""
    s3 = boto3.client(
        "s3",
        endpoint_url=house.moto.url,
        region_name="us-east-1",
        aws_access_key_id="chaos",
        aws_secret_access_key="chaos",
        config=Config(s3={"addressing_style": "path"}),
    )
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    keys = [o["Key"] for page in pages for o in page.get("Contents", ()) if "/attempt-" in o["Key"]]
    return {key: hashlib.sha256(s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()).hexdigest() for key in keys}


Begun = Mapping[tuple[str, int], list[float]]
"""When the rendering of each segment (job id, index) was begun, every time, in seconds since the epoch."""


def _begun(house: ChaosHouse) -> Begun:
    begun: dict[tuple[str, int], list[float]] = defaultdict(list)
    for line in house.stack.renderings():
        begun[line["job_id"], line["segment"]].append(line["time"])
    return begun


def _rendered_again(house: ChaosHouse, begun: Begun) -> int:
    """How often a rendering was begun after the segment had been saved, as its worker's log says."""
    saved: dict[tuple[str, int], float] = {}
    for line in house.stack.logged("segment_rendered"):
        segment, when = (line["job_id"], line["segment"]), _epoch_s(line)
        saved[segment] = min(when, saved.get(segment, when))
    return sum(time > saved[segment] for segment, times in begun.items() if segment in saved for time in times)


def _epoch_s(line: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


def _beyond_those_in_flight(begun: Begun, attempts: Mapping[str, int]) -> int:
    """An attempt that ends early leaves at most one segment unfinished, which the next one begins again."""
    again: Counter[str] = Counter()
    for (job_id, _), times in begun.items():
        again[job_id] += len(times) - 1
    return sum(max(0, again[job_id] - (number - 1)) for job_id, number in attempts.items())
