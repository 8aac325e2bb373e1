"""The served API that the client's tests use."""

from tests.client.conftest import highsync, service

__all__ = ["highsync", "service"]
