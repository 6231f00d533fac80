#!lua flags=allow-oom
-- needs: chunk stream
-- Takes dead letters out, some a call: back into the outbox, due at once and without failed attempts, or for good.
--
-- KEYS  as in stream.lua
-- ARGV  1, 2 as in stream.lua; 3 "retry" or "delete"; 4 how long they are kept, in ms;
--       5 at most so many; then positions, or none for those that have been letters for longest
-- Answer {how many there were, how many were taken}

local retry = ARGV[3] == 'retry'
trim_dead(tonumber(ARGV[4]))
local there = redis.call('ZCARD', DEAD)

local wanted = {}
if ARGV[6] then
  for i = 6, #ARGV do wanted[#wanted + 1] = ARGV[i] end
else
  wanted = redis.call('ZRANGE', DAT, 0, tonumber(ARGV[5]) - 1)
end

local taken, back = {}, {}
for _, v in ipairs(wanted) do
  local letter = redis.call('ZRANGE', DEAD, v, v, 'BYSCORE')[1]
  if letter then
    taken[#taken + 1] = v
    if retry then
      back[#back + 1] = string.format('%.0f', ms_of(tonumber(v)))
      back[#back + 1] = letter_chunk(letter)
    end
    redis.call('ZREM', DEAD, letter)
    redis.call('ZREM', DAT, v)
    redis.call('HDEL', TRY, v)
    if not retry then redis.call('ZADD', GONE, v, v) end
  end
end
put(back)
if #taken > 0 then
  if retry then
    redis.call('HINCRBY', N, 'b', #taken)
  else
    trim_gone()
  end
end
reindex()
return { there, #taken }
