-- A reply, and what its generations are called.
--
-- KEYS[1..n-1]  names of generations; one that has none gets one
-- KEYS[n]       the reply
-- ARGV[1]       a name that nobody had before
-- ARGV[2]       how long names are kept, in milliseconds
-- ARGV[3]       bytes that a reply may have
--
-- Answers the names, one behind the other; then, if there is one, the reply and how many milliseconds it still has.

local names = {}
for at = 1, #KEYS - 1 do
  local name = redis.call('GET', KEYS[at])
  if not name then
    name = ARGV[1]
    redis.call('SET', KEYS[at], name, 'PX', ARGV[2])
  end
  names[at] = name
end
local answer = { table.concat(names) }
local reply = KEYS[#KEYS]
local length = redis.call('STRLEN', reply)
if length > 0 and length <= tonumber(ARGV[3]) then
  answer[2] = redis.call('GET', reply)
  answer[3] = redis.call('PTTL', reply)
end
return answer
