"""What the tests of the client and of the whole service use: the served API, a clip and its voice."""

from tests.client.conftest import highsync, service
from tests.e2e.conftest import clip, line

__all__ = ["clip", "highsync", "line", "service"]
