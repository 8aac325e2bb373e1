"""
The changes of job records, as Lua: each runs in Redis as one step, on Redis' own clock, or not at all.

Keys (one Redis, no cluster, as Celery demands; so they are built here and not passed in):

    highsync:job:ID         hash    the record, a field per attribute of `core.jobs.Job`, and what decides its turn:
                                    `priority`, `queue_rank`, and `arrival`, counted by highsync:arrivals; of each
                                    attempt N, its attributes are the fields attempt:N:worker, attempt:N:started_at, …
    highsync:events:ID      stream  the history of the job; of progress only the latest
    highsync:jobs           zset    every id, all with score 0: ids sort by creation, so lexical ranges are pages
    highsync:jobs:STATUS    zset    the ids in this state, likewise
    highsync:tenant:T:jobs, highsync:tenant:T:jobs:STATUS
                            zset    the same for one tenant's jobs
    highsync:batch:B        hash    the record of a batch, a field per attribute of `core.batches.Batch` but `counts`
    highsync:batch:B:jobs, highsync:batch:B:jobs:STATUS
                            zset    the same for one batch's jobs; it is gone when they are
    highsync:line:P:T       zset    a tenant's queued ids of one priority, by rank and then by arrival
    highsync:turns:P        zset    the tenants that have such a line, by the turn in which they were served last
    highsync:served         hash    tenant → that turn; highsync:turn counts them
    highsync:max_running    hash    tenant → how many of its jobs may run at a time; absent: any number
    highsync:queued_since   zset    queued ids by the time they began to wait
    highsync:announced      zset    queued ids by the time the last message was sent for them; 0: there is none
    highsync:leases         zset    running ids by the time at which their worker counts as lost
    highsync:start_deadlines  zset  ids that were never started, by the time at which they expire
    highsync:deadlines      zset    ids that are not over, by the time at which they expire
    highsync:runs:R         list    seconds that the latest jobs of this rank took to succeed, the latest first
    highsync:changes        stream  the latest events of all jobs, for the processes that wait for them
    highsync:webhooks:…             see `core.job_store.outbox_script`
    highsync:purge_due      zset    ended ids that are to be purged, by the time at which they are
    highsync:lock:NAME      string  who is inside `exclusive(NAME)`
"""

from collections.abc import Iterable

from core.batches import BATCH_PREFIX, BatchEvent
from core.job_store.outbox_script import TELL, event_word
from core.job_store.protocol import RUNS_KEPT
from core.jobs import EVENT_OF_MOVE, TRANSITIONS, WEBHOOK_EVENTS_IN_ORDER, JobStatus, Priority

PREFIX = "highsync:"
MAX_RUNNING = f"{PREFIX}max_running"
CHANGES = f"{PREFIX}changes"

EVENTS_KEPT = 500
"""The longest history of a job. Progress is one entry, so it takes hundreds of starts to forget the first events."""

CHANGES_KEPT = 2000
"""How many changes a process may lag before it misses one; after trouble with Redis it reads the histories anyway."""

FULL = -1
"""What CREATE answers when as many jobs of the tenant wait as may."""

LOST, GO_ON, STOP = 0, 1, 2
"""What a script answers to the holder of a lease: it is lost; done; done, and stop the work as requested."""

_LIBRARY = (
    f"""
local function record(id)  -- of a job, or of a batch: its id says which
  return PREFIX .. (string.sub(id, 1, #BATCH_PREFIX) == BATCH_PREFIX and 'batch:' or 'job:') .. id
end

local time  -- a script is one step: all that happens in it happens at the same time
local function clock()  -- seconds since the epoch; a string keeps the microseconds
  time = time or redis.call('TIME')
  return time[1] .. '.' .. string.format('%06d', time[2])
end
{TELL}"""
    + """

local function of_tenant(tenant, index) return PREFIX .. 'tenant:' .. tenant .. ':' .. index end

local function of_batch(batch, index) return PREFIX .. 'batch:' .. batch .. ':' .. index end

local function indexes(index, id)  -- where this index of all jobs is kept, and of those of the same tenant and batch
  local tenant, batch = unpack(redis.call('HMGET', record(id), 'tenant', 'batch_id'))
  return {PREFIX .. index, of_tenant(tenant, index), batch and of_batch(batch, index) or nil}
end

local function list_in(index, id)
  for _, key in ipairs(indexes(index, id)) do redis.call('ZADD', key, 0, id) end
end

local function strike_from(index, id)
  for _, key in ipairs(indexes(index, id)) do redis.call('ZREM', key, id) end
end

local function line(priority, tenant) return PREFIX .. 'line:' .. priority .. ':' .. tenant end

local function turns(priority) return PREFIX .. 'turns:' .. priority end

local function wait(id)
  redis.call('ZADD', PREFIX .. 'queued_since', clock(), id)
  redis.call('ZADD', PREFIX .. 'announced', clock(), id)
  local facts = redis.call('HMGET', record(id), 'tenant', 'priority', 'queue_rank', 'arrival')
  local tenant, priority, rank, arrival = unpack(facts)
  redis.call('ZADD', line(priority, tenant), string.format('%.0f', rank * 1e12 + arrival), id)
  redis.call('ZADD', turns(priority), redis.call('HGET', PREFIX .. 'served', tenant) or 0, tenant)
end

local function stop_waiting(id)
  local tenant, priority = unpack(redis.call('HMGET', record(id), 'tenant', 'priority'))
  redis.call('ZREM', line(priority, tenant), id)
  if redis.call('EXISTS', line(priority, tenant)) == 0 then redis.call('ZREM', turns(priority), tenant) end
end

local function room(tenant)  -- how many more jobs of this tenant may run
  local limit = redis.call('HGET', MAX_RUNNING, tenant)
  return limit and limit - redis.call('ZCARD', of_tenant(tenant, 'jobs:running')) or math.huge
end

-- Nobody fetches the inputs again: what their URLs were sealed with goes. A job without a result may be tried again.
local function forget_queries(id)
  for _, field in ipairs({'video_url', 'audio_url', 'options'}) do
    local value = redis.call('HGET', record(id), field)
    if value then redis.call('HSET', record(id), field, (string.gsub(value, '%?sealed=[%w_=-]+', ''))) end
  end
end

local function runs(rank) return PREFIX .. 'runs:' .. rank end

-- How long a job takes here. One that was started again may have found finished segments, so it says nothing.
local function note_run(id)
  local attempts, rank, started = unpack(redis.call('HMGET', record(id), 'attempts', 'queue_rank', 'started_at'))
  if attempts ~= '1' then return end
  redis.call('LPUSH', runs(rank), tostring(clock() - started))
  redis.call('LTRIM', runs(rank), 0, RUNS_KEPT - 1)
end

local function is_over(status) return next(TRANSITIONS[status]) == nil end

local function close_batch(id)  -- of which a job has just ended: was that the last one?
  for status, _ in pairs(TRANSITIONS) do
    if not is_over(status) and redis.call('EXISTS', of_batch(id, 'jobs:' .. status)) == 1 then return end
  end
  redis.call('HSET', record(id), 'finished_at', clock())
  tell(id, 'completed')
end

-- All who want to know of a change learn it here, in the step that makes it: the job's history, whoever waits for the
-- job at this moment, and the webhooks' outbox.
local function changed(id, event)
  local history = PREFIX .. 'events:' .. id
  local attempts, progress = unpack(redis.call('HMGET', record(id), 'attempts', 'progress'))
  local entry = {'type', event, 'attempt', attempts}
  if event == 'progress' then
    entry[5], entry[6] = 'progress', progress
    local latest = redis.call('XREVRANGE', history, '+', '-', 'COUNT', 1)[1]
    if latest and latest[2][2] == 'progress' then redis.call('XDEL', history, latest[1]) end
  end
  local event_id = redis.call('XADD', history, 'MAXLEN', EVENTS_KEPT, '*', unpack(entry))
  redis.call('XADD', CHANGES, 'MAXLEN', '~', CHANGES_KEPT, '*', 'id', event_id, 'job_id', id, unpack(entry))
  if event ~= 'requeued' then tell(id, event) end
end

-- Bring a job into another state. `outcome` is what to say of the attempt that this ends; default: the same word.
local function move(id, status, outcome)
  local before, attempt = unpack(redis.call('HMGET', record(id), 'status', 'attempts'))
  if not TRANSITIONS[before][status] then error('a ' .. before .. ' job cannot become ' .. status) end
  if before == 'queued' then stop_waiting(id) end
  redis.call('HSET', record(id), 'status', status)
  strike_from('jobs:' .. before, id)
  list_in('jobs:' .. status, id)
  for _, index in ipairs({'queued_since', 'announced', 'leases', 'start_deadlines'}) do
    redis.call('ZREM', PREFIX .. index, id)
  end
  if before == 'running' then
    local log = 'attempt:' .. attempt .. ':'
    redis.call('HSET', record(id), log .. 'ended_at', clock(), log .. 'outcome', outcome or status)
  end
  if status == 'queued' then
    redis.call('HDEL', record(id), 'progress')
    wait(id)
  elseif is_over(status) then
    redis.call('HSET', record(id), 'finished_at', clock())
    redis.call('ZREM', PREFIX .. 'deadlines', id)
    local retention_s = redis.call('HGET', record(id), 'retention_s')
    if retention_s then redis.call('ZADD', PREFIX .. 'purge_due', clock() + retention_s, id) end
    if status == 'succeeded' then
      forget_queries(id)
      note_run(id)
    end
  end
  changed(id, EVENT_OF_MOVE[status])
  local batch = redis.call('HGET', record(id), 'batch_id')
  if batch and is_over(status) then close_batch(batch) end
end

local function has_room_for(tenant, more, max_queued)  -- in the queue; '': there is always room
  return max_queued == '' or redis.call('ZCARD', of_tenant(tenant, 'jobs:queued')) + more <= tonumber(max_queued)
end

-- Let a job in. At `place` in ARGV it begins: id, start deadline | '', deadline | '', how many more, field, value, …
-- → the place behind it
local function enter(place)
  local id, start_deadline, deadline, length = unpack(ARGV, place, place + 3)
  local behind = place + 4 + length
  local arrival = redis.call('INCR', PREFIX .. 'arrivals')
  redis.call('HSET', record(id), 'arrival', arrival, unpack(ARGV, place + 4, behind - 1))
  list_in('jobs', id)
  list_in('jobs:queued', id)
  if start_deadline ~= '' then redis.call('ZADD', PREFIX .. 'start_deadlines', start_deadline, id) end
  if deadline ~= '' then redis.call('ZADD', PREFIX .. 'deadlines', deadline, id) end
  wait(id)
  changed(id, 'created')
  return behind
end

-- Times that lie further ahead than they can be, because the clock was set back meanwhile, are brought near.
local function not_after(index, latest)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', PREFIX .. index, '(' .. latest, '+inf')) do
    redis.call('ZADD', PREFIX .. index, latest, id)
  end
end

local function held(id, token)
  local now = redis.call('HMGET', record(id), 'status', 'attempts')
  return now[1] == 'running' and now[2] == token
end

local function prolong(id, ttl_s)
  redis.call('ZADD', PREFIX .. 'leases', clock() + ttl_s, id)
end

local function overdue(id)
  for _, index in ipairs({'start_deadlines', 'deadlines'}) do
    local deadline = redis.call('ZSCORE', PREFIX .. index, id)
    if deadline and tonumber(deadline) <= tonumber(clock()) then return true end
  end
  return false
end

-- Begin the next attempt of a queued job. The number of the attempt is its token.
local function start(id, worker_id, ttl_s)
  local log = 'attempt:' .. redis.call('HINCRBY', record(id), 'attempts', 1) .. ':'
  redis.call('HSET', record(id), 'worker_id', worker_id, log .. 'worker', worker_id, log .. 'started_at', clock())
  redis.call('HSETNX', record(id), 'started_at', clock())
  move(id, 'running')
  prolong(id, ttl_s)
end

local function request_cancel(id)
  local status = redis.call('HGET', record(id), 'status')
  if not is_over(status) then
    redis.call('HSET', record(id), 'cancel_requested', '1')
    redis.call('HSETNX', record(id), 'cancel_requested_at', clock())
  end
  if status == 'queued' then move(id, 'canceled') end
end

local function cancel_requested(id) return redis.call('HGET', record(id), 'cancel_requested') == '1' end
"""
)


def _lua_transitions() -> str:
    rows = (
        f"{before} = {{{', '.join(f'{after} = true' for after in sorted(afters))}}}"
        for before, afters in TRANSITIONS.items()
    )
    return f"{{{', '.join(rows)}}}"


def _lua_list(words: Iterable[str]) -> str:
    return "{" + ", ".join(f"'{word}'" for word in words) + "}"


def _script(body: str) -> str:
    constants = f"""
local PREFIX = '{PREFIX}'
local BATCH_PREFIX = '{BATCH_PREFIX}'
local WEBHOOK_EVENTS = {_lua_list(event_word(event) for event in (*WEBHOOK_EVENTS_IN_ORDER, *BatchEvent))}
local MAX_RUNNING = '{MAX_RUNNING}'
local CHANGES, EVENTS_KEPT, CHANGES_KEPT, RUNS_KEPT = '{CHANGES}', {EVENTS_KEPT}, {CHANGES_KEPT}, {RUNS_KEPT}
local TRANSITIONS = {_lua_transitions()}
local EVENT_OF_MOVE = {{{", ".join(f"{status} = '{event}'" for status, event in EVENT_OF_MOVE.items())}}}
local STATUSES, PRIORITIES = {_lua_list(JobStatus)}, {_lua_list(Priority)}
local FULL, LOST, GO_ON, STOP = {FULL}, {LOST}, {GO_ON}, {STOP}
"""
    return constants + _LIBRARY + body


# tenant, how many of the tenant's jobs may wait | '', the job as `enter` takes it → FULL | GO_ON
CREATE = _script("""
local tenant, max_queued, id = unpack(ARGV)
if redis.call('EXISTS', record(id)) == 1 then return GO_ON end
if not has_room_for(tenant, 1, max_queued) then return FULL end
enter(3)
return GO_ON
""")

# tenant, how many of the tenant's jobs may wait | '', batch id, how many jobs, how many more about the batch, field,
# value, …, and each job as `enter` takes it → FULL | GO_ON
CREATE_BATCH = _script("""
local tenant, max_queued, id, size, length = unpack(ARGV, 1, 5)
if redis.call('EXISTS', record(id)) == 1 then return GO_ON end
if not has_room_for(tenant, size, max_queued) then return FULL end
redis.call('HSET', record(id), unpack(ARGV, 6, 5 + length))
local place = 6 + length
while place <= #ARGV do place = enter(place) end
return GO_ON
""")

# batch id → its record, and how many of its jobs are in each state
GET_BATCH = _script("""
local counts = {}
for place, status in ipairs(STATUSES) do counts[place] = redis.call('ZCARD', of_batch(ARGV[1], 'jobs:' .. status)) end
return {redis.call('HGETALL', record(ARGV[1])), counts}
""")

# index key, end of the lexical range, number → records
LIST = _script("""
local page = {}
for _, id in ipairs(redis.call('ZRANGE', PREFIX .. ARGV[1], ARGV[2], '-', 'BYLEX', 'REV', 'LIMIT', 0, ARGV[3])) do
  page[#page + 1] = redis.call('HGETALL', record(id))
end
return page
""")

# → one number per status, startable jobs, age of the longest wait as a string
STATS = _script("""
local counts, waiting, startable = {}, {}, 0
for place, status in ipairs(STATUSES) do counts[place] = redis.call('ZCARD', PREFIX .. 'jobs:' .. status) end
for _, priority in ipairs(PRIORITIES) do
  for _, tenant in ipairs(redis.call('ZRANGE', turns(priority), 0, -1)) do
    waiting[tenant] = (waiting[tenant] or 0) + redis.call('ZCARD', line(priority, tenant))
  end
end
for tenant, count in pairs(waiting) do startable = startable + math.max(0, math.min(count, room(tenant))) end
local first = redis.call('ZRANGE', PREFIX .. 'queued_since', 0, 0, 'WITHSCORES')
counts[#counts + 1] = startable
counts[#counts + 1] = first[2] and tostring(clock() - first[2]) or '0'
return counts
""")

# id, rank → how many claims from now | 0, running jobs, seconds of the latest runs as strings
OUTLOOK = _script("""
local id, rank = unpack(ARGV)

-- In each round every tenant that comes before gets one more turn.
local function position()
  local status, own, urgency = unpack(redis.call('HMGET', record(id), 'status', 'tenant', 'priority'))
  if status ~= 'queued' then return 0 end
  local rounds = redis.call('ZRANK', line(urgency, own), id)
  local position, comes_before = rounds + 1, true
  for _, priority in ipairs(PRIORITIES) do
    for _, tenant in ipairs(redis.call('ZRANGE', turns(priority), 0, -1)) do
      local length = redis.call('ZCARD', line(priority, tenant))
      if priority ~= urgency then
        position = position + length
      elseif tenant == own then
        comes_before = false
      else
        position = position + math.min(length, comes_before and rounds + 1 or rounds)
      end
    end
    if priority == urgency then return position end
  end
end

return {position(), redis.call('ZCARD', PREFIX .. 'jobs:running'), unpack(redis.call('LRANGE', runs(rank), 0, -1))}
""")

# worker id, lease time → record | nil. A tenant without room has running jobs, and what is overdue is expired soon:
# few are passed over.
CLAIM_NEXT = _script("""
local worker_id, ttl_s = unpack(ARGV)

local function first_in_time(queue)
  local place = 0
  repeat
    local id = redis.call('ZRANGE', queue, place, place)[1]
    if id and not overdue(id) then return id end
    place = place + 1
  until not id
end

local function next_in_turn()
  for _, priority in ipairs(PRIORITIES) do
    for _, tenant in ipairs(redis.call('ZRANGE', turns(priority), 0, -1)) do
      local id = room(tenant) > 0 and first_in_time(line(priority, tenant))
      if id then return id, tenant end
    end
  end
end

local id, tenant = next_in_turn()
if not id then return nil end
local turn = redis.call('INCR', PREFIX .. 'turn')
redis.call('HSET', PREFIX .. 'served', tenant, turn)
for _, priority in ipairs(PRIORITIES) do redis.call('ZADD', turns(priority), 'XX', turn, tenant) end
start(id, worker_id, ttl_s)
return redis.call('HGETALL', record(id))
""")

# id, token, lease time → GO_ON | STOP | LOST
RENEW = _script("""
local id, token, ttl_s = unpack(ARGV)
if not held(id, token) then return LOST end
prolong(id, ttl_s)
return cancel_requested(id) and STOP or GO_ON
""")

# id, token, progress → GO_ON | LOST
REPORT_PROGRESS = _script("""
local id, token, progress = unpack(ARGV)
if not held(id, token) then return LOST end
redis.call('HSET', record(id), 'progress', progress)
changed(id, 'progress')
return GO_ON
""")

# id, token, report → GO_ON | LOST
REPORT_PREFLIGHT = _script("""
local id, token, report = unpack(ARGV)
if not held(id, token) then return LOST end
redis.call('HSET', record(id), 'preflight', report)
return GO_ON
""")

# id, token, terminal status[, field, value, …] → GO_ON | LOST. A repeat finds its own work done: GO_ON.
FINISH = _script("""
local id, token, status = unpack(ARGV)
local now = redis.call('HMGET', record(id), 'status', 'attempts')
if now[1] == status and now[2] == token then return GO_ON end
if not held(id, token) then return LOST end
if ARGV[4] then redis.call('HSET', record(id), unpack(ARGV, 4)) end
move(id, status)
return GO_ON
""")

# id, token → GO_ON | LOST. A repeat finds its own work done: GO_ON.
RELEASE = _script("""
local id, token = unpack(ARGV)
local status = cancel_requested(id) and 'canceled' or 'queued'
local now = redis.call('HMGET', record(id), 'status', 'attempts')
if now[1] == status and now[2] == token then return GO_ON end
if not held(id, token) then return LOST end
move(id, status, status == 'queued' and 'released' or nil)
return GO_ON
""")

# id → record | nil
REQUEST_CANCEL = _script("""
local id = ARGV[1]
if redis.call('EXISTS', record(id)) == 0 then return nil end
request_cancel(id)
return redis.call('HGETALL', record(id))
""")

# batch id → records of the jobs that are canceled by this, those that ran not among them
CANCEL_BATCH = _script("""
local canceled = {}
for _, id in ipairs(redis.call('ZRANGE', of_batch(ARGV[1], 'jobs:queued'), 0, -1)) do
  request_cancel(id)
  canceled[#canceled + 1] = redis.call('HGETALL', record(id))
end
for _, id in ipairs(redis.call('ZRANGE', of_batch(ARGV[1], 'jobs:running'), 0, -1)) do request_cancel(id) end
return canceled
""")

# id → the status it had | nil; only a job that is over is deleted
DELETE = _script("""
local id = ARGV[1]
local status = redis.call('HGET', record(id), 'status')
if status and is_over(status) then
  strike_from('jobs', id)
  strike_from('jobs:' .. status, id)
  local batch = redis.call('HGET', record(id), 'batch_id')
  redis.call('DEL', record(id), PREFIX .. 'events:' .. id)
  forget_webhooks(id)
  redis.call('ZREM', PREFIX .. 'purge_due', id)
  if batch and redis.call('EXISTS', of_batch(batch, 'jobs')) == 0 then
    redis.call('DEL', record(batch))
    forget_webhooks(batch)
  end
end
return status
""")

# lease time, lost attempts allowed, failure → records. While Redis was down nobody could renew: after a start of
# Redis every worker gets one lease's time to report before it counts as lost.
RECOVER_LOST = _script("""
local ttl_s, max_lost, failure = unpack(ARGV)
local uptime_s = string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)')
if tonumber(uptime_s) < tonumber(ttl_s) then return {} end
not_after('leases', clock() + ttl_s)
local recovered = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', PREFIX .. 'leases', '-inf', clock(), 'LIMIT', 0, 100)) do
  local lost = redis.call('HINCRBY', record(id), 'lost_attempts', 1)
  if cancel_requested(id) then
    move(id, 'canceled', 'lost')
  elseif lost >= tonumber(max_lost) then
    redis.call('HSET', record(id), 'error', failure)
    move(id, 'failed', 'lost')
  else
    move(id, 'queued', 'lost')
    redis.call('ZADD', PREFIX .. 'announced', 0, id)
  end
  recovered[#recovered + 1] = redis.call('HGETALL', record(id))
end
return recovered
""")

# failure of a late start, failure of a late end → records
EXPIRE_OVERDUE = _script("""
local expired = {}
for number, index in ipairs({'start_deadlines', 'deadlines'}) do
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', PREFIX .. index, '-inf', clock(), 'LIMIT', 0, 100)) do
    redis.call('HSET', record(id), 'error', ARGV[number])
    move(id, 'expired')
    expired[#expired + 1] = redis.call('HGETALL', record(id))
  end
end
return expired
""")

# grace time, number → ids
TAKE_UNANNOUNCED = _script("""
not_after('announced', clock())
local ids = redis.call('ZRANGEBYSCORE', PREFIX .. 'announced', '-inf', clock() - ARGV[1], 'LIMIT', 0, ARGV[2])
for _, id in ipairs(ids) do redis.call('ZADD', PREFIX .. 'announced', clock(), id) end
return ids
""")

# pause until they are told again, limit → records
TAKE_PURGE_DUE = _script("""
local again_s, limit = unpack(ARGV)
local due = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', PREFIX .. 'purge_due', '-inf', clock(), 'LIMIT', 0, limit)) do
  redis.call('ZADD', PREFIX .. 'purge_due', clock() + again_s, id)
  due[#due + 1] = redis.call('HGETALL', record(id))
end
return due
""")

# lock name, holder
UNLOCK = _script("""
local key = PREFIX .. 'lock:' .. ARGV[1]
if redis.call('GET', key) == ARGV[2] then redis.call('DEL', key) end
""")
