"""Logs: one JSON object per line on stderr, our own events and the libraries' alike, with the secrets taken out."""

import logging
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from core.settings import LogSettings

REDACTED = "[redacted]"

_SECRET_NAMES = re.compile(
    r"secret|passw|authorization|cookie|credential|api[_-]?key|access[_-]?key|token|signature", re.IGNORECASE
)
_TELLTALE = re.compile(r"://|\?|hs_|whsec_|Bearer|Basic", re.IGNORECASE)
"""A text with none of these holds nothing that the patterns below would find."""

# The patterns look at every character a bounded number of times: who writes a long URL cannot make us slow.
_URL = re.compile(
    r"""\b (?P<scheme>[a-z][a-z0-9+.-]{0,30}://) (?:[^\s/?#@"'<>]*@)?
        (?P<place>[^\s?#"'<>]*) (?P<tail>[?#][^\s"'<>]*)?""",
    re.IGNORECASE | re.VERBOSE,
)
_QUERY = re.compile(r"""\?[^\s?"'<>]*=[^\s"'<>]*""")
_CREDENTIALS = re.compile(r"\b(?P<kind>Bearer|Basic)\s+[A-Za-z0-9._~+/=-]+", re.IGNORECASE)
_WEBHOOK_SECRET = re.compile(r"\bwhsec_[A-Za-z0-9+/=]+")
_API_KEY = re.compile(r"(?P<name>hs_[0-9a-f]{12}_)[A-Za-z0-9_-]+")
_CHATTY = ("boto3", "botocore", "s3transfer", "urllib3", "httpx", "httpcore", "kombu", "amqp")


def configure_logging(settings: LogSettings, process: str) -> None:
    """
    Send the logs of this process, named `process` in every line, to stderr: structlog's and the standard library's.

    What is bound by `structlog.contextvars` (job_id, attempt, request_id) is in every line of that task or thread.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _name_process(process),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(settings)],
            foreign_pre_chain=shared,
        )
    )
    logging.basicConfig(handlers=[handler], level=settings.log_level, force=True)
    _let_everything_through_root()
    logging.captureWarnings(capture=True)


def redact(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Take secrets out of an event: values with a telling name, URLs' userinfo and query, credentials in texts."""
    return {name: REDACTED if _is_secret(name) else redacted(value) for name, value in event.items()}


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return _SECRET_NAMES.search(name) is not None


def redacted(value: Any) -> Any:
    """The value without secrets; texts inside mappings and sequences too. Other objects are as they are."""
    if isinstance(value, str):
        if not _TELLTALE.search(value):
            return value
        without_queries = _QUERY.sub(f"?{REDACTED}", _URL.sub(_public_part, value))
        without_keys = _API_KEY.sub(rf"\g<name>{REDACTED}", _WEBHOOK_SECRET.sub(REDACTED, without_queries))
        return _CREDENTIALS.sub(rf"\g<kind> {REDACTED}", without_keys)
    if isinstance(value, Mapping):
        return {k: REDACTED if _is_secret(str(k)) else redacted(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted(item) for item in value]
    return value


def _public_part(url: re.Match[str]) -> str:
    return url["scheme"] + url["place"] + (f"?{REDACTED}" if url["tail"] else "")


def _name_process(process: str) -> Processor:
    def add(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    return add


def _renderer(settings: LogSettings) -> Processor:
    if settings.log_format == "console":
        return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    return structlog.processors.JSONRenderer(ensure_ascii=True)


def _let_everything_through_root() -> None:
    """Libraries that bring handlers of their own (uvicorn, celery) must not print beside the JSON lines."""
    for name in tuple(logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
