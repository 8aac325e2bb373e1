"""
All that is in one database of Redis, as of one moment, as lines of JSON; and back.

Each key is kept as Redis' own DUMP, which has a checksum and is read by the same and by later versions of Redis.
"""

import json
import time
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

from redis import Redis

from core.backup.errors import BackupRefused
from core.job_store.scripts import PREFIX
from core.redis_client import CLIENT_NAME, connect, redis_errors_translated

_PAUSE_S = 60.0
_AT_ONCE = 500
_SPARE_DATABASES = (15, 14)  # of the sixteen that a Redis has; the service itself uses one
_PRECIOUS = tuple(f"{PREFIX}{kind}".encode() for kind in ("job:", "upload:", "batch:", "keys", "webhooks:secrets"))
"""What an installation has that was used. One that was only started has no such keys."""


# cursor, count → the next cursor, and of each key its name, milliseconds left (negative: for ever), content (nil: gone)
_DUMP = """
local cursor, keys = unpack(redis.call('SCAN', ARGV[1], 'COUNT', ARGV[2]))
local answer = {cursor}
for _, key in ipairs(keys) do
  table.insert(answer, key)
  table.insert(answer, redis.call('PTTL', key))
  table.insert(answer, redis.call('DUMP', key))
end
return answer
"""


@dataclass(frozen=True, slots=True)
class Dump:
    """What was in the database at `now_ms` by its clock: of each key the milliseconds left, and its content."""

    now_ms: int
    keys: dict[bytes, tuple[int, bytes]]

    def lines(self) -> Iterator[str]:
        """One for each key, in order."""
        for key, (left_ms, content) in sorted(self.keys.items()):
            expires_at_ms = self.now_ms + left_ms if left_ms >= 0 else 0
            record = {"key": key.decode(), "expires_at_ms": expires_at_ms, "dump": b64encode(content).decode()}
            yield json.dumps(record) + "\n"


def dump(redis: Redis) -> Dump:
    """
    Take everything into memory, while Redis keeps whoever wants to write waiting: nothing changes meanwhile.

    Raises QueueUnavailable. BackupRefused when it took so long that Redis has let writers through.
    """
    keys: dict[bytes, tuple[int, bytes]] = {}
    with redis_errors_translated(), _writers_waiting(redis):
        seconds, microseconds = redis.time()
        cursor = b""
        while cursor != b"0":
            cursor, *found = cast("list[Any]", redis.eval_ro(_DUMP, 0, (cursor or b"0").decode(), str(_AT_ONCE)))
            parts = zip(found[::3], found[1::3], found[2::3], strict=True)
            keys |= {key: (left_ms, content) for key, left_ms, content in parts if content is not None}
    return Dump(seconds * 1000 + microseconds // 1000, keys)


@contextmanager
def _writers_waiting(redis: Redis) -> Iterator[None]:
    began = time.monotonic()
    redis.client_pause(round(_PAUSE_S * 1000), all=False)
    try:
        yield
    finally:
        redis.client_unpause()
    if time.monotonic() - began > _PAUSE_S:
        raise BackupRefused(f"Reading the records took longer than {_PAUSE_S:.0f} s, so they may not fit together.")


def check_is_free(redis: Redis, *, force: bool) -> None:
    """Raise BackupRefused when a service uses this database, or, without `force`, when there is something in it."""
    with redis_errors_translated():
        database = str(redis.connection_pool.connection_kwargs.get("db", 0))
        clients = redis.client_list()
        me = str(redis.client_id())
        if any(c["name"] == CLIENT_NAME and c["db"] == database and c["id"] != me for c in clients):
            raise BackupRefused("The service is running. Stop the API and all workers first.")
        if not force and any(cast("bytes", key).startswith(_PRECIOUS) for key in redis.scan_iter(count=_AT_ONCE)):
            raise BackupRefused("This installation has jobs, uploads or API keys of its own; --force removes them.")


class Loading:
    """Records fill a spare database first, which takes the place of the service's own in one step."""

    def __init__(self, redis_url: str) -> None:
        self._redis = connect(redis_url, decoded=False)
        self._own = int(self._redis.connection_pool.connection_kwargs.get("db", 0))
        self._number = next(number for number in _SPARE_DATABASES if number != self._own)
        self._spare = connect(redis_url, decoded=False, database=self._number)

    def check_is_possible(self) -> None:
        """Raise BackupRefused when the spare database is not empty."""
        with redis_errors_translated():
            if self._spare.dbsize():
                raise BackupRefused(
                    f"Database {self._number} of this Redis has to be empty: records are loaded there first. "
                    f"If a restore was killed, empty it by `redis-cli -n {self._number} flushdb`."
                )

    def load(self, lines: Iterable[str]) -> int:
        """Fill the spare database; how many keys it has then. Raises QueueUnavailable."""
        loaded = 0
        rest = iter(lines)
        with redis_errors_translated():
            while batch := [json.loads(line) for line in islice(rest, _AT_ONCE)]:
                self._load_batch(batch)
                loaded += len(batch)
        return loaded

    def _load_batch(self, batch: list[dict[str, Any]]) -> None:
        with self._spare.pipeline(transaction=False) as pipe:
            for record in batch:
                pipe.restore(record["key"], record["expires_at_ms"], b64decode(record["dump"]), absttl=True)
            pipe.execute()

    def put_in_place(self) -> None:
        """What was loaded is the service's from now on, and what it had is gone."""
        with redis_errors_translated():
            self._redis.swapdb(self._own, self._number)

    def clear(self) -> None:
        """Empty the spare database, or what has taken its place."""
        with redis_errors_translated():
            self._spare.flushdb()

    def clear_own(self) -> None:
        """Empty the service's own database."""
        with redis_errors_translated():
            self._redis.flushdb()
