"""
GET /: the studio page, and the files that it is made of.

They are the same for everybody and hold nothing of anybody's: what the page shows it asks of the API, with the key that
the editor gives it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI, Header, Response
from starlette.exceptions import HTTPException

from core.settings import Settings

STUDIO = Path(__file__).with_name("studio")
INDEX = "index.html"
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class _StudioFile:
    """A file of the page, and how it is answered."""

    content: bytes
    headers: Mapping[str, str]

    @property
    def etag(self) -> str:
        """Its version."""
        return self.headers["ETag"]


def install_page(app: FastAPI, settings: Settings) -> None:
    """Serve the page. Its files are read once, here."""
    files = _read(content_security_policy(settings))
    router = APIRouter(include_in_schema=False)

    @router.api_route("/", methods=["GET", "HEAD"])
    async def studio_page(if_none_match: Annotated[str | None, Header()] = None) -> Response:
        return _answer(files[INDEX], if_none_match)

    @router.api_route("/studio/{name}", methods=["GET", "HEAD"])
    async def studio_file(name: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
        if name not in files:
            raise HTTPException(404, "The page has no such file.")
        return _answer(files[name], if_none_match)

    app.include_router(router)


def _read(policy: str) -> dict[str, _StudioFile]:
    """All files by name. Names have no versions, so a browser asks each time whether it still has the right one."""
    files = {}
    for path in sorted(STUDIO.iterdir()):
        content = path.read_bytes()
        headers = {
            "Content-Type": _MEDIA_TYPES[path.suffix],
            "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
            "Cache-Control": "no-cache",
            "Content-Security-Policy": policy,
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
            "Referrer-Policy": "same-origin",
        }
        files[path.name] = _StudioFile(content, headers)
    return files


def _answer(file: _StudioFile, if_none_match: str | None) -> Response:
    known = {tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")}
    if file.etag in known:
        return Response(status_code=304, headers=dict(file.headers))
    return Response(file.content, headers=dict(file.headers))


def content_security_policy(settings: Settings) -> str:
    """
    What a browser lets the page do: nothing but what comes from here, and from the bucket if the files are in one.

    Text never becomes markup: the page has no way to (Trusted Types), whatever a job is called.
    """
    bucket = _bucket_origins(settings)
    return "; ".join(
        (
            "default-src 'self'",
            f"connect-src 'self'{bucket}",
            f"img-src 'self' blob:{bucket}",
            f"media-src 'self' blob:{bucket}",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "object-src 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _bucket_origins(settings: Settings) -> str:
    """Where the links of a bucket lead, each behind a space; nothing when files lie in a folder."""
    if urlsplit(settings.storage_url).scheme != "s3":
        return ""
    endpoint = settings.s3_public_endpoint or settings.s3_endpoint
    if endpoint is None:
        return f" https://s3.amazonaws.com https://s3.{settings.s3_region}.amazonaws.com"
    place = urlsplit(endpoint)
    return f" {place.scheme}://{place.netloc}"
