"""The worker's child process, the one that loads the model and renders. Its parent only keeps it alive."""

import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import structlog

from core import metrics
from core.job_store import RedisJobStore
from core.outgoing import Downloaded, FetchLimits, FetchPolicy, download
from core.queue import make_job_queue
from core.settings import Settings, SettingsError
from core.sniff import refuse_non_media
from core.storage import make_storage
from core.tracing import close_tracing, configure_tracing
from core.worker_presence import RedisWorkerPresence
from model.errors import ModelError
from worker.bench import Download, OnBytes, Workbench
from worker.exit_codes import EX_SOFTWARE
from worker.flags import SharedFlags
from worker.measures import begin_at_zero
from worker.presence import PresenceKeeper
from worker.scratch import ScratchHome

if TYPE_CHECKING:
    from model.pipeline import Pipeline

PipelineLoader = Callable[[Settings], "Pipeline"]
"""Loads what renders. Called in the child: what it imports, the parent never sees."""

log = structlog.get_logger(__name__)


class Child:
    """Built in the parent, opened in each child after the fork: no connection and no torch may cross it."""

    def __init__(self, settings: Settings, scratch: ScratchHome, flags: SharedFlags, load: PipelineLoader) -> None:
        self._settings = settings
        self._scratch = scratch
        self._flags = flags
        self._load = load
        self._bench: Workbench | None = None
        self._presence: PresenceKeeper | None = None

    @property
    def bench(self) -> Workbench:
        """The workbench of this process. Only after `open`."""
        assert self._bench is not None, "the child is not open"  # noqa: S101
        return self._bench

    def open(self) -> None:
        """Load the model and get ready for jobs. When that is impossible, tell the parent and wait for its end."""
        self._flags.enter_child()
        try:
            configure_tracing(self._settings, "worker")
            self._bench = self._make_bench()
        except Exception as error:
            log.error(
                "worker_cannot_start", reason=str(error), exc_info=not isinstance(error, ModelError | SettingsError)
            )
            self._flags.fail_startup()
            signal.pause()
        metrics.WORKER_UP.set(1)
        metrics.WORKER_BUSY.set(0)
        begin_at_zero()
        self._presence = PresenceKeeper(RedisWorkerPresence.connect(self._settings.redis_url), self.bench.worker_id)
        self._presence.start()

    def close(self) -> None:
        """Say goodbye."""
        if self._presence is not None:
            self._presence.stop()
        close_tracing()

    def _make_way(self) -> NoReturn:
        """End this process; the parent starts another one, which loads the model anew."""
        log.warning("child_replaced", reason="its last job met a bug or a device that failed")
        self.close()
        os._exit(EX_SOFTWARE)

    def _make_bench(self) -> Workbench:
        from worker.model_host import gpu_memory

        self._scratch.clear_jobs()
        started = time.monotonic()
        pipeline = self._load(self._settings)
        seconds, model = time.monotonic() - started, pipeline.model
        metrics.MODEL_LOAD_SECONDS.set(seconds)
        device, dtype = str(model.device), str(model.dtype).removeprefix("torch.")
        metrics.MODEL_INFO.labels(model.weights.name, model.weights.sha256, device, dtype).set(1)
        log.info("model_loaded", weights=model.weights.name, device=device, dtype=dtype, seconds=round(seconds, 2))
        _report_confinement(self._settings)
        storage = make_storage(self._settings)
        storage.prepare()
        return Workbench(
            worker_id=f"{socket.gethostname()}-{os.getpid()}",
            pipeline=pipeline,
            weights_sha256=model.weights.sha256,
            store=RedisJobStore.connect(self._settings.redis_url, self._settings.lease_ttl_s),
            queue=make_job_queue(self._settings),
            storage=storage,
            download=make_download(self._settings),
            scratch=self._scratch,
            settings=self._settings,
            stopping=self._flags.stopping,
            start_afresh=self._make_way,
            vitals=self._flags,
            gpu_memory=partial(gpu_memory, model.device),
        )


def load_pipeline(settings: Settings) -> "Pipeline":
    """The pipeline that the settings name. Imports torch."""
    from worker.model_host import host_pipeline

    return host_pipeline(settings)


def _report_confinement(settings: Settings) -> None:
    """Say what holds the processes that decode inputs; loudly when one that was taken over could reach the network."""
    from model.media.sandbox.decoder import confinement
    from worker.options import media_limits

    held = confinement(media_limits(settings))
    report = log.info if held.reaches_no_network else log.warning
    report("decoder_confined", **asdict(held))


def make_download(settings: Settings) -> Download:
    """`core.outgoing.download` with the operator's limits and policy. What is no media is not fetched to its end."""
    limits, policy = FetchLimits.from_settings(settings), FetchPolicy.from_settings(settings)

    def fetch(url: str, path: Path, on_bytes: OnBytes) -> Downloaded:
        with metrics.measured_fetch():
            downloaded = download(url, path, limits, policy, on_bytes, refuse_non_media)
        metrics.FETCH_BYTES.inc(downloaded.bytes)
        return downloaded

    return fetch
