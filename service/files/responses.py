"""How a stored file answers."""

from fastapi.responses import FileResponse
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send


class StoredFile(FileResponse):
    """A file, or a part of it. A range that it has not is a problem like any other; unknown units are no ranges."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI. Raises HTTPException 416."""
        if not Headers(scope=scope).get("range", "").startswith("bytes="):
            headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
            scope = {**scope, "headers": headers}

        async def send_or_refuse(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in (400, 416):
                size = {"Content-Range": f"bytes */{self.headers['Content-Length']}"}
                raise HTTPException(416, "The file has no such bytes.", size)
            await send(message)

        await super().__call__(scope, receive, send_or_refuse)
