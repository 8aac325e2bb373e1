"""
How fast does the API answer while many jobs wait, and how much memory do jobs take? A real API process and a real
Redis, as durable as in production, and no worker.

python benchmarks/api_load.py       10,000 jobs are queued and finished, and 10,000 more are queued; then
                                    GET /jobs/{id}, POST /jobs, and both in turn, at a fixed 200 requests/s, and each
                                    alone as fast as it goes. Prints memory and latencies as tables; --json FILE
                                    writes them, too

At the fixed rate requests are sent when they are due, whether or not earlier ones are answered, and a latency counts
from the moment a request was due: a server that falls behind cannot hide it. The table's CPU time is the API's own, for
machines whose cores others use too. Exit status 1 when a p99 at the fixed rate is over --p99-ms.
"""

import argparse
import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from redis import Redis

from cli.embedded_stack import EmbeddedStack
from core.job_store import RedisJobStore
from core.jobs import Job, JobId, JobResult, Progress, new_job_id
from core.preflight import ExpectedTime, FaceReport, PreflightReport, ShotReport, VideoReport, VoiceReport
from core.queue import QUEUE_NAME, CeleryJobQueue, make_celery
from core.settings import Settings

URLS = {"video_url": "https://media.example.com/a.mp4", "audio_url": "https://media.example.com/a.wav"}
STAGES = ("fetch", "track_faces", "denoise", "publish")
TIMINGS = dict.fromkeys(("fetch", "decode_media", "track_faces", "denoise", "composite", "encode_media"), 1.234)
RESULT = JobResult(
    key="jobs/j/attempt-1/result.mp4",
    sha256="0" * 64,
    bytes=48_210_934,
    width=1920,
    height=1080,
    fps=25.0,
    frames=250,
    duration_s=10.0,
    weights="highsync",
)
FOUND = PreflightReport(
    video=VideoReport(
        width=1920,
        height=1080,
        rotation_degrees=0,
        fps=25.0,
        frames=250,
        duration_s=10.0,
        codec="h264",
        pixel_format="yuv420p",
        interlaced=False,
        has_audio=True,
    ),
    voice=VoiceReport(codec="pcm_s16le", sample_rate_hz=48_000, channels=1, duration_s=10.0, peak_dbfs=-3.5),
    frames_with_face=250,
    frames_to_render=250,
    shots=(ShotReport(first_frame=0, frames=250, start_s=0.0),),
    shots_total=1,
    faces=(
        FaceReport(
            id="s0f0",
            shot=0,
            first_frame=0,
            frames=250,
            share=1.0,
            width=240.5,
            height=320.0,
            profile_share=0.0,
            thumbnail_frame=125,
        ),
    ),
    faces_total=1,
    warnings=(),
    expected_time=ExpectedTime(seconds=86.1, basis="The latest renders of this worker."),
)
"""What a worker shows in a record: one shot, one face."""

CONNECTIONS = 64
AT_ONCE = 8
"""Connections that ask as fast as they are answered, for the throughput."""

GIVE_UP_S = 10.0
IDLE_S = 3.0
"""A connection that was not used for so long is made anew: the server closes it after five seconds."""


class ServiceWithoutWorker(EmbeddedStack):
    """Redis and the API of the embedded stack; nobody takes the jobs."""

    def _start(self) -> None:
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._secrets = {"secret_key": "k" * 48, "redis_password": "p" * 32}
        self.redis = self.start_redis()
        self.api = self.start_api()


@dataclass
class Timing:
    """What a round of requests took, in s: latencies, the whole, CPU time of the API. Status 0: no answer in time."""

    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def percentile_ms(self, percent: float) -> float:
        """The latency in ms that so many per cent of the requests did not exceed."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


class Connection:
    """One kept-alive HTTP/1.1 connection. A client that costs next to nothing: it shares the cores with the server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._used = 0.0

    async def ask(self, request: bytes) -> int:
        """Send a request and read the whole answer; its status, or 0 when there is none after GIVE_UP_S."""
        try:
            return await asyncio.wait_for(self._ask(request), GIVE_UP_S)
        except TimeoutError:
            self.close()
            return 0

    async def _ask(self, request: bytes) -> int:
        if time.monotonic() - self._used > IDLE_S:
            self.close()
        self._used = time.monotonic()
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]
        await self._reader.readexactly(int(length))
        return int(head.split(b" ", 2)[1])

    def close(self) -> None:
        """Close it."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


def request_for(method: str, path: str, body: bytes = b"") -> bytes:
    """The bytes of a request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def at_fixed_rate(port: int, requests: Iterator[bytes], rate: float, seconds: float) -> Timing:
    """Send `rate` requests per second, each when it is due."""
    timing, free = Timing(), [Connection(port) for _ in range(CONNECTIONS)]
    start = time.perf_counter()

    async def send(connection: Connection, due: float, request: bytes) -> None:
        timing.statuses[await connection.ask(request)] += 1
        timing.latencies.append(time.perf_counter() - due)
        free.append(connection)

    async with asyncio.TaskGroup() as sending:
        for number, request in enumerate(islice(requests, round(rate * seconds))):
            due = start + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            connection = free.pop() if free else Connection(port)
            sending.create_task(send(connection, due, request))
    timing.seconds = time.perf_counter() - start
    _close_all(free)
    return timing


async def as_fast_as_it_goes(port: int, requests: Iterator[bytes], seconds: float) -> Timing:
    """AT_ONCE connections that ask again as soon as they are answered."""
    timing, connections = Timing(), [Connection(port) for _ in range(AT_ONCE)]
    start = time.perf_counter()

    async def ask_on(connection: Connection) -> None:
        while time.perf_counter() - start < seconds:
            asked = time.perf_counter()
            timing.statuses[await connection.ask(next(requests))] += 1
            timing.latencies.append(time.perf_counter() - asked)

    await asyncio.gather(*map(ask_on, connections))
    timing.seconds = time.perf_counter() - start
    _close_all(connections)
    return timing


def _close_all(connections: Sequence[Connection]) -> None:
    for connection in connections:
        connection.close()


def fill(stack: EmbeddedStack, number: int) -> list[JobId]:
    """Queue so many jobs, with their messages, as the API does it; their ids."""
    settings = Settings(secret_key="k" * 48, redis_url=stack.redis_url)
    redis = Redis.from_url(stack.redis_url)
    store, queue = RedisJobStore.connect(stack.redis_url), CeleryJobQueue(make_celery(settings), redis)
    ids = [new_job_id() for _ in range(number)]
    for job_id in ids:
        store.create(Job(id=job_id, created_at=datetime.now(UTC), **URLS))
        queue.enqueue(job_id)
    return ids


def finish_all(stack: EmbeddedStack) -> None:
    """Claim, report and finish every queued job, as a worker does it, and take its message."""
    redis, store = Redis.from_url(stack.redis_url), RedisJobStore.connect(stack.redis_url)
    while lease := store.claim_next("benchmark-1"):
        redis.lpop(QUEUE_NAME)
        for stage, fraction in zip(STAGES, (0.0, 0.1, 0.5, 0.98), strict=True):
            progress = Progress(stage=stage, fraction=fraction, frames_done=0, frames_total=250)
            store.report_progress(lease, progress)
        store.report_preflight(lease, FOUND)
        store.succeed(lease, RESULT.model_copy(update={"key": f"jobs/{lease.job.id}/attempt-1/result.mp4"}), TIMINGS)


@dataclass(frozen=True)
class Memory:
    """What a moment takes, in MiB: `used_memory` of Redis, and of the API what is its own and what is resident."""

    moment: str
    redis_mib: float
    api_pss_mib: float
    api_rss_mib: float


def memory(stack: EmbeddedStack, moment: str) -> Memory:
    """Measure, and print it as a row of the table."""
    used = Redis.from_url(stack.redis_url).info("memory")["used_memory"] / 1024**2
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in api_processes(stack)]
    pss, rss = (sum(_kib_of(name, rollup) for rollup in rollups) / 1024 for name in ("Pss", "Rss"))
    print(f"| {moment} | {used:.1f} | {pss:.0f} | {rss:.0f} |", flush=True)
    return Memory(moment, round(used, 1), round(pss, 1), round(rss, 1))


def _kib_of(name: str, rollup: str) -> int:
    return int(re.findall(rf"^{name}: +(\d+) kB", rollup, re.MULTILINE)[0])


def fill_and_weigh(stack: EmbeddedStack, number: int) -> tuple[list[JobId], list[Memory]]:
    """Jobs that wait, that are over, and that wait beside those; the ids of the last, and the memory at each point."""
    print("| | Redis used_memory MiB | API PSS MiB | API RSS MiB |\n|---|---|---|---|")
    weights = [memory(stack, "empty, the API just started")]
    fill(stack, number)
    weights.append(memory(stack, f"{number:,} jobs queued"))
    finish_all(stack)
    weights.append(memory(stack, f"the same {number:,} jobs finished, nothing queued"))
    ids = fill(stack, number)
    weights.append(memory(stack, f"{number:,} finished and {number:,} queued"))
    return ids, weights


def show(name: str, timing: Timing) -> dict[str, Any]:
    """Print a row of the table; its figures."""
    count = len(timing.latencies)
    p50, p99, worst = (timing.percentile_ms(percent) for percent in (50, 99, 100))
    figures = {
        "requests": name,
        "per_second": round(count / timing.seconds, 1),
        "p50_ms": round(p50, 1),
        "p99_ms": round(p99, 1),
        "longest_ms": round(worst, 1),
        "cpu_ms_each": round(1000 * timing.cpu_seconds / count, 2),
        "answers": {str(status): number for status, number in sorted(timing.statuses.items())},
    }
    answers = ", ".join(f"{status}: {number}" for status, number in sorted(timing.statuses.items()))
    shown = [name, f"{count / timing.seconds:.0f}", f"{p50:.1f}", f"{p99:.1f}", f"{worst:.0f}"]
    print(f"| {' | '.join(shown)} | {figures['cpu_ms_each']:.2f} | {answers} |", flush=True)
    return figures


def main() -> int:
    """Measure; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queued", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=2, help="API processes")
    parser.add_argument("--rate", type=float, default=200.0, help="requests per second")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each round")
    parser.add_argument("--p99-ms", type=float, default=50.0, help="the target at the fixed rate")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    arguments = parser.parse_args()
    settings = {"HIGHSYNC_API_PROCESSES": str(arguments.processes)}
    with tempfile.TemporaryDirectory() as folder, ServiceWithoutWorker(Path(folder), settings=settings) as stack:
        print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, API processes: {arguments.processes}\n")
        ids, weights = fill_and_weigh(stack, arguments.queued)
        timings = measure(stack, ids, arguments.rate, arguments.seconds)
        posted = _answered(timings, "202")
        print(f"\nMemory after the load, {posted:,} jobs more:\n")
        weights.append(memory(stack, f"after the load: {arguments.queued + posted:,} queued"))
    slowest_ms = max(timing["p99_ms"] for timing in timings if timing["at_fixed_rate"])
    all_accepted = all(set(timing["answers"]) <= {"200", "202"} for timing in timings)  # a refusal is quick, too
    is_met = all_accepted and slowest_ms <= arguments.p99_ms
    rate, target = f"{arguments.rate:.0f} requests/s", f"{arguments.p99_ms:.0f} ms"
    print(f"\np99 at {rate}: {slowest_ms:.1f} ms at most. Target {target}: {'met' if is_met else 'NOT met'}.")
    if arguments.json:
        report = {"memory": [asdict(weight) for weight in weights], "timings": timings, "target_is_met": is_met}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0 if is_met else 1


def _answered(timings: Sequence[Mapping[str, Any]], status: str) -> int:
    """How many requests of all rounds got this answer."""
    return sum(timing["answers"].get(status, 0) for timing in timings)


def measure(stack: EmbeddedStack, ids: Sequence[JobId], rate: float, seconds: float) -> list[dict[str, Any]]:
    """All rounds against this stack, printed as a table; their figures."""
    print("\n| requests | per second | p50 ms | p99 ms | longest ms | CPU ms each | answers |")
    print("|---|---|---|---|---|---|---|")
    gets = [request_for("GET", f"/jobs/{job_id}") for job_id in ids]
    post = request_for("POST", "/jobs", json.dumps(URLS).encode())
    both = [request for get in gets for request in (get, post)]
    timings = []
    for name, requests in {"GET /jobs/{id}": gets, "POST /jobs": [post], "GET and POST in turn": both}.items():
        timing = run_round(stack, at_fixed_rate(stack.port, cycle(requests), rate, seconds))
        timings.append(show(f"{name}, {rate:.0f}/s", timing) | {"at_fixed_rate": True})
    for name, requests in {"GET /jobs/{id}": gets, "POST /jobs": [post]}.items():
        timing = run_round(stack, as_fast_as_it_goes(stack.port, cycle(requests), seconds / 3))
        timings.append(show(f"{name}, {AT_ONCE} at once", timing) | {"at_fixed_rate": False})
    return timings


def run_round(stack: EmbeddedStack, requests: Coroutine[Any, Any, Timing]) -> Timing:
    """Do a round, and see how much CPU time it costs the API."""
    before = cpu_seconds(stack)
    timing = asyncio.run(requests)
    timing.cpu_seconds = cpu_seconds(stack) - before
    return timing


def cpu_seconds(stack: EmbeddedStack) -> float:
    """User and system time of all API processes so far, in s."""
    facts = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in api_processes(stack))
    return sum(int(fact[11]) + int(fact[12]) for fact in facts) / os.sysconf("SC_CLK_TCK")


def api_processes(stack: EmbeddedStack) -> list[int]:
    """The ids of the API's process and of those that it has started."""
    children = Path(f"/proc/{stack.api.pid}/task/{stack.api.pid}/children").read_text()
    return [stack.api.pid, *map(int, children.split())]


if __name__ == "__main__":
    sys.exit(main())
