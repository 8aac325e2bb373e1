"""
The process edge: the app of this environment. `service.server` serves it.

A plain `uvicorn --factory service.main:app` works as well, but needs `--timeout-graceful-shutdown`: it would wait for
those who follow a job.
"""

from fastapi import FastAPI

from core.logging import configure_logging
from core.settings import Settings, load_settings
from core.tracing import configure_tracing
from service.app import create_app


def app(settings: Settings | None = None) -> FastAPI:
    """The application with these settings, or with those of the environment."""
    settings = settings or load_settings()
    configure_logging(settings, "api")
    configure_tracing(settings, "api")
    return create_app(settings)
