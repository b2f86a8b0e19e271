-- Number events of one tenant, append them to their channels' histories, and publish them: one step.
--
-- ARGV[5..8]   a history's events; its ms; how many channels' last numbers are remembered, and how many keys
-- ARGV[9..]    for each event: channel, key (or ''), body
--
-- Returns the epoch, then each event's number, negative for an event that was published before. A key is
-- written down when its event is in the history, so that a script that is broken off loses none.
local events, ms, most, most_keys = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local aged = now - ms * 1000
local before = counter
local reply = {epoch}

local function keep(channel, message)
  local line = lines .. channel
  if redis.call('RPUSH', line, message) > events then
    redis.call('LTRIM', line, -events, -1)
  end
  -- Two, so that what has aged is overtaken; the newest has not aged.
  for _ = 1, 2 do
    if time_of(redis.call('LINDEX', line, 0)) >= aged then
      break
    end
    redis.call('LPOP', line)
  end
  redis.call('PEXPIRE', line, ms)
end

for i = 9, #ARGV, 3 do
  local channel, key, body = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local first = key ~= '' and redis.call('ZSCORE', keys, key)
  if first then
    reply[#reply + 1] = -first
  else
    counter = redis.call('HINCRBY', tenant, 'counter', 1)
    local prev = redis.call('ZSCORE', lasts, channel) or floor
    local message = epoch .. struct.pack('>I8I8I8', counter, prev, now) .. body
    keep(channel, message)
    redis.call('ZADD', lasts, counter, channel)
    if key ~= '' then
      redis.call('ZADD', keys, counter, key)
    end
    redis.call(verb, tenant .. '/' .. channel, message)
    reply[#reply + 1] = counter
  end
end

-- Of channels that were quiet for long the last number is forgotten, and the floor raised: no forgotten
-- channel has a higher one. Every number up to `old` is older than the memory, and its key is forgotten too.
local marks = redis.call('HMGET', tenant, 'old', 'mark', 'marked')
local old = tonumber(marks[1])
if now - marks[3] >= memory * 1000 then
  old = tonumber(marks[2])
  redis.call('HSET', tenant, 'old', old, 'mark', before, 'marked', now)
  redis.call('ZREMRANGEBYSCORE', keys, '-inf', old)
end
for _ = 1, 2 * #reply do
  local oldest = redis.call('ZRANGE', lasts, 0, 0, 'WITHSCORES')
  if not oldest[1] or (tonumber(oldest[2]) > old and redis.call('ZCARD', lasts) <= most) then
    break
  end
  redis.call('ZREM', lasts, oldest[1])
  redis.call('HSET', tenant, 'floor', oldest[2])
end
redis.call('ZREMRANGEBYRANK', keys, 0, -most_keys - 1)
redis.call('PEXPIRE', tenant, memory)
redis.call('PEXPIRE', lasts, memory)
redis.call('PEXPIRE', keys, memory)
return reply
