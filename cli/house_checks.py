"""What `highsync doctor` looks at where the API and the workers meet: Redis, its clock, the storage, disks, ports."""

import http.client
import secrets
import shutil
import socket
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError

from cli.findings import Finding, failure, ok, skipped, warning
from cli.processes import answers
from core.errors import HighSyncError, QueueUnavailable
from core.job_store import RedisJobStore
from core.redis_client import connect, redis_errors_translated
from core.settings import Settings
from core.storage import ObjectNotFound, Storage, make_storage

OLDEST_REDIS = (7, 0)
_CLOCK_WARNING_S = 2.0
_CLOCK_FAILURE_S = 300.0  # S3 refuses requests that are signed fifteen minutes away
_FULL_REDIS = 0.75
_FREE_WARNING, _FREE_FAILURE = 0.15, 0.03
_LINK_TIMEOUT_S = 5.0
_ROUND_TRIP_BYTES = 64 * 1024


def check_redis(settings: Settings) -> Iterator[Finding]:
    """Whether Redis keeps what it is given, and by which clock."""
    redis = connect(settings.redis_url)
    try:
        started = time.monotonic()
        RedisJobStore(redis).ping()
        latency_ms = 1000 * (time.monotonic() - started)
        with redis_errors_translated():
            server = redis.info()
            drift_s = _drift_s(redis)
    except QueueUnavailable as error:
        yield failure("redis", error.message, "Does it run, and is HIGHSYNC_REDIS_URL its address, with its password?")
        return
    yield _version(server["redis_version"], latency_ms)
    yield _memory(server)
    yield from _durability(redis)
    yield _clock(drift_s)


def _drift_s(redis: Redis) -> float:
    """How far Redis' clock is ahead of ours, in seconds, measured from the middle of the question."""
    before = time.time()
    seconds, microseconds = redis.time()
    return seconds + microseconds / 1e6 - (before + time.time()) / 2


def _version(version: str, latency_ms: float) -> Finding:
    found = f"Redis {version}, a write took {latency_ms:.1f} ms"
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_REDIS:
        return failure("redis", found, f"Redis {'.'.join(map(str, OLDEST_REDIS))} or newer is needed.")
    return ok("redis", found)


def _memory(server: dict[str, Any]) -> Finding:
    used, limit = int(server["used_memory"]), int(server.get("maxmemory", 0))
    if limit == 0:
        return ok("redis memory", f"{_size(used)} used, no limit")
    found = f"{_size(used)} of {_size(limit)} used"
    if used > _FULL_REDIS * limit:
        return warning("redis memory", found, "Full, it takes no new jobs: raise maxmemory, or keep jobs less long.")
    return ok("redis memory", found)


def _durability(redis: Redis) -> Iterator[Finding]:
    """Whether an accepted job outlives a restart of Redis, and whether jobs may be evicted."""
    try:
        with redis_errors_translated():
            kept = cast("dict[str, str]", redis.config_get("appendonly", "appendfsync", "maxmemory-policy"))
    except (NoPermissionError, ResponseError, QueueUnavailable):
        yield skipped("redis durability", "This Redis does not tell its settings.")
        return
    if kept["appendonly"] != "yes":
        yield failure("redis durability", "no append-only log", "A restart loses accepted jobs: set appendonly yes.")
    elif kept["appendfsync"] != "always":
        found = f"append-only log, fsync {kept['appendfsync']}"
        yield warning("redis durability", found, "A power cut may lose the last second: set appendfsync always.")
    else:
        yield ok("redis durability", "append-only log, fsync at every write")
    if kept["maxmemory-policy"] != "noeviction":
        hint = "A full Redis would throw jobs away: set maxmemory-policy noeviction."
        yield failure("redis eviction", kept["maxmemory-policy"], hint)
    else:
        yield ok("redis eviction", "nothing is ever evicted")


def _clock(drift_s: float) -> Finding:
    found = f"{abs(drift_s):.2f} s from Redis' clock"
    if abs(drift_s) > _CLOCK_FAILURE_S:
        return failure("clock", found, "Links and deadlines would be wrong: set the clocks by NTP.")
    if abs(drift_s) > _CLOCK_WARNING_S:
        return warning("clock", found, "Times in logs and records will not fit together: set the clocks by NTP.")
    return ok("clock", found)


def check_storage(settings: Settings) -> Iterator[Finding]:
    """Put a file, look at it, fetch it, and remove it again; and follow a link to it, as a client would."""
    storage, key = make_storage(settings, hurried=True), f"doctor/{secrets.token_hex(8)}"
    content = secrets.token_bytes(_ROUND_TRIP_BYTES)
    hint = "Is HIGHSYNC_STORAGE_URL right, and may this process write there?"
    try:
        storage.prepare()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "sent"
            path.write_bytes(content)
            started = time.monotonic()
            storage.put_file(key, path, "application/octet-stream")
            storage.fetch_file(key, Path(folder) / "fetched")
            seconds = time.monotonic() - started
        yield ok("storage", f"{settings.storage_url}: written and read back in {seconds:.2f} s")
        yield _link(storage, key, content, settings)
    except (HighSyncError, ObjectNotFound, OSError) as error:
        yield failure("storage", f"{settings.storage_url}: {error}", hint)
    finally:
        _remove(storage, key)


def _link(storage: Storage, key: str, content: bytes, settings: Settings) -> Finding:
    """Whether links lead to the object; from this machine, which may not be where clients are."""
    if urlsplit(settings.storage_url).scheme != "s3":
        return skipped("links", "The API itself serves links to local storage.")
    url = storage.download_url(key, 60, "doctor.bin")
    place = urlsplit(url).netloc
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_LINK_TIMEOUT_S) as reply:
            arrived = reply.read(len(content) + 1) == content
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        hint = "Clients must reach HIGHSYNC_S3_PUBLIC_ENDPOINT by that very name; this machine need not."
        return warning("links", f"{place}: {error}", hint)
    if not arrived:
        return failure("links", f"{place} sends something else", "Is HIGHSYNC_S3_PUBLIC_ENDPOINT this storage?")
    return ok("links", f"{place} delivers what a link names")


def _remove(storage: Storage, key: str) -> None:
    try:
        storage.delete_prefix(key)
    except (HighSyncError, OSError):
        return  # the janitor removes what has no record


def check_disks(settings: Settings) -> Iterator[Finding]:
    """Room for scratch files, and for a storage that is a folder."""
    places = {"scratch disk": settings.scratch_dir or Path(tempfile.gettempdir())}
    parts = urlsplit(settings.storage_url)
    if parts.scheme == "file":
        places["storage disk"] = Path(unquote(parts.path))
    for check, place in places.items():
        there = next(folder for folder in (place, *place.parents) if folder.exists())
        disk = shutil.disk_usage(there)
        found = f"{place}: {_size(disk.free)} of {_size(disk.total)} free"
        hint = "A job needs room for its inputs and its result at once."
        if disk.free < _FREE_FAILURE * disk.total:
            yield failure(check, found, hint)
        elif disk.free < _FREE_WARNING * disk.total:
            yield warning(check, found, hint)
        else:
            yield ok(check, found)


def check_ports(api_port: int, settings: Settings) -> Iterator[Finding]:
    """Whether what is to listen on this machine can, or listens already."""
    wanted = {"api port": (api_port, "/livez"), "worker metrics port": (settings.worker_metrics_port, "/metrics")}
    for check, (port, path) in wanted.items():
        if port == 0:
            yield skipped(check, "turned off")
        elif _is_free(port):
            yield ok(check, f"{port} is free")
        elif answers(f"http://127.0.0.1:{port}{path}"):
            yield ok(check, f"{port} answers already")
        else:
            yield failure(check, f"{port} is taken by another program", "End that program, or choose another port.")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _size(count: float) -> str:
    return f"{count / 1024**3:.1f} GiB"
