"""The API behind uvicorn, which ends as soon as it is asked to."""

import socket

import uvicorn
from fastapi import FastAPI

from service.jobs.changes import ChangeWatch, change_watch_of


class ApiServer(uvicorn.Server):
    """
    Uvicorn waits, when it is to end, for every answer that is under way. Those that wait for a job are finished at
    once, so that a thousand followers do not hold up a deploy: they come again, to the next process.
    """

    def __init__(self, config: uvicorn.Config, watch: ChangeWatch) -> None:
        super().__init__(config)
        self._watch = watch

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn.Server."""
        self._watch.close()
        await super().shutdown(sockets)


def make_server(app: FastAPI, host: str, port: int) -> ApiServer:
    """A server for this app. `run()` serves until a signal."""
    config = uvicorn.Config(app, host=host, port=port, log_config=None, access_log=False)
    return ApiServer(config, change_watch_of(app))
