#!lua flags=allow-oom
-- needs: chunk stream
-- Makes dead letters of what is in the outbox, some a call. Claims are lost.
--
-- KEYS  as in stream.lua
-- ARGV  1, 2 as in stream.lua; 3 how long dead letters are kept, in ms; 4 at most so many chunks;
--       5 the last error of what has none
-- Answer how many events
--
-- A claim is broken whole before anything of it is taken: a lease is either complete or gone.

local holder = tonumber(redis.call('HGET', N, 'h') or 0)
local entries = redis.call('ZRANGE', OUT, 0, tonumber(ARGV[4]) - 1, 'WITHSCORES')
local broken = {}
for i = 2, #entries, 2 do
  local score = tonumber(entries[i])
  if is_lease(score) and not broken[score] then
    broken[score] = true
    break_claim(score, holder)
  end
end

local count = 0
for i = 1, #entries, 2 do
  local chunk = entries[i]
  local first, events = head(chunk)
  for v = first, first + events - 1 do
    local position = string.format('%.0f', v)
    local failure = redis.call('HGET', TRY, position)
    local attempts, error = 0, ARGV[5]
    if failure then
      attempts, error = string.match(failure, '^(%d+):(.*)$')
      redis.call('HDEL', TRY, position)
    end
    add_letter(position, tonumber(attempts), error, pieces(chunk, v, v + 1)[1])
  end
  redis.call('ZREM', OUT, chunk)
  count = count + events
end
if count > 0 then
  redis.call('HINCRBY', N, 'b', -count)
  redis.call('PERSIST', DEAD)
  redis.call('PERSIST', DAT)
  trim_dead(tonumber(ARGV[3]))
end
reindex()
return count
