-- Keeps a session: src/store/sessions.rs.
-- KEYS is the session. ARGV has the user, the data, the first refresh token; idle and absolute milliseconds.
-- Answers since when it is good and when it ends, in milliseconds since 1970.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local ends = now + tonumber(ARGV[5])
local number = function(value) return string.format('%.0f', value) end
redis.call('HSET', KEYS[1], 'user', ARGV[1], 'data', ARGV[2], 'token', ARGV[3],
  'created', number(now), 'seen', number(now), 'ends', number(ends))
redis.call('PEXPIREAT', KEYS[1], number(math.min(ends, now + tonumber(ARGV[4]))))
return { number(now), number(ends) }
