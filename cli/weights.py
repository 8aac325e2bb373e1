"""`highsync weights`: log lines on stderr, as the services have them, because it is one of them."""

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path

import structlog
from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]  # of its HTTP library

from cli.console import EXIT_CONFIG, EXIT_FAILED, EXIT_OK, say_error
from core.logging import configure_logging
from core.settings import SettingsError, load_log_settings
from model.checkpoint import checked_files
from model.errors import DetectorError, ModelError, WeightsError
from model.faces.detector import YUNET_BYTES, YUNET_SHA256, read_yunet
from model.fetching import RemoteFile, Transfer, fetch
from model.hub import HUB_PREFIX, parse_hub_spec
from model.weight_bundle import load_bundle, write_bundle
from model.weights import TINY_SPEC, present_folder, weights_folder

YUNET_URL = (
    "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/face_detection_yunet_2026may.onnx"
)
PROGRESS_S = 5.0
STANDARD_STREAM = Path("-")

log = structlog.get_logger("highsync.weights")


def pull(spec: str, yunet: Path | None, yunet_url: str, *, update: bool) -> int:
    """Fetch what is missing; the exit code."""

    def command() -> None:
        if yunet is not None:
            _pull_yunet(yunet, yunet_url)
        if spec.startswith(HUB_PREFIX):
            _pull_hub(spec, update)
        else:
            _check_weights(spec)

    return _run(command)


def verify(spec: str, yunet: Path | None) -> int:
    """Check what is there; the exit code."""

    def command() -> None:
        if yunet is not None:
            _check_yunet(yunet)
        _check_weights(spec)

    return _run(command)


def bundle(file: Path, spec: str, yunet: Path | None) -> int:
    """Write a bundle, whole or not at all, or to standard output for `-`; the exit code."""

    def command() -> None:
        if file == STANDARD_STREAM:
            manifest = write_bundle(sys.stdout.buffer, spec, yunet)
        else:
            part = file.with_name(f"{file.name}.part")
            try:
                with part.open("wb") as out:
                    manifest = write_bundle(out, spec, yunet)
                part.replace(file)
            finally:
                part.unlink(missing_ok=True)
        log.info("bundle_written", file=str(file), weights=manifest.weights, files=len(manifest.files))

    return _run(command)


def load(file: Path, spec: str, yunet: Path | None) -> int:
    """Put a bundle's content into place, or that of standard input for `-`; the exit code."""

    def command() -> None:
        if file == STANDARD_STREAM:
            manifest = load_bundle(sys.stdin.buffer, spec, yunet)
        else:
            with file.open("rb") as content:
                manifest = load_bundle(content, spec, yunet)
        log.info("bundle_loaded", weights=manifest.weights, commit=manifest.commit, files=len(manifest.files))

    return _run(command)


def _run(command: Callable[[], None]) -> int:
    try:
        configure_logging(load_log_settings(), "weights")
    except SettingsError as error:
        say_error(str(error))
        return EXIT_CONFIG
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    try:
        command()
    except (ModelError, HTTPError, OSError) as error:
        log.error("weights_unavailable", error=str(error))
        return EXIT_FAILED
    return EXIT_OK


def _pull_hub(spec: str, update: bool) -> None:
    """Download unless all is there; what is damaged is fetched again."""
    if parse_hub_spec(spec).snapshot() is not None and not update:
        try:
            _check_weights(spec)
            return
        except WeightsError as error:
            log.warning("weights_incomplete", weights=spec, error=str(error))
            update = True
    weights_folder(spec, Progress(), update=update)
    _check_weights(spec)


def _check_weights(spec: str) -> None:
    """Hash every file. Raises WeightsError."""
    if spec == TINY_SPEC:
        log.info("weights_built_in", weights=spec)
        return
    folder = present_folder(spec)
    for path, sha256 in checked_files(folder).items():
        log.info("file_checked", file=str(path.relative_to(folder)), size_bytes=path.stat().st_size, sha256=sha256)
    log.info("weights_checked", weights=spec, folder=str(folder))


def _pull_yunet(yunet: Path, url: str) -> None:
    if not yunet.exists():
        try:
            fetch(RemoteFile(yunet.name, url, YUNET_BYTES, YUNET_SHA256), yunet, {}, Progress())
        except (OSError, HTTPError) as error:
            raise DetectorError(f"YuNet cannot be downloaded from {url}: {error}") from error
    _check_yunet(yunet)


def _check_yunet(yunet: Path) -> None:
    log.info("file_checked", file=str(yunet), size_bytes=len(read_yunet(yunet)), sha256=YUNET_SHA256)


class Progress:
    """Log lines about downloads: the start and the end of each, and every few seconds how far it is."""

    def __init__(self) -> None:
        self._next_at = 0.0

    def __call__(self, transfer: Transfer) -> None:
        """Log what is worth a line."""
        now, file = time.monotonic(), transfer.file
        facts = {"file": file.name, "received_bytes": transfer.received_bytes, "size_bytes": file.size_bytes}
        if transfer.fault is not None:
            log.warning("download_interrupted", **facts, error=transfer.fault)
        elif transfer.is_start:
            log.info("download_resumed" if transfer.received_bytes else "download_started", **facts)
            self._next_at = now + PROGRESS_S
        elif transfer.received_bytes == file.size_bytes or now >= self._next_at:
            log.info("download_progress", **facts, percent=round(100 * transfer.received_bytes / file.size_bytes, 1))
            self._next_at = now + PROGRESS_S
