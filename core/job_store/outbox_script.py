"""
How an event gets into the webhooks' outbox: in the step that changes the job, or not at all. `core.webhooks` takes it
out again.

An ID is a job's, or a batch's.

    highsync:webhooks:due         zset    ID:EVENT by the time at which it is to be told, or told again
    highsync:webhooks:outbox:ID   hash    of each event of the job: EVENT:number, how often it has happened; EVENT:at,
                                          when it did; EVENT:pending, which of them is to be told; EVENT:attempts so
                                          far; EVENT:flying while one is under way; EVENT:not_before, the earliest time
                                          of the next. And `over`: the job has ended; `gone`: the receiver wants no more
    highsync:webhooks:log:ID      list    attempts at delivery as JSON, the latest first
"""

from core.batches import BatchEvent
from core.jobs import WebhookEvent


def event_word(event: WebhookEvent | BatchEvent) -> str:
    """The event as Redis knows it: what it is about shows in the id beside it."""
    return event.partition(".")[2]


TELL = """
local function outbox(id) return PREFIX .. 'webhooks:outbox:' .. id end

-- An event that happens again replaces the one before if that is still to be told. It keeps its place and its attempts.
local function tell(id, event)
  local wish = redis.call('HMGET', record(id), 'webhook_url', 'webhook_events')
  if not wish[1] then return end
  local key, due = outbox(id), PREFIX .. 'webhooks:due'
  if TRANSITIONS[event] and next(TRANSITIONS[event]) == nil then
    redis.call('HSET', key, 'over', 1)
    if redis.call('HEXISTS', key, 'progress:flying') == 0 then redis.call('ZREM', due, id .. ':progress') end
  end
  local wanted = string.find(wish[2] or '', '.' .. event .. '"', 1, true)
  if not wanted or redis.call('HEXISTS', key, 'gone') == 1 then return end
  local number = redis.call('HINCRBY', key, event .. ':number', 1)
  redis.call('HSET', key, event .. ':at', clock(), event .. ':pending', number)
  local not_before = redis.call('HGET', key, event .. ':not_before') or 0
  redis.call('ZADD', due, 'NX', math.max(clock(), not_before), id .. ':' .. event)
end

local function forget_webhooks(id)
  for _, event in ipairs(WEBHOOK_EVENTS) do redis.call('ZREM', PREFIX .. 'webhooks:due', id .. ':' .. event) end
  redis.call('DEL', outbox(id), PREFIX .. 'webhooks:log:' .. id)
end
"""
