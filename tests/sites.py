"""A web site for tests whose pages are functions: well-behaved, lying or hostile, on a real loopback socket."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

Page = Callable[["Visit"], None]


class Visit(BaseHTTPRequestHandler):
    """One request. A page answers with `reply`, or writes whatever it likes to `wfile`."""

    protocol_version = "HTTP/1.1"
    server: "_Server"

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A whole answer. Underscores in header names become dashes; Content-Length is right unless given."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.start({"Content-Length": str(len(body))} | headers, status)
        self.wfile.write(body)

    def start(self, headers: dict[str, str], status: int = 200) -> None:
        """Status line and headers only."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def do_GET(self) -> None:
        site = self.server.site
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        site.visits.append((self.command, self.path, dict(self.headers), body))
        page = site.pages.get(self.path.partition("?")[0])
        if page is None:
            self.reply(404)
        else:
            page(self)
        self.close_connection = True

    do_POST = do_GET  # noqa: N815 (the name http.server looks for)

    def log_message(self, format: str, *args: object) -> None:
        """Tests are quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    site: "Site"

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that gives up is part of many tests."""


class Site:
    """A running site. `pages` maps paths to functions; `visits` lists (method, path, headers, body) as they came."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.visits: list[tuple[str, str, dict[str, str], bytes]] = []
        self.server = _Server(("127.0.0.1", 0), Visit)
        self.server.site = self
        self.port: int = self.server.server_address[1]
        self.scheme = "http"

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """The URL of a page."""
        return f"{self.scheme}://{host}:{self.port}{path}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()
