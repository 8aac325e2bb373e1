"""A Hugging Face Hub with one repository, as far as the Hub's library asks for it."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

REPOSITORY = "studio/lips"
COMMIT = "c0ffee" + "0" * 34


@contextmanager
def hub_of(folder: Path) -> Iterator[str]:
    """Serve the folder's files as the repository `studio/lips`. Gives the Hub's address."""
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    info = {"id": REPOSITORY, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
    tree = [{"type": "file", "path": name, "size": path.stat().st_size, "oid": COMMIT} for name, path in files.items()]

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith(f"/api/models/{REPOSITORY}/tree/"):
                self._answer(json.dumps(tree).encode(), with_body=True)
            elif self.path.startswith(f"/api/models/{REPOSITORY}"):
                self._answer(json.dumps(info).encode(), with_body=True)
            else:
                self._serve(with_body=True)

        def do_HEAD(self) -> None:
            self._serve(with_body=False)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def _serve(self, *, with_body: bool) -> None:
            name = self.path.removeprefix(f"/{REPOSITORY}/resolve/{COMMIT}/")
            if name in files:
                self._answer(files[name].read_bytes(), with_body=with_body)
            else:
                self.send_error(404)

        def _answer(self, body: bytes, *, with_body: bool) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
