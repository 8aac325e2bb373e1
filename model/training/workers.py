"""Work spread over processes whose results come in the order of the tasks, few of them waiting at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

import cv2
import torch

_AHEAD = 2
"""Results per process that may wait to be taken: a clip has 20 MB at 256 px."""

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")


def worker_pool(processes: int, module: str) -> ProcessPoolExecutor:
    """Processes that have imported a module, each with one thread."""
    server = get_context("forkserver")  # its children inherit none of torch's threads, and the import is done once
    server.set_forkserver_preload([module])
    return ProcessPoolExecutor(processes, server, initializer=_settle)


def in_order(
    pool: Executor, processes: int, work: Callable[[TaskT], ResultT], tasks: Iterable[TaskT]
) -> Iterator[ResultT]:
    """The results of the tasks, first to last. A task is asked for only when there is room for its result."""
    waiting: deque[Future[ResultT]] = deque()
    for task in tasks:
        waiting.append(pool.submit(work, task))
        if len(waiting) >= _AHEAD * processes:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _settle() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
