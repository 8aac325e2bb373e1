"""The whole service on one machine, for a laptop, the demo and the end-to-end tests: Redis, API and worker as children.

Everything listens on the loopback interface, on ports that were free, with secrets made for this data folder alone.
"""

import json
import os
import secrets
import shutil
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from cli.processes import ManagedProcess, StackError, answers, free_port

LOOPBACK = "127.0.0.1"
REDIS_PORT_FILE = "redis.port"
REDIS_READY_S = 15.0
API_READY_S = 60.0
WORKER_READY_S = 300.0  # loads the model
STOP_GRACE_S = 15.0
WORKER_STOP_GRACE_S = 45.0  # hands its job back first
REDIS_MISSING = (
    "redis-server is not installed. Debian, Ubuntu: apt-get install redis-server. macOS: brew install redis. "
    "Or run `highsync api` and `highsync worker` with HIGHSYNC_REDIS_URL set."
)


class EmbeddedStack:
    """A context manager: inside, the service runs and is ready; afterwards nothing of it is left but the data folder.

    `settings` are HIGHSYNC_* variables that win over the environment's. `port` 0 takes a free one.
    """

    def __init__(
        self, data_dir: Path, *, host: str = LOOPBACK, port: int = 0, settings: Mapping[str, str] | None = None
    ) -> None:
        self.data_dir = data_dir.resolve()
        self.host = host
        self.port = port or free_port()
        self.redis_port = free_port()
        self.worker_metrics_port = free_port()
        self._settings = dict(settings or {})
        self._cleanup = ExitStack()
        self._workers_started = 0

    @property
    def url(self) -> str:
        """Where the API answers, as seen from this machine."""
        return self._url(self.port)

    def _url(self, port: int) -> str:
        return f"http://{LOOPBACK if self.host == '0.0.0.0' else self.host}:{port}"  # noqa: S104  a comparison

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._cleanup.close()

    def _start(self) -> None:
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._secrets = _load_secrets(self.data_dir / "secrets.json")
        self.redis = self.start_redis()
        self.api = self.start_api()
        self.worker = self.start_worker()
        self.worker.wait_until(self.is_ready, WORKER_READY_S)

    def start_redis(self) -> ManagedProcess:
        """Start Redis, or start it again with the data it had. Its configuration, with the password, goes by a pipe."""
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        if program is None:
            raise StackError(REDIS_MISSING)
        folder = self.data_dir / "redis"
        folder.mkdir(exist_ok=True)
        config = {
            "bind": LOOPBACK,
            "port": self.redis_port,
            "requirepass": self._secrets["redis_password"],
            "dir": json.dumps(str(folder)),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": '""',
            "maxmemory-policy": "noeviction",
        }
        text = "".join(f"{key} {value}\n" for key, value in config.items())
        redis = self._launch("redis", [program, "-"], STOP_GRACE_S, stdin=text.encode())
        redis.wait_until(self._redis_answers, REDIS_READY_S)
        (self.data_dir / REDIS_PORT_FILE).write_text(str(self.redis_port))
        return redis

    def start_api(self, port: int | None = None) -> ManagedProcess:
        """Start the API, or one more beside it on another port."""
        name, port = ("api", self.port) if port is None else (f"api-{port}", port)
        arguments = ["api", "--host", self.host, "--port", str(port)]
        api = self._launch(name, [sys.executable, "-P", "-m", "cli", *arguments], STOP_GRACE_S)
        api.wait_until(partial(answers, f"{self._url(port)}/livez"), API_READY_S)
        return api

    def start_worker(self) -> ManagedProcess:
        """Start a worker. It is ready some seconds later: see `is_ready`."""
        self._workers_started += 1
        name = f"worker-{self._workers_started}"
        return self._launch(name, [sys.executable, "-P", "-m", "worker"], WORKER_STOP_GRACE_S)

    def is_ready(self) -> bool:
        """Whether jobs are taken and rendered: Redis, storage and a worker with its model loaded."""
        return answers(f"{self.url}/readyz")

    def check(self) -> None:
        """Raise StackError when a part has ended by itself."""
        for part in (self.redis, self.api, self.worker):
            if part.returncode is not None:
                raise StackError(f"{part.name} ended with status {part.returncode}.\n{part.log_tail()}")

    @property
    def redis_url(self) -> str:
        """Address of the embedded Redis, with its password."""
        return _redis_url(self._secrets, self.redis_port)

    def environment(self) -> dict[str, str]:
        """The environment of the API and of every worker."""
        return {
            "HIGHSYNC_STORAGE_URL": (self.data_dir / "storage").as_uri(),
            "HIGHSYNC_SCRATCH_DIR": str(self.data_dir / "scratch"),
            "HIGHSYNC_FETCH_DENY": f"{LOOPBACK}:{self.port},{LOOPBACK}:{self.worker_metrics_port}",
            "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait take the API's and Redis' time
            **os.environ,
            "HIGHSYNC_PUBLIC_URL": self.url,
            "HIGHSYNC_REDIS_URL": self.redis_url,
            "HIGHSYNC_SECRET_KEY": self._secrets["secret_key"],
            "HIGHSYNC_WORKER_METRICS_PORT": str(self.worker_metrics_port),
            **self._settings,
        }

    def _launch(self, name: str, argv: list[str], grace_s: float, *, stdin: bytes = b"") -> ManagedProcess:
        """Start a part. Parts are stopped in reverse order, so that nobody misses what it stands on."""
        log_path = self.data_dir / "logs" / f"{name}.log"
        process = ManagedProcess(name, argv, env=self.environment(), log_path=log_path, stdin=stdin)
        self._cleanup.callback(process.stop, grace_s)
        return process

    def _redis_answers(self) -> bool:
        from redis import Redis, RedisError

        try:
            with Redis.from_url(self.redis_url, socket_timeout=1.0) as client:
                return bool(client.ping())
        except RedisError:
            return False


def redis_url_of(data_dir: Path) -> str:
    """Address of the Redis of the stack that uses this data folder. StackError if none has ever done so."""
    try:
        port = int((data_dir / REDIS_PORT_FILE).read_text())
    except FileNotFoundError as error:
        raise StackError(f"{data_dir} is not the data folder of a running `highsync serve`.") from error
    return _redis_url(_load_secrets(data_dir / "secrets.json"), port)


def _redis_url(secrets_of_folder: Mapping[str, str], port: int) -> str:
    return f"redis://:{secrets_of_folder['redis_password']}@{LOOPBACK}:{port}/0"


def _load_secrets(path: Path) -> dict[str, str]:
    """The secrets of a data folder, made at its first use; readable by their owner only."""
    if path.exists():
        return {str(name): str(value) for name, value in json.loads(path.read_text()).items()}
    made = {"secret_key": secrets.token_urlsafe(48), "redis_password": secrets.token_urlsafe(32)}
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(made, file)
    return made
