-- The common beginning of the scripts: where a tenant stands, begun anew where that is not known for certain.
--
-- KEYS[1]      the tenant, a hash: epoch, server, counter, floor, and the marks of publish.lua
-- ARGV[1..3]   a word that was never an epoch; for how many ms what is quiet is remembered; PUBLISH or SPUBLISH
-- ARGV[4]      an epoch that is not to go on, or ''
--
-- Counter and epoch live and die together. The epoch is in the name of every other key of the tenant, so
-- that nothing of an earlier one is ever read. It ends when the hash is gone, when the last numbers are
-- (evicted, if Redis was let), and when the data have begun another life by a restart or a failover, which
-- may have lost what was published last: Redis then replicates them under another id.
local tenant, memory, verb = KEYS[1], ARGV[2], ARGV[3]
local server = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local state = redis.call('HMGET', tenant, 'epoch', 'server', 'counter', 'floor')
local epoch, counter, floor = state[1], tonumber(state[3]), tonumber(state[4])
if not epoch or state[2] ~= server or epoch == ARGV[4]
    or (counter > 0 and redis.call('EXISTS', tenant .. ':' .. epoch .. ':last') == 0) then
  epoch, counter, floor = ARGV[1], 0, 0
  redis.call('HSET', tenant, 'epoch', epoch, 'server', server, 'counter', 0, 'floor', 0,
    'old', 0, 'mark', 0, 'marked', now)
end
local own = tenant .. ':' .. epoch .. ':'
local lasts = own .. 'last'      -- each channel's last number
local lines = own .. 'line:'     -- a list for each channel, its history
local keys = own .. 'keys'       -- the number that was given under each idempotency key

-- What is before an event's body: epoch (16 bytes), number, prev, microseconds (8 bytes each).
local function number_of(message)
  return (struct.unpack('>I8', message, 17))
end
local function time_of(message)
  return (struct.unpack('>I8', message, 33))
end
