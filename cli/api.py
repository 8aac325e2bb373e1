"""`highsync api`: the API alone. Imports nothing of `worker` and `model`: the API's image does not have them."""

from cli.console import EXIT_CONFIG, EXIT_FAILED, EXIT_OK, say_error
from core.api_keys import RedisKeyStore
from core.errors import QueueUnavailable
from core.settings import Settings, SettingsError, load_settings

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
REFUSED = (
    "there are no API keys, so whoever reaches {host} could use this service. Make one (`highsync keys create`), "
    "listen on 127.0.0.1, or say --allow-unauthenticated when something in front of it checks who comes."
)


def run_api(host: str, port: int, *, allow_unauthenticated: bool) -> int:
    """Serve the API until a signal; the exit code."""
    from service.main import app
    from service.server import make_server

    try:
        settings = load_settings()
        if allow_unauthenticated:
            settings = settings.model_copy(update={"allow_unauthenticated": True})
        if not may_listen(host, settings):
            say_error(REFUSED.format(host=host))
            return EXIT_FAILED
        application = app(settings)
    except (SettingsError, ValueError) as error:
        say_error(str(error))
        return EXIT_CONFIG
    make_server(application, host, port).run()
    return EXIT_OK


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
