-- One more hit in a sliding window, or how long until there is room for one.
--
-- KEYS[1]   a sorted set: each hit as `node:number`, at its microseconds by this server's clock
-- ARGV      points, window in microseconds, node, the hit's number or '' to tell only, the number of the node's
--           hit before it or ''; then pairs of number and age in microseconds: hits of the node that may not be known here
--
-- Returns {1, remaining}; {0, microseconds to wait}; or {-1, 0}: the hit before it is unknown here, so tell all
-- of the node's hits and ask again. A hit has one name for ever, so that telling it twice changes nothing.
local hits, points, window = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local own, before = ARGV[3] .. ':', ARGV[5]
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

redis.call('ZREMRANGEBYSCORE', hits, '-inf', now - window)
if before ~= '' and not redis.call('ZSCORE', hits, own .. before) then
  return {-1, 0}
end
for i = 6, #ARGV, 2 do
  redis.call('ZADD', hits, 'NX', now - ARGV[i + 1], own .. ARGV[i])
end
local known = redis.call('ZCARD', hits)
local room = known < points
if room and ARGV[4] ~= '' then
  redis.call('ZADD', hits, 'NX', now, own .. ARGV[4])
end
if room or #ARGV > 5 then
  redis.call('PEXPIRE', hits, math.ceil(window / 1000))
end
if room then
  return {1, points - known - 1}
end
-- What was let in while this server was away may be more than fits: then more than the oldest has to age.
local last = redis.call('ZRANGE', hits, known - points, known - points, 'WITHSCORES')
return {0, last[2] + window - now}
