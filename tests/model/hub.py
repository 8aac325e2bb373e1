"""A Hugging Face Hub with one repository, as far as the Hub's library asks for it."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

REPOSITORY = "studio/lips"
COMMIT = "c0ffee" + "0" * 34


@dataclass
class Hub:
    """Where it listens, and what was asked of it: (path, Range). breaks: bytes after which an answer ends, by file."""

    breaks: dict[str, list[int]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    address: str = ""

    def ranges_of(self, name: str) -> list[str | None]:
        """The Range of each request for a file."""
        return [span for path, span in self.asked if path.endswith(f"/{name}")]


@contextmanager
def hub_of(folder: Path) -> Iterator[str]:
    """Serve the folder's files as the repository `studio/lips`. Gives the Hub's address."""
    with faulty_hub_of(folder) as hub:
        yield hub.address


@contextmanager
def faulty_hub_of(
    folder: Path, breaks: Mapping[str, list[int]] | None = None, lies: frozenset[str] = frozenset()
) -> Iterator[Hub]:
    """Likewise, with answers that break off, and other bytes than were announced for the files in `lies`.

    As on the real Hub, large files (not .json) are announced by SHA-256, small ones by what git calls them.
    """
    hub = Hub({name: list(places) for name, places in (breaks or {}).items()})
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    info = {"id": REPOSITORY, "sha": COMMIT, "siblings": [_sibling(name, path) for name, path in files.items()]}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hub.asked.append((self.path, self.headers["Range"]))
            name = self.path.removeprefix(f"/{REPOSITORY}/resolve/{COMMIT}/")
            if self.path.startswith(f"/api/models/{REPOSITORY}"):
                self._answer(json.dumps(info).encode())
            elif name in files:
                body = files[name].read_bytes()
                self._answer(body[::-1] if name in lies else body, hub.breaks.get(name))
            else:
                self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def _answer(self, body: bytes, breaks: list[int] | None = None) -> None:
            span = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
            start = int(span[1]) if span else 0
            self.send_response(206 if span else 200)
            if span:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            stop = start + breaks.pop(0) if breaks else len(body)
            self.wfile.write(body[start:stop])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _sibling(name: str, path: Path) -> dict[str, object]:
    content = path.read_bytes()
    blob_id = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    facts: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": blob_id}
    if path.suffix != ".json":
        large = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "pointerSize": 134}
        facts["lfs"] = large
    return facts
