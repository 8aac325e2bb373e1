"""What a trace is made of: the context that travels between processes, a span, and who keeps it (see core.tracing)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, Self

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1

Kind = Literal["server", "producer", "consumer", "internal"]
"""The place of a span between processes, in OpenTelemetry's words."""

Attributes = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class TraceContext:
    """One span, as others name it: the trace (32 hexadecimal digits), the span (16), and whether it is to be kept."""

    trace_id: str
    span_id: str
    sampled: bool = True

    @classmethod
    def parse(cls, header: str) -> Self | None:
        """The context of a `traceparent`; None when it is none, or one of all zeros, which the standard forbids."""
        found = _TRACEPARENT.fullmatch(header)
        if found is None or found[1] == "ff" or (found[1] == "00" and found[5]):
            return None
        if not (int(found[2], 16) and int(found[3], 16)):
            return None
        return cls(found[2], found[3], bool(int(found[4], 16) & _SAMPLED))

    @property
    def traceparent(self) -> str:
        """The header that names this span to others."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


class Span(Protocol):
    """A step under way."""

    @property
    def context(self) -> TraceContext:
        """Who it is."""

    def rename(self, name: str) -> None:
        """Give it the name that is known only now."""

    def note(self, attributes: Attributes) -> None:
        """Add facts."""

    def fail(self, error: BaseException) -> None:
        """Say that it ended with this error. The message stays here: it may hold what is nobody's business."""

    def end(self, end_ns: int) -> None:
        """It is over, in ns since the epoch."""


class Tracer(Protocol):
    """Begins spans."""

    def start(self, name: str, parent: TraceContext | None, kind: Kind, start_ns: int) -> Span:
        """A span that began at `start_ns`, in ns since the epoch; a trace of its own without a parent."""

    def close(self) -> None:
        """Hand over what is kept. Takes a few seconds at most."""
