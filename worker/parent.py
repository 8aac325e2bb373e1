"""The worker's parent process: Celery's consumer, the /metrics port, and the end of both.

Shutdown is cooperative. Celery tells only the parent of a SIGTERM, and its soft shutdown (SIGQUIT) sleeps its whole
time even when the task ends at once. So SIGTERM keeps its plain meaning, finish the task and end, and a flag in shared
memory makes the task end at its next progress callback: the job is back in the queue within about a second.

A render that hangs, in whatever library and with whatever lock held, gives no sign of life; its child is killed then.
"""

import os
import resource
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from celery import signals
from celery.worker import state
from prometheus_client import start_http_server

from core.metrics import RENDERS_STALLED, SCRATCH_FREE_RATIO, WORKER_RSS_BYTES, worker_registry
from core.settings import Settings
from worker.celery_app import create_app
from worker.child import Child, PipelineLoader
from worker.exit_codes import EX_CONFIG, EX_SOFTWARE
from worker.flags import SharedFlags
from worker.metric_files import MetricFiles
from worker.scratch import ScratchHome

SHUTDOWN_GRACE_S = 30.0
WATCH_S = 0.5

log = structlog.get_logger(__name__)


def run_worker(settings: Settings, scratch: ScratchHome, load: PipelineLoader) -> int:
    """Consume jobs until a signal; the exit status. EX_CONFIG when it cannot start as it is configured.

    load: what the child loads, and nobody before it.
    """
    flags = SharedFlags()
    app = create_app(settings, Child(settings, scratch, flags, load))
    worker = app.Worker(
        hostname=f"highsync@{os.uname().nodename}-{os.getpid()}",
        loglevel=settings.log_level,
        quiet=True,
        without_mingle=True,
        without_gossip=True,
    )
    ending = _Ending(flags)
    signals.worker_shutting_down.connect(ending.begin)
    files = MetricFiles(scratch.metrics)
    if settings.worker_metrics_port and not _serve_metrics(settings, files):
        return EX_CONFIG
    threading.Thread(target=_watch, args=(flags, scratch, files, settings.stall_timeout_s), daemon=True).start()
    with _no_farewells():
        worker.start()
    status = EX_CONFIG if flags.startup_failed() else worker.exitcode or 0
    log.info("worker_ended", status=status)
    return status


@contextmanager
def _no_farewells() -> Iterator[None]:
    """Celery takes leave on the original stdout, past all logging; a log of both streams is to be JSON only."""
    original = sys.__stdout__
    with Path(os.devnull).open("w") as nowhere:
        sys.__stdout__ = nowhere  # type: ignore[misc]
        yield
    sys.__stdout__ = original  # type: ignore[misc]


def _serve_metrics(settings: Settings, files: MetricFiles) -> bool:
    host, port = settings.worker_metrics_host, settings.worker_metrics_port
    try:
        start_http_server(port, host, worker_registry(files))
    except OSError as error:
        log.error("metrics_port_unusable", host=host, port=port, reason=str(error))
        return False
    return True


class _Ending:
    """The way out, begun by the first signal and walked once."""

    def __init__(self, flags: SharedFlags) -> None:
        self._flags = flags
        self._begun = False

    def begin(self, **_: object) -> None:
        """Let the running job go, and make sure that this process ends even when the job does not let go."""
        self._flags.stop()
        if not self._begun:
            self._begun = True
            timer = threading.Timer(SHUTDOWN_GRACE_S, self._cut_short)
            timer.daemon = True
            timer.start()

    def _cut_short(self) -> None:
        """End with the job unfinished: its lease runs out, and the reconciler gives it to another worker."""
        log.error("shutdown_overdue", grace_s=SHUTDOWN_GRACE_S)
        os._exit(EX_SOFTWARE)  # the kernel kills the child with its parent


def _watch(flags: SharedFlags, scratch: ScratchHome, files: MetricFiles, stall_timeout_s: float) -> None:
    """
    Tell how full the scratch disk is, and how much memory the child has.
    End a child whose render hangs; Celery starts another one, and the reconciler takes the job away from the dead one.
    Stop the worker when its child says that it cannot start; Celery would start child after child.
    """
    while not flags.startup_failed():
        disk = shutil.disk_usage(scratch.path)
        SCRATCH_FREE_RATIO.set(disk.free / disk.total)
        _show_memory(flags.child())
        files.bury_the_dead()
        if flags.silent_s() > stall_timeout_s:
            _end_hung_child(flags)
        time.sleep(WATCH_S)
    state.should_terminate = EX_CONFIG  # type: ignore[assignment]  # Celery reads it as an exit status


def _show_memory(child: int) -> None:
    """Read the resident pages of a process where there is a /proc to read them from, and that process."""
    try:
        pages = int(Path(f"/proc/{child}/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return
    WORKER_RSS_BYTES.set(pages * resource.getpagesize())


def _end_hung_child(flags: SharedFlags) -> None:
    child, silent_s = flags.child(), flags.silent_s()
    flags.rest()
    if _has_ended(child):  # its end is the reason for the silence, and Celery is about to notice
        return
    log.error("render_stalled", silent_s=round(silent_s, 1), pid=child)
    RENDERS_STALLED.inc()
    os.kill(child, signal.SIGKILL)


def _has_ended(child: int) -> bool:
    """Whether a child of this process is over. It is left for Celery to collect, so its number is not given anew."""
    try:
        return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # collected already
        return True
