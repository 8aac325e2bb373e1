"""The studio: it posts jobs through every outage, repeats at another API what failed, and counts the answers."""

import time
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import httpx

ANSWER_WITHIN_S = 20.0
AGAIN_AFTER_S = 0.5
AT_ONCE = 4


@dataclass
class Answers:
    """How POST /jobs was answered: how often with each status (0: not at all), and the longest wait for it, in s."""

    count: Counter[int] = field(default_factory=Counter)
    longest_s: dict[int, float] = field(default_factory=dict)
    without_retry_after: int = 0
    _lock: Lock = field(default_factory=Lock)

    def note(self, status: int, seconds: float, *, has_retry_after: bool) -> None:
        """Count one answer."""
        with self._lock:
            self.count[status] += 1
            self.longest_s[status] = max(seconds, self.longest_s.get(status, 0.0))
            self.without_retry_after += status == 503 and not has_retry_after


class Studio:
    """Posts `jobs` jobs to the APIs at `urls` in turn, evenly over `seconds`."""

    def __init__(self, urls: Sequence[str], inputs: dict[str, str], *, jobs: int, seconds: float) -> None:
        self._urls = [f"{url}/jobs" for url in urls]
        self._inputs = inputs
        self._jobs = jobs
        self._seconds = seconds
        self.answers = Answers()

    def post_all(self) -> list[str]:
        """The ids of all jobs, when all are accepted."""
        start = time.monotonic()

        def post_in_time(number: int) -> str:
            time.sleep(max(0.0, start + self._seconds * number / self._jobs - time.monotonic()))
            return self._post(number)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(post_in_time, range(self._jobs)))

    def _post(self, number: int) -> str:
        """Post one job under one key, to one API after the other, until it is accepted; its id."""
        body: dict[str, Any] = {**self._inputs, "metadata": {"number": number}}
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        turn = number
        while True:
            url, turn = self._urls[turn % len(self._urls)], turn + 1
            started, status, reply = time.monotonic(), 0, None
            try:
                reply = httpx.post(url, json=body, headers=headers, timeout=ANSWER_WITHIN_S, trust_env=False)
                status = reply.status_code
            except httpx.TransportError:  # killed, or on its way up
                pass
            retry_after = reply is not None and "Retry-After" in reply.headers
            self.answers.note(status, time.monotonic() - started, has_retry_after=retry_after)
            if reply is not None and status == 202:
                return str(reply.json()["id"])
            if reply is not None and status not in (409, 503):
                raise AssertionError(f"{status}: {reply.text}")
            time.sleep(AGAIN_AFTER_S)
