"""Who break things: render processes, whole processes of ours, and what they stand on. Each is seeded."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.chaos.house import SECONDS_PER_SEGMENT, ChaosHouse

Deed = Callable[[], bool | None]
"""False: it found nothing to break, and does not count."""

Once = tuple[str, float, Deed]
"""A deed that is done one time: its name, after how many seconds, and what it does."""

KILL_CHILD = "kill -9 of a render process, in the middle of a segment"
KILL_WORKER = "kill -9 of a worker with its children, likewise if one renders"
DEPLOY_WORKER = "SIGTERM of a worker, and a new one"
KILL_API = "kill -9 of one of the two APIs"
KILL_REDIS = "kill -9 of Redis, start on its log"
LONG_OUTAGE = "kill -9 of Redis, away for 30 s"
FREEZE_REDIS = "Redis frozen (SIGSTOP)"
FREEZE_STORAGE = "storage frozen (SIGSTOP)"
CUT_STORAGE = "storage cut off (connections broken, new ones too)"
DEEDS = frozenset(
    {
        KILL_CHILD,
        KILL_WORKER,
        DEPLOY_WORKER,
        KILL_API,
        KILL_REDIS,
        LONG_OUTAGE,
        FREEZE_REDIS,
        FREEZE_STORAGE,
        CUT_STORAGE,
    }
)
"""All that is done to the house, by name."""

RENDERS_PAUSE_S = (4.0, 9.0)
WHOLE_PAUSE_S = (6.0, 12.0)
OUTAGES_PAUSE_S = (5.0, 12.0)
"""Between the end of one deed and the next of one saboteur, in seconds. Between outages jobs get somewhere."""

OUTAGE_S = (0.5, 6.0)
LONG_OUTAGE_S = 30.0
RENDERS_WITHIN_S = 5.0
"""How long a killer waits for a process that renders."""


class Saboteur:
    """A thread that does one deed after the other, chosen by weight, until it is told to stop. A context manager."""

    def __init__(
        self,
        seed: str,
        pause_s: tuple[float, float],
        deeds: Sequence[tuple[str, int, Deed]],
        once: Once | None = None,
    ) -> None:
        self._random = random.Random(seed)
        self._pause_s = pause_s
        self._deeds = deeds
        self._once = once
        self._started = time.monotonic()
        self.done: Counter[str] = Counter()
        self.fault: Exception | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until the last deed is undone. Raises what made a deed fail: then the count would prove nothing."""
        self._stopping.set()
        self._thread.join()
        if self.fault is not None:
            raise self.fault

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._random.uniform(*self._pause_s)):
                name, deed = self._choose()
                if deed() is not False:
                    self.done[name] += 1
        except Exception as error:  # noqa: BLE001  raised in the main thread
            self.fault = error

    def _choose(self) -> tuple[str, Deed]:
        if self._once is not None and time.monotonic() - self._started > self._once[1]:
            (name, _, deed), self._once = self._once, None
            return name, deed
        ((name, _, deed),) = self._random.choices(self._deeds, [weight for _, weight, _ in self._deeds])
        return name, deed


def of_render_processes(house: ChaosHouse, seed: int) -> Saboteur:
    """Kills the process that begins a segment next, and waits for no one to come back."""
    chance = random.Random(f"{seed} renderings")

    def kill_child() -> bool:
        pid = _rendering(house, chance)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return pid is not None

    return Saboteur(f"{seed} render processes", RENDERS_PAUSE_S, [(KILL_CHILD, 1, kill_child)])


def _rendering(house: ChaosHouse, chance: random.Random) -> int | None:
    """The process that begins to render next, in the middle of it; None when none does."""
    before, deadline = len(house.stack.renderings()), time.monotonic() + RENDERS_WITHIN_S
    while time.monotonic() < deadline:
        if begun := house.stack.renderings()[before:]:
            time.sleep(chance.uniform(0, SECONDS_PER_SEGMENT))
            return int(begun[0]["pid"])
        time.sleep(0.05)
    return None


def of_whole_processes(house: ChaosHouse, seed: int) -> Saboteur:
    """Kills whole workers and APIs, and deploys workers anew."""
    chance = random.Random(f"{seed} victims")

    def some_worker() -> int:
        return chance.randrange(len(house.workers))

    def kill_worker() -> None:
        groups = [worker.pid for worker in house.workers]
        group = _group_of(_rendering(house, chance))
        place = groups.index(group) if group in groups else some_worker()
        house.workers[place].kill()
        house.workers[place] = house.stack.start_worker()

    def deploy_worker() -> None:
        place = some_worker()
        house.workers[place].stop(grace_s=30)
        house.workers[place] = house.stack.start_worker()

    return Saboteur(
        f"{seed} whole processes",
        WHOLE_PAUSE_S,
        [
            (KILL_WORKER, 1, kill_worker),
            (DEPLOY_WORKER, 1, deploy_worker),
            (KILL_API, 1, lambda: house.kill_api(chance.randrange(len(house.apis)))),
        ],
    )


def _group_of(pid: int | None) -> int | None:
    """The process group of a process: that of its worker. None when it is gone."""
    try:
        return None if pid is None else os.getpgid(pid)
    except ProcessLookupError:
        return None


def of_what_they_stand_on(house: ChaosHouse, seed: int, *, long_outage_after_s: float | None) -> Saboteur:
    """Kills and freezes Redis, freezes the storage and cuts the way to it. One outage of Redis is a long one."""
    chance = random.Random(f"{seed} outages")

    def kill_redis(outage_s: float) -> None:
        house.stack.redis.kill()
        time.sleep(outage_s)
        house.stack.redis = house.stack.start_redis()

    def freeze(pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(chance.uniform(*OUTAGE_S))
        os.kill(pid, signal.SIGCONT)

    def cut_storage() -> None:
        house.network.cut()
        time.sleep(chance.uniform(*OUTAGE_S))
        house.network.mend()

    long_outage = (LONG_OUTAGE, long_outage_after_s, lambda: kill_redis(LONG_OUTAGE_S))
    return Saboteur(
        f"{seed} ground",
        OUTAGES_PAUSE_S,
        [
            (KILL_REDIS, 3, lambda: kill_redis(chance.uniform(0, 3))),
            (FREEZE_REDIS, 2, lambda: freeze(house.stack.redis.pid)),
            (FREEZE_STORAGE, 2, lambda: freeze(house.moto.process.pid)),
            (CUT_STORAGE, 3, cut_storage),
        ],
        once=None if long_outage_after_s is None else long_outage,
    )
