-- Say where a tenant stands and what followed on some of its channels.
--
-- ARGV[5]      the epoch that the numbers below are of, or '' for whatever it is
-- ARGV[6]      '1' to be told the newest event of these channels
-- ARGV[7..]    for each channel: its name, and the number after which its events are wanted
--
-- Returns epoch, counter, microseconds now, which of the channels has the newest event (0: none) and that event,
-- then for each channel its last number followed by its events, the newest first. Of a channel without a last
-- number that is the floor.
local PAGE = 16
local known = ARGV[5] == '' or ARGV[5] == epoch
local newest, newest_at = 0, 0
local reply = {epoch, counter, now, 0, ''}

-- From the newest back: who asks has mostly missed little.
local function followed(line, after, found)
  local stop = -1
  while true do
    local page = redis.call('LRANGE', line, stop - PAGE + 1, stop)
    for i = #page, 1, -1 do
      if number_of(page[i]) <= after then
        return found
      end
      found[#found + 1] = page[i]
    end
    if #page < PAGE then
      return found
    end
    stop = stop - PAGE
  end
end

for i = 7, #ARGV, 2 do
  local line = lines .. ARGV[i]
  local score = redis.call('ZSCORE', lasts, ARGV[i])
  local last, after = tonumber(score or floor), tonumber(ARGV[i + 1])
  if score and last > newest then
    newest, newest_at = last, (i - 5) / 2
  end
  reply[#reply + 1] = (known and last > after) and followed(line, after, {last}) or {last}
end
if ARGV[6] == '1' and newest_at > 0 then
  local message = redis.call('LINDEX', lines .. ARGV[newest_at * 2 + 5], -1)
  if message then
    reply[4], reply[5] = newest_at, message
  end
end
redis.call('PEXPIRE', tenant, memory)
redis.call('PEXPIRE', lasts, memory)
return reply
