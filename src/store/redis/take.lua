-- Takes permits from every bucket, or from none if one is empty: src/store/gcra.rs, on the clock of the server.
-- KEYS are buckets of one hash slot. ARGV has for each: want, step, room, after, first, longest; times in microseconds.
-- A want below 1 gives permits back; an after of 0 is no penalty.
-- Answers for each: permits granted, permits left, time to the next one, time to a full bucket.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local buckets, granted = {}, true

for i = 1, #KEYS do
  local at = (i - 1) * 6
  local bucket = {
    want = tonumber(ARGV[at + 1]), step = tonumber(ARGV[at + 2]), room = tonumber(ARGV[at + 3]),
    after = tonumber(ARGV[at + 4]), first = tonumber(ARGV[at + 5]), longest = tonumber(ARGV[at + 6]),
    full = 0, shut = 0, forget = 0, offences = 0, given = 0,
  }
  local held = redis.call('GET', KEYS[i])
  if held then
    local full, shut, forget, offences = string.match(held, '^(%d+) ?(%d*) ?(%d*) ?(%d*)$')
    bucket.full, bucket.shut = tonumber(full) or 0, tonumber(shut) or 0
    bucket.forget, bucket.offences = tonumber(forget) or 0, tonumber(offences) or 0
  end
  -- What it owes by another configuration is owed by this one, from now on.
  local full, shut = math.min(bucket.full, now + bucket.room), 0
  if bucket.after > 0 then shut = math.min(bucket.shut, now + bucket.longest) end
  bucket.settled = full < bucket.full or shut < bucket.shut
  bucket.full, bucket.shut = full, shut
  bucket.forget = bucket.after > 0 and math.min(bucket.forget, math.max(shut, now) + bucket.longest) or 0
  local fits = math.floor((bucket.room - math.max(bucket.full - now, 0)) / bucket.step)
  bucket.refuses = bucket.want > 0 and (bucket.shut > now or fits < 1)
  bucket.fits = math.min(bucket.want, fits)
  granted = granted and not bucket.refuses
  buckets[i] = bucket
end

local answer = {}
for i, bucket in ipairs(buckets) do
  local changed = granted or bucket.settled
  if granted then
    bucket.given = bucket.fits
    bucket.full = math.max(bucket.full, now) + bucket.given * bucket.step
  elseif bucket.refuses and bucket.after > 0 and bucket.shut <= now then
    changed = true
    bucket.offences = bucket.forget <= now and 1 or bucket.offences + 1
    bucket.shut = now
    if bucket.offences >= bucket.after then
      local doublings = math.min(bucket.offences - bucket.after, 40)
      bucket.shut = now + math.min(bucket.first * 2 ^ doublings, bucket.longest)
    end
    bucket.forget = bucket.shut + bucket.longest
  end
  local rests = math.max(bucket.full, bucket.forget) - now
  if changed and rests > 0 then
    local value = string.format('%.0f', bucket.full)
    if bucket.forget > now then
      value = string.format('%s %.0f %.0f %d', value, bucket.shut, bucket.forget, bucket.offences)
    end
    redis.call('SET', KEYS[i], value, 'PX', math.ceil(rests / 1000))
  elseif changed then
    redis.call('DEL', KEYS[i])
  end
  local owed, shut = math.max(bucket.full - now, 0), math.max(bucket.shut - now, 0)
  local left = math.max(bucket.room - owed, 0)
  local next = left >= bucket.step and 0 or owed + bucket.step - bucket.room
  answer[#answer + 1] = math.max(bucket.given, 0)
  answer[#answer + 1] = shut > 0 and 0 or math.floor(left / bucket.step)
  answer[#answer + 1] = math.max(next, shut)
  answer[#answer + 1] = math.max(owed, shut)
end
return answer
