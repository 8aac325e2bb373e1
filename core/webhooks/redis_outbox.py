"""The outbox in Redis. Events get into it by `core.job_store.outbox_script`, in the step that changes the job."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast

from redis import Redis

from core.batches import BatchEvent, is_batch_id
from core.job_store.outbox_script import event_word
from core.job_store.scripts import PREFIX
from core.jobs import WEBHOOK_EVENTS_IN_ORDER, WebhookEvent
from core.redis_client import connect, redis_errors_translated
from core.webhooks.outbox import LOG_LENGTH, Attempted, Delivery, DueDelivery, OutboxStats, Outcome
from core.webhooks.subject import Event, SubjectId

_WORDS = [event_word(event) for event in (*WEBHOOK_EVENTS_IN_ORDER, *BatchEvent)]
_DUE = f"{PREFIX}webhooks:due"
_LOOKED_THROUGH = 1000
"""Due events that one call looks at: those that wait for an earlier one of their job are passed over."""

_LIBRARY = f"""
local DUE = '{_DUE}'
local WORDS = {{{", ".join(repr(word) for word in _WORDS)}}}
local function outbox(id) return '{PREFIX}webhooks:outbox:' .. id end
local function log(id) return '{PREFIX}webhooks:log:' .. id end
local function is_there(id) return redis.call('EXISTS', '{PREFIX}job:' .. id, '{PREFIX}batch:' .. id) == 1 end
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6

local function drop(id)
  for _, word in ipairs(WORDS) do redis.call('ZREM', DUE, id .. ':' .. word) end
end
"""

# limit, hold time, pause of progress → {{id, word, number, time, attempt}, …}
_TAKE_DUE = (
    _LIBRARY
    + f"""
local limit, hold_s, progress_pause_s = unpack(ARGV)

local function must_wait(id, word)
  for _, earlier in ipairs(WORDS) do
    if earlier == word then return false end
    local state = redis.call('HMGET', outbox(id), earlier .. ':attempts', earlier .. ':flying')
    local is_due = redis.call('ZSCORE', DUE, id .. ':' .. earlier)
    if is_due and (not state[1] or state[2]) then return true end
  end
end

local taken = {{}}
for _, entry in ipairs(redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, {_LOOKED_THROUGH})) do
  if #taken >= tonumber(limit) then break end
  local id, word = string.match(entry, '^([^:]+):(.+)$')
  if not must_wait(id, word) then
    redis.call('ZADD', DUE, now + hold_s, entry)
    local attempt = redis.call('HINCRBY', outbox(id), word .. ':attempts', 1)
    local event = redis.call('HMGET', outbox(id), word .. ':pending', word .. ':at')
    redis.call('HSET', outbox(id), word .. ':flying', event[1])
    if word == 'progress' then redis.call('HSET', outbox(id), 'progress:not_before', now + progress_pause_s) end
    taken[#taken + 1] = {{id, word, event[1], event[2], attempt}}
  end
end
return taken
"""
)

# id, word, number, attempt, pause | '', '1' if the receiver is gone, log entry
_RECORD = (
    _LIBRARY
    + f"""
local id, word, number, attempt, pause_s, gone, entry = unpack(ARGV)
local key, member = outbox(id), id .. ':' .. word
if not is_there(id) then return drop(id) end
redis.call('LPUSH', log(id), entry)
redis.call('LTRIM', log(id), 0, {LOG_LENGTH - 1})
if gone == '1' then
  redis.call('HSET', key, 'gone', 1)
  return drop(id)
end
local state = redis.call('HMGET', key, word .. ':attempts', word .. ':pending', word .. ':not_before', 'over')
if state[1] ~= attempt or not redis.call('ZSCORE', DUE, member) then return end
redis.call('HDEL', key, word .. ':flying')
if word == 'progress' and state[4] then
  redis.call('ZREM', DUE, member)
elseif pause_s ~= '' then
  redis.call('ZADD', DUE, now + pause_s, member)
else
  redis.call('HDEL', key, word .. ':attempts')
  if state[2] == number then
    redis.call('ZREM', DUE, member)
  else
    redis.call('ZADD', DUE, math.max(now, state[3] or 0), member)
  end
end
"""
)

# id, word, number, time
_REPLAY = (
    _LIBRARY
    + """
local id, word, number, at = unpack(ARGV)
local key, member = outbox(id), id .. ':' .. word
if not is_there(id) then return end
redis.call('HDEL', key, 'gone')
if redis.call('HEXISTS', key, word .. ':flying') == 0 or not redis.call('ZSCORE', DUE, member) then
  redis.call('HDEL', key, word .. ':attempts')
  redis.call('HSET', key, word .. ':pending', number, word .. ':at', at)
  redis.call('ZADD', DUE, now, member)
end
"""
)

_DROP = _LIBRARY + "drop(ARGV[1])"

# → backlog, seconds by which the first one is late, as a string
_STATS = (
    _LIBRARY
    + """
local first = redis.call('ZRANGE', DUE, 0, 0, 'WITHSCORES')
return {redis.call('ZCARD', DUE), tostring(first[2] and math.max(0, now - first[2]) or 0)}
"""
)


class RedisOutbox:
    """See Outbox. All times are of Redis' own clock."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    @classmethod
    def connect(cls, url: str) -> "RedisOutbox":
        """An outbox on the Redis at this address; connects at the first call."""
        return cls(connect(url))

    def take_due(self, limit: int, hold_s: float, progress_pause_s: float) -> tuple[DueDelivery, ...]:
        """See Outbox."""
        return tuple(
            DueDelivery(
                about,
                _event(about, word),
                int(number),
                datetime.fromtimestamp(float(happened_at), UTC),
                int(attempt),
            )
            for about, word, number, happened_at, attempt in self._run(_TAKE_DUE, limit, hold_s, progress_pause_s)
        )

    def record(self, due: DueDelivery, attempted: Attempted) -> None:
        """See Outbox."""
        pause_s = attempted.pause_s
        next_attempt_at = None if pause_s is None else attempted.at + timedelta(seconds=pause_s)
        self._run(
            _RECORD,
            due.about,
            event_word(due.event),
            due.number,
            due.attempt,
            "" if pause_s is None else pause_s,
            int(attempted.outcome is Outcome.GONE),
            Delivery.of(due, attempted, next_attempt_at).model_dump_json(),
        )

    def drop(self, about: SubjectId) -> None:
        """See Outbox."""
        self._run(_DROP, about)

    def deliveries(self, about: SubjectId) -> tuple[Delivery, ...]:
        """See Outbox."""
        with redis_errors_translated():
            entries = cast("list[str]", self._redis.lrange(f"{PREFIX}webhooks:log:{about}", 0, -1))
        return tuple(map(Delivery.model_validate_json, entries))

    def replay(self, delivery: Delivery) -> None:
        """See Outbox."""
        at = f"{delivery.happened_at.timestamp():.6f}"
        self._run(_REPLAY, delivery.about, event_word(delivery.event), delivery.number, at)

    def stats(self) -> OutboxStats:
        """See Outbox."""
        backlog, overdue_s = self._run(_STATS)
        return OutboxStats(int(backlog), float(overdue_s))

    def _run(self, script: str, *arguments: str | float) -> Any:
        with redis_errors_translated():
            return self._redis.register_script(script)(args=arguments)


def _event(about: str, word: str) -> Event:
    return BatchEvent(f"batch.{word}") if is_batch_id(about) else WebhookEvent(f"job.{word}")
