"""
How fast does the API answer while many jobs wait? A real API process and a real Redis, as durable as in production.

python benchmarks/api_load.py       10,000 queued jobs; then GET /jobs/{id} and POST /jobs, each at a fixed 200
                                    requests/s and as fast as it goes; prints a table, and the memory of Redis and API

At the fixed rate requests are sent when they are due, whether or not earlier ones are answered, and a latency counts
from the moment a request was due: a server that falls behind cannot hide it. The table's CPU time is the API's own, for
machines whose cores others use too. Exit status 1 when a p99 is over --p99-ms.
"""

import argparse
import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from redis import Redis

from cli.embedded_stack import EmbeddedStack
from core.job_store import RedisJobStore
from core.jobs import Job, JobId, new_job_id
from core.queue import CeleryJobQueue, make_celery
from core.settings import Settings

URLS = {"video_url": "https://media.example.com/a.mp4", "audio_url": "https://media.example.com/a.wav"}
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


def memory_mib(stack: EmbeddedStack) -> tuple[float, float]:
    """used_memory of Redis and the resident memory of the API, in MiB."""
    used = Redis.from_url(stack.redis_url).info("memory")["used_memory"]
    pages = int(Path(f"/proc/{stack.api.pid}/statm").read_text().split()[1])
    return used / 1024**2, pages * resource.getpagesize() / 1024**2


def show(name: str, timing: Timing) -> None:
    """Print a row of the table."""
    rate = len(timing.latencies) / timing.seconds
    p50, p99, worst = (timing.percentile_ms(percent) for percent in (50, 99, 100))
    cpu_ms = 1000 * timing.cpu_seconds / len(timing.latencies)
    answers = ", ".join(f"{status}: {number}" for status, number in sorted(timing.statuses.items()))
    print(f"| {name} | {rate:.0f} | {p50:.1f} | {p99:.1f} | {worst:.0f} | {cpu_ms:.2f} | {answers} |", flush=True)


def main() -> int:
    """Measure; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queued", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=200.0, help="requests per second")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each round")
    parser.add_argument("--p99-ms", type=float, default=50.0, help="the target at the fixed rate")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ServiceWithoutWorker(Path(folder)) as stack:
        return measure(stack, arguments.queued, arguments.rate, arguments.seconds, arguments.p99_ms)


def measure(stack: EmbeddedStack, queued: int, rate: float, seconds: float, target_ms: float) -> int:
    """All rounds against this stack; the exit status."""
    before = memory_mib(stack)
    ids = fill(stack, queued)
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; {queued} jobs queued")
    redis_mib, api_mib = memory_mib(stack)
    print(f"Redis {redis_mib:.1f} MiB (empty: {before[0]:.1f}), API {api_mib:.0f} MiB (at start: {before[1]:.0f})")
    print("| requests | per second | p50 ms | p99 ms | longest ms | CPU ms each | answers |")
    print("|---|---|---|---|---|---|---|")
    post = request_for("POST", "/jobs", json.dumps(URLS).encode())
    rounds: dict[str, Callable[[], Iterator[bytes]]] = {
        "GET /jobs/{id}": lambda: cycle([request_for("GET", f"/jobs/{job_id}") for job_id in ids]),
        "POST /jobs": lambda: cycle([post]),
    }
    worst_ms = 0.0
    for name, requests in rounds.items():
        timing = run_round(stack, at_fixed_rate(stack.port, requests(), rate, seconds))
        show(f"{name}, {rate:.0f}/s", timing)
        worst_ms = max(worst_ms, timing.percentile_ms(99))
        show(f"{name}, {AT_ONCE} at once", run_round(stack, as_fast_as_it_goes(stack.port, requests(), seconds / 3)))
    redis_mib, api_mib = memory_mib(stack)
    print(f"Afterwards: Redis {redis_mib:.1f} MiB, API {api_mib:.0f} MiB, load {os.getloadavg()[0]:.1f}")
    return 0 if worst_ms <= target_ms else 1


def run_round(stack: EmbeddedStack, requests: Coroutine[Any, Any, Timing]) -> Timing:
    """Do a round, and see how much CPU time it costs the API."""
    before = cpu_seconds(stack.api.pid)
    timing = asyncio.run(requests)
    timing.cpu_seconds = cpu_seconds(stack.api.pid) - before
    return timing


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, in s."""
    facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(facts[11]) + int(facts[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
