"""The JSON of uploads."""

from datetime import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from core.uploads import UploadState

SHA256_PATTERN = "^[0-9a-f]{64}$"
_EXAMPLE_ID = "upload://9d0c3f6f1b0e4b0f9a8d7c6b5a493827"


class NewUpload(BaseModel):
    """A file to come. All fields are optional."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"filename": "scene-12.mp4", "bytes": 48210934, "content_type": "video/mp4"}]},
    )

    filename: str | None = Field(None, max_length=255, description="For the service's log; it decides nothing.")
    bytes: int | None = Field(None, strict=True, gt=0, description="Size of the file; nothing larger is taken then.")
    sha256: str | None = Field(
        None, pattern=SHA256_PATTERN, description="sha256 of the file, in hexadecimal; another file is refused then."
    )
    multipart: bool = Field(
        False,
        strict=True,
        description="Ask for `parts`, to be PUT in any order and repeated singly. Needs `bytes`. Where the service "
        "keeps files in a folder there are none: the file goes up in one piece.",
    )
    content_type: str | None = Field(
        None,
        max_length=127,
        pattern=r"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+$",
        description="Sent along with the file. What the file really is shows when it is opened.",
    )

    @model_validator(mode="after")
    def _parts_have_sizes(self) -> Self:
        if self.multipart and self.bytes is None:
            raise ValueError("multipart needs bytes")
        return self


class UploadLinks(BaseModel):
    """Where to go next."""

    self: str = Field(description="GET: the upload as it is now. DELETE: remove it, if no job uses it.")
    complete: str = Field(description="POST, when the file or all of its parts have been PUT.")


class UploadView(BaseModel):
    """An upload as it is now."""

    id: str = Field(examples=[_EXAMPLE_ID], description="A `video_url` or `audio_url`.")
    state: UploadState = Field(description="`waiting` for its file, or `ready` for jobs.")
    bytes: int | None = Field(description="Size of the file that is there.")
    max_bytes: int = Field(description="Nothing larger is taken.")
    sha256: str | None = Field(description="As announced.")
    created_at: datetime
    kept_until: datetime = Field(
        description="Until then it waits for a job. Once jobs use it, it leaves with the last of them instead."
    )
    file_url: str | None = Field(
        None, description="GET the file back there, for a limited time. When one upload is looked at and has its file."
    )
    links: UploadLinks


class UploadPart(BaseModel):
    """One part of the file: its bytes from behind those of the parts before it."""

    number: int = Field(description="1 for the first.")
    url: str = Field(description="PUT the part there.")
    bytes: int = Field(description="Exactly so many.")


class UploadTicket(UploadView):
    """Where to PUT the file, and its id for POST /jobs."""

    method: str = Field(examples=["PUT"])
    url: str | None = Field(description="PUT the whole file there; absent when it goes up in `parts`.")
    parts: list[UploadPart] = Field(description="PUT each of these, then POST to `links.complete`.")
    headers: dict[str, str] = Field(description="Send these with the file.")
    expires_at: datetime = Field(description="Until then the addresses may be used.")
