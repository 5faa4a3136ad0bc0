-- Remembers what is taken no more, each until its time, and tells every gateway.
-- KEYS is the set. ARGV has the channel, the message, then for each: seconds since 1970, mark.
local set = KEYS[1]
for i = 3, #ARGV, 2 do
  local held = redis.call('ZSCORE', set, ARGV[i + 1])
  if not held or tonumber(held) < tonumber(ARGV[i]) then
    redis.call('ZADD', set, ARGV[i], ARGV[i + 1])
  end
end
redis.call('ZREMRANGEBYSCORE', set, '-inf', redis.call('TIME')[1])
local last = redis.call('ZREVRANGE', set, 0, 0, 'WITHSCORES')
if last[2] then
  redis.call('EXPIREAT', set, string.format('%d', tonumber(last[2]) + 1))
end
redis.call('PUBLISH', ARGV[1], ARGV[2])
