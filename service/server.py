"""The API behind uvicorn, which ends as soon as it is asked to."""

import resource
import socket

import structlog
import uvicorn
from fastapi import FastAPI

from service.jobs.changes import ChangeWatch, change_watch_of

log = structlog.get_logger(__name__)


class ApiServer(uvicorn.Server):
    """
    Uvicorn waits, when it is to end, for every answer that is under way. Those that wait for a job are finished at
    once, so that a thousand followers do not hold up a deploy: they come again, to the next process.
    """

    def __init__(self, config: uvicorn.Config, watch: ChangeWatch) -> None:
        super().__init__(config)
        self._watch = watch

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn.Server."""
        _open_as_many_files_as_may_be()
        super().run(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn.Server."""
        self._watch.close()
        await super().shutdown(sockets)


def make_server(app: FastAPI, host: str, port: int) -> ApiServer:
    """A server for this app. `run()` serves until a signal."""
    config = uvicorn.Config(app, host=host, port=port, log_config=None, access_log=False)
    return ApiServer(config, change_watch_of(app))


def listen(host: str, port: int) -> socket.socket:
    """A socket for several servers. Ends the program, as uvicorn does, when there is no such address or it is taken."""
    return uvicorn.Config("", host=host, port=port, log_config=None).bind_socket()


def _open_as_many_files_as_may_be() -> None:
    """Each connection is one; what a shell permits by default, 1024, is less than those who may follow jobs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError) as error:  # macOS says "unlimited" and means less
        log.warning("open_files_not_raised", limit=soft, reason=str(error))
