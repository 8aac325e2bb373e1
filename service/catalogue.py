"""GET /errors: every error code, for machines; docs/errors.md for people."""

from fastapi import APIRouter
from pydantic import BaseModel

from core.errors import CATALOGUE, ErrorCode
from service.errors import problems

router = APIRouter(tags=["operations"])


class ErrorEntry(BaseModel):
    """What an error code means and what to do about it."""

    code: ErrorCode
    http_status: int
    title: str
    hint: str
    retryable: bool


class ErrorCatalogue(BaseModel):
    """All codes, of requests and of failed jobs."""

    errors: list[ErrorEntry]


@router.get("/errors", summary="List the error codes", responses=problems())
async def list_errors() -> ErrorCatalogue:
    """A code never changes its meaning."""
    return ErrorCatalogue(
        errors=[
            ErrorEntry(
                code=code, http_status=spec.http_status, title=spec.title, hint=spec.hint, retryable=spec.retryable
            )
            for code, spec in CATALOGUE.items()
        ]
    )
