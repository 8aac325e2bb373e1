"""`highsync api`: the API alone. Imports nothing of `worker` and `model`: the API's image does not have them."""

import socket
from functools import partial

from cli.console import EXIT_CONFIG, EXIT_FAILED, EXIT_OK, say_error
from core.api_keys import RedisKeyStore
from core.errors import QueueUnavailable
from core.logging import configure_logging
from core.settings import Settings, SettingsError, load_settings

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
REFUSED = (
    "there are no API keys, so whoever reaches {host} could use this service. Make one (`highsync keys create`), "
    "listen on 127.0.0.1, or say --allow-unauthenticated when something in front of it checks who comes."
)


def run_api(host: str, port: int, *, allow_unauthenticated: bool) -> int:
    """Serve the API until a signal, from as many processes as the settings say; the exit code."""
    try:
        settings = load_settings()
        if allow_unauthenticated:
            settings = settings.model_copy(update={"allow_unauthenticated": True})
        if not may_listen(host, settings):
            say_error(REFUSED.format(host=host))
            return EXIT_FAILED
    except (SettingsError, ValueError) as error:
        say_error(str(error))
        return EXIT_CONFIG
    return _serve(settings, host, port) if settings.api_processes == 1 else _serve_together(settings, host, port)


def _serve(settings: Settings, host: str, port: int, listener: socket.socket | None = None) -> int:
    """Serve from this process, connections of the listener if there is one; the exit code."""
    from service.main import app
    from service.server import make_server

    try:
        application = app(settings)
    except (SettingsError, ValueError) as error:
        say_error(str(error))
        return EXIT_CONFIG
    make_server(application, host, port).run([listener] if listener else None)
    return EXIT_OK


def _serve_together(settings: Settings, host: str, port: int) -> int:
    """Serve from several processes; the exit code."""
    from service.replicas import Replicas
    from service.server import listen

    configure_logging(settings, "api")
    with listen(host, port) as listener:
        return Replicas(partial(_serve, settings, host, port), settings.api_processes, listener).run()


def may_listen(host: str, settings: Settings) -> bool:
    """
    Whether to serve on this address: without keys only this machine, unless the operator insists.

    While Redis is away nobody knows whether there are keys. The API then starts and waits for it: each request is
    checked, and none from elsewhere gets in without a key.
    """
    if host in LOOPBACK_HOSTS or settings.allow_unauthenticated:
        return True
    try:
        return RedisKeyStore.connect(settings.redis_url).any()
    except QueueUnavailable:
        return True
