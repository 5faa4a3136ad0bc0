-- Gives generations another name, after which no reply of theirs counts.
--
-- KEYS     names of generations
-- ARGV[1]  a name that nobody had before
-- ARGV[2]  how long names are kept, in milliseconds

for _, key in ipairs(KEYS) do
  redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
end
return #KEYS
