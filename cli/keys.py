"""`highsync keys`: for the operator, who can reach Redis. There is no way to make keys through the API."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from pydantic import SecretStr
from rich.table import Column, Table

from cli.console import EXIT_CONFIG, EXIT_FAILED, EXIT_OK, CommandFailed, err, out, say_error
from cli.embedded_stack import redis_url_of
from core.api_keys import ApiKey, KeyId, KeyLimits, Keyring, RedisKeyStore, Scope
from core.errors import QueueUnavailable
from core.job_store import RedisJobStore
from core.jobs import TENANT_PATTERN
from core.settings import SettingsError, load_settings


def create(data: Path | None, tenant: str, scopes: Sequence[str], limits: KeyLimits, *, as_json: bool) -> int:
    """Make a key and print its text: alone on stdout, for `KEY=$(highsync keys create …)`. The exit code."""

    def command(keyring: Keyring) -> None:
        if not re.fullmatch(TENANT_PATTERN, tenant):
            raise CommandFailed("A tenant's name is made of at most 63 of a-z, 0-9 and -, and does not begin with -.")
        if not set(scopes) <= set(Scope):
            raise CommandFailed(f"The scopes are {', '.join(Scope)}.")
        key, text = keyring.create(tenant, map(Scope, scopes), limits)
        _print_new(key, text, as_json)

    return _run(data, command)


def show_all(data: Path | None, *, as_json: bool) -> int:
    """Print the records of all keys; the exit code."""

    def command(keyring: Keyring) -> None:
        if as_json:
            for key in keyring.list():
                print(_json(key))  # noqa: T201  for programs: no layout
        else:
            out.print(_table(keyring.list()))

    return _run(data, command)


def revoke(data: Path | None, key_id: str, *, as_json: bool) -> int:
    """End a key; the exit code."""

    def command(keyring: Keyring) -> None:
        key = keyring.revoke(KeyId(key_id))
        if key is None:
            raise CommandFailed(f"There is no key {key_id}; `highsync keys list` shows all.")
        if as_json:
            print(_json(key))  # noqa: T201
        else:
            out.print(f"{key.id} of {key.tenant} is revoked.")

    return _run(data, command)


def _run(data: Path | None, command: Callable[[Keyring], None]) -> int:
    """Run a command on the keys; the exit code. Nothing of worker or model is needed: the API's image has neither."""
    try:
        redis_url = load_settings().redis_url if data is None else redis_url_of(data)
        command(Keyring(RedisKeyStore.connect(redis_url), RedisJobStore.connect(redis_url)))
    except SettingsError as error:
        say_error(str(error))
        return EXIT_CONFIG
    except QueueUnavailable as error:
        say_error(f"{error.code}: {error} The keys are kept in Redis: is the service running?")
        return EXIT_FAILED
    except CommandFailed as error:
        say_error(str(error))
        return EXIT_FAILED
    return EXIT_OK


def _print_new(key: ApiKey, text: SecretStr, as_json: bool) -> None:
    if as_json:
        print(_json(key, {"key": text.get_secret_value()}))  # noqa: T201
        return
    print(text.get_secret_value())  # noqa: T201
    err.print(f"Key {key.id} of {key.tenant}: {_scopes(key)}. It is shown this once; keep it where secrets are kept.")


def _json(key: ApiKey, more: Mapping[str, str] = MappingProxyType({})) -> str:
    facts = key.model_dump(mode="json", exclude={"secret_sha256"})
    return json.dumps(facts | {"scopes": sorted(key.scopes), **more})


def _scopes(key: ApiKey) -> str:
    return ", ".join(sorted(key.scopes))


def _table(keys: Iterable[ApiKey]) -> Table:
    columns = Column("key", no_wrap=True), "tenant", "scopes", Column("limits", overflow="fold"), "created", "revoked"
    table = Table(*columns, box=None, pad_edge=False)
    for key in keys:
        limits = (f"{name}={value}" for name, value in key.limits.model_dump(exclude_none=True).items())
        revoked = f"{key.revoked_at:%Y-%m-%d}" if key.revoked_at else ""
        created = f"{key.created_at:%Y-%m-%d}"
        table.add_row(key.id, key.tenant, "\n".join(sorted(key.scopes)), "\n".join(limits), created, revoked)
    return table
