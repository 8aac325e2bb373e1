"""One running stack for the tests that leave it whole, and one for those that break it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.embedded_stack import EmbeddedStack
from client import HighSync
from tests.e2e.house import FAULT_TOLERANT, Studio, portrait_clip, voice
from tests.sites import Site

WEBHOOK_SECRET = "whsec_" + "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0"


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """A web server of the studio's network, which the operator has allowed."""
    with Site() as site:
        yield site


@pytest.fixture(scope="session")
def collector() -> Iterator[Site]:
    """Whoever collects the spans of the studio's processes; they come as bodies of POST /v1/traces."""
    with Site() as collector:
        collector.pages["/v1/traces"] = lambda visit: visit.reply(200)
        yield collector


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory, site: Site, collector: Site) -> Iterator[Studio]:
    """A stack with local storage. Tests may break parts of it if they put them right again."""
    settings = FAULT_TOLERANT | {
        "HIGHSYNC_FETCH_ALLOW": f"127.0.0.1/32:{site.port}",
        "HIGHSYNC_INPUT_MAX_BYTES": str(8 * 1024**2),
        "HIGHSYNC_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "HIGHSYNC_OTLP_ENDPOINT": collector.url(""),
    }
    with (
        EmbeddedStack(tmp_path_factory.mktemp("stack"), settings=settings) as stack,
        HighSync(stack.url) as client,
    ):
        yield Studio(stack, client)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 frames with a face."""
    return portrait_clip(tmp_path_factory.mktemp("clip") / "a clip.mp4", 16)


@pytest.fixture(scope="session")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 frames with a face: two segments."""
    return portrait_clip(tmp_path_factory.mktemp("clip") / "long.mp4", 120)


@pytest.fixture(scope="session")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A voice as long as the short clip."""
    return voice(tmp_path_factory.mktemp("voice") / "line.wav", 0.64)


@pytest.fixture(scope="session")
def long_line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A voice as long as the long clip."""
    return voice(tmp_path_factory.mktemp("voice") / "long.wav", 4.8)
