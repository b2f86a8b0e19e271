-- Write down how many slots of some keys a node holds, of each if its limit lets it; say what the others hold.
--
-- KEYS   each a hash: node -> "count version ends", the end of its lease in milliseconds by this server's clock
-- ARGV   node, version, lease in milliseconds, limit or '' to write it down in any case, a count for each key
--
-- Returns for each key: 1 if granted, what the other nodes hold, 1 if anything was known of this node. What is
-- refused is not written. Of two counts the one with the higher version is the later one, whatever order they
-- come in.
local node, version, lease, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local told = {}

for number, slots in ipairs(KEYS) do
  local count, others, known, latest = tonumber(ARGV[4 + number]), 0, 0, 0
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
  local granted = not limit or others + count <= limit
  if granted and version > latest then
    if count > 0 then
      redis.call('HSET', slots, node, string.format('%d %d %d', count, version, now + lease))
      redis.call('PEXPIRE', slots, lease)
    else
      redis.call('HDEL', slots, node)
    end
  end
  told[3 * number - 2], told[3 * number - 1], told[3 * number] = granted and 1 or 0, others, known
end
return told
