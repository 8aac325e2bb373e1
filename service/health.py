"""Probes: /livez says that the process answers, /readyz that jobs are taken and rendered."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait

import structlog
from fastapi import APIRouter, FastAPI, Request, Response
from pydantic import BaseModel, Field

from core.errors import HighSyncError
from service.errors import problems
from service.services import Services

_PATIENCE_S = 3.0
_ASK_AGAIN_S = 5
"""What is asked of a client that finds the service not ready, in seconds."""

router = APIRouter(tags=["operations"])

log = structlog.get_logger(__name__)


class Liveness(BaseModel):
    """The process answers."""

    status: str = Field(examples=["ok"])


class Readiness(BaseModel):
    """What the service stands on. Details are in its logs, not here: anybody may ask."""

    ready: bool
    redis: bool
    storage: bool
    workers: int = Field(description="Workers with their model loaded.")


class _Check:
    """A check that may hang. It runs once at a time, however often it is asked, in a thread that no shutdown awaits."""

    def __init__(self, name: str, action: Callable[[], int]) -> None:
        self._name = name
        self._action = action
        self._lock = threading.Lock()
        self._answer: Future[int] | None = None

    def start(self) -> Future[int]:
        """The answer to come: of the check under way, or else of a new one."""
        with self._lock:
            if self._answer is None or self._answer.done():
                self._answer = Future()
                threading.Thread(target=self._run, args=(self._answer,), name=self._name, daemon=True).start()
            return self._answer

    def _run(self, answer: Future[int]) -> None:
        try:
            answer.set_result(self._action())
        except HighSyncError as error:
            log.warning("check_failed", check=self._name, reason=error.message)
            answer.set_result(0)
        except Exception as error:
            log.exception("check_broken", check=self._name)
            answer.set_exception(error)


class ReadinessProbe:
    """Asks Redis, the storage and the roster of workers, side by side."""

    def __init__(self, services: Services) -> None:
        self._redis = _Check("redis", lambda: _passes(services.store.ping))
        self._storage = _Check("storage", lambda: _passes(services.storage.check))
        self._workers = _Check("workers", services.workers.count)

    def readiness(self) -> Readiness:
        """The state of the house, within three seconds: what has not answered by then is not there."""
        answers = [check.start() for check in (self._redis, self._storage, self._workers)]
        wait(answers, _PATIENCE_S)
        redis, storage, workers = (answer.result() if answer.done() else 0 for answer in answers)
        return Readiness(
            ready=bool(redis and storage and workers), redis=bool(redis), storage=bool(storage), workers=workers
        )


def _passes(check: Callable[[], None]) -> int:
    check()
    return 1


def install_probe(app: FastAPI, services: Services) -> None:
    """Make the probe that /readyz asks."""
    app.state.readiness_probe = ReadinessProbe(services)


@router.get("/livez", summary="Does the process answer?", responses=problems())
async def livez() -> Liveness:
    """Touches nothing else, so that a restart is never asked for because Redis is away."""
    return Liveness(status="ok")


@router.get(
    "/readyz",
    summary="Are jobs taken and rendered?",
    responses={
        503: {
            "model": Readiness,
            "description": "Redis, the storage or every worker is away.",
            "headers": {"Retry-After": {"description": "Seconds until the next look.", "schema": {"type": "integer"}}},
            "content": {
                "application/json": {"example": {"ready": False, "redis": True, "storage": True, "workers": 0}}
            },
        },
        **problems(),
    },
)
def readyz(request: Request, response: Response) -> Readiness:
    """Redis takes writes, the storage can be used, and at least one worker has its model loaded."""
    probe: ReadinessProbe = request.app.state.readiness_probe
    readiness = probe.readiness()
    if not readiness.ready:
        response.status_code = 503
        response.headers["Retry-After"] = str(_ASK_AGAIN_S)
    return readiness
