-- Write down how many slots of a key a node holds, if the key's limit lets it; say what the others hold.
--
-- KEYS[1]   a hash: node -> "count version ends", the end of its lease in milliseconds by this server's clock
-- ARGV      node, version, count, lease in milliseconds, limit or '' to write it down in any case
--
-- Returns {1 if granted, what the other nodes hold, 1 if anything was known of this node}. What is refused is
-- not written. Of two counts the one with the higher version is the later one, whatever order they come in.
local slots, node, version, count = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local lease, limit = tonumber(ARGV[4]), tonumber(ARGV[5])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local others, known, latest = 0, 0, 0

local leases = redis.call('HGETALL', slots)
for i = 1, #leases, 2 do
  local held, at, ends = string.match(leases[i + 1], '(%d+) (%d+) (%d+)')
  if leases[i] == node then
    known, latest = 1, tonumber(at)
  elseif tonumber(ends) > now then
    others = others + tonumber(held)
  else
    redis.call('HDEL', slots, leases[i])
  end
end
if limit and others + count > limit then
  return {0, others, known}
end
if version > latest then
  if count > 0 then
    redis.call('HSET', slots, node, string.format('%d %d %d', count, version, now + lease))
    redis.call('PEXPIRE', slots, lease)
  else
    redis.call('HDEL', slots, node)
  end
end
return {1, others, known}
