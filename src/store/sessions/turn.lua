-- Takes a session's refresh token and names the next one: src/store/sessions.rs.
-- KEYS is the session. ARGV has the token that came, the next one; idle and grace milliseconds; how many came before the token;
-- when it was made.
-- Answers 0 where there is no session, 1 where the token was taken before (the session is gone from here on), else the good
-- token, since when, when the session ends, its user, its data, since when it is open, how many tokens came before.
-- A token of more turns than the record knows is no thief's: the record has lost some. When it was made the one before it was
-- taken, which is then known by its number alone; and a lost one, and the one that was made in its place, have the same number.
-- `turned` has the tokens that were taken within the grace, each behind its instant, the last ones alone.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local held = redis.call('HMGET', KEYS[1], 'token', 'turned', 'seen', 'ends', 'user', 'data', 'created', 'turns')
if not held[1] then
  return 0
end
local number = function(value) return string.format('%.0f', value) end
local token, seen, turns = held[1], held[3], held[8] or '0'
local came = tonumber(ARGV[5])
local fresh = now - tonumber(ARGV[6]) < tonumber(ARGV[4])
local turned, known = {}, fresh and came == tonumber(turns)
for at, was in string.gmatch(held[2] or '', '(%d+) (%S+)') do
  if now - tonumber(at) <= tonumber(ARGV[4]) then
    turned[#turned + 1] = at .. ' ' .. was
    known = known or was == ARGV[1] or was == '#' .. ARGV[5]
  end
end
if token == ARGV[1] or not known and came > tonumber(turns) then
  if token ~= ARGV[1] and fresh then
    turned[#turned + 1] = ARGV[6] .. ' #' .. number(came - 1)
  end
  token, seen, turns = ARGV[2], number(now), number(came + 1)
  turned[#turned + 1] = seen .. ' ' .. ARGV[1]
  local kept = table.concat(turned, ' ', math.max(1, #turned - 3))
  redis.call('HSET', KEYS[1], 'token', token, 'turned', kept, 'seen', seen, 'turns', turns)
  redis.call('PEXPIREAT', KEYS[1], number(math.min(tonumber(held[4]), now + tonumber(ARGV[3]))))
elseif not known then
  redis.call('DEL', KEYS[1])
  return 1
end
return { token, seen, held[4], held[5], held[6], held[7], turns }
