-- What the scripts of one stream share. Put after `chunk.lua`.
--
-- KEYS  1 out:{p}:TYPE:STREAM   outbox: chunks by due time, or by lease (a half-integer) while claimed
--       2 n:{p}:TYPE:STREAM     b backlog, d delivered, f failed, l last lease given, h lease of the ordered holder
--       3 try:{p}:TYPE:STREAM   position -> "attempts:last error", of what has failed and is not settled
--       4 dead:{p}:TYPE:STREAM  dead letters by position: since (8 bytes), varint attempts, varint length and text of the
--                               last error, a chunk of one
--       5 dat:{p}:TYPE:STREAM   position of each dead letter, by the time since which it is one
--       6 gone:{p}:TYPE:STREAM  positions of dead letters that are no more, so that absence is not taken for delivery
--       7 due:{p}               streams by their earliest due time
--       8 last:{p}              type -> last position
--       9 ttl:{p}               type -> lifetime in ms (-1 permanent)
--      10 att:{p}:TYPE:STREAM   newest attempts, newest first
--      11 re:{p}:TYPE:STREAM    ranges that were replayed, "first ms:first ms after" by the latter
-- ARGV  1 type number           2 the stream's member of `due`

local OUT, N, TRY, DEAD, DAT, GONE, DUE = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local ATT, RE = KEYS[10], KEYS[11]
local TYPE, MEMBER = ARGV[1], ARGV[2]

-- Times in the outbox are by the stream's clock: Redis' own, but never behind the type's last position. When Redis'
-- clock steps back, or a type has borrowed future milliseconds, what is committed is still due, and due in commit order.
-- (Leases and retries given before a large step back run out late, as absolute times do; new work goes on.)
local NOW = clock()
local CLOCK = math.max(NOW, ms_of(tonumber(redis.call('HGET', KEYS[8], TYPE) or 0)))

-- A time of the outbox by Redis' clock, for the node and for `due`.
local function outside(score)
  return score - (CLOCK - NOW)
end

local function is_lease(score)
  return score % 1 ~= 0
end

-- A lease that ends `ms` from now, above any given before on this stream: it fences.
local function new_lease(ms, last)
  return math.max(math.floor(CLOCK + ms), math.floor(last) + 1) + 0.5
end

-- Numbers in text: Lua's own form has 14 digits, one too few for comfort.
local function text(score)
  return string.format('%.1f', score)
end

-- Adds {score, member, …} to the outbox; `unpack` fails near 8000 values.
local function put(pairs)
  for i = 1, #pairs, 1000 do
    redis.call('ZADD', OUT, unpack(pairs, i, math.min(i + 999, #pairs)))
  end
end

-- Makes plain due chunks of those of a claim: it has lapsed, or is void.
local function break_claim(score, holder)
  local back = {}
  for _, chunk in ipairs(redis.call('ZRANGE', OUT, text(score), text(score), 'BYSCORE')) do
    back[#back + 1] = string.format('%.0f', math.floor(score))
    back[#back + 1] = chunk
  end
  put(back)
  if score == holder then redis.call('HDEL', N, 'h') end
end

-- Puts the stream's earliest due time into `due`, or takes it out of it.
local function reindex()
  local first = redis.call('ZRANGE', OUT, 0, 0, 'WITHSCORES')
  if first[2] then
    redis.call('ZADD', DUE, string.format('%.1f', outside(tonumber(first[2]))), MEMBER)
  else
    redis.call('ZREM', DUE, MEMBER)
  end
end

-- Forgets which dead letters are no more of events that have expired themselves.
local function trim_gone()
  local ttl = tonumber(redis.call('HGET', KEYS[9], TYPE) or -1)
  if ttl >= 0 then
    redis.call('ZREMRANGEBYSCORE', GONE, '-inf', string.format('%.0f', (NOW - ttl - EPOCH) * 512))
  end
end

-- Takes dead letters that are older than `dead_ttl` ms out, leaving word that they were there. At most 1000 a call.
local function trim_dead(dead_ttl)
  local old = redis.call('ZRANGE', DAT, '-inf', NOW - dead_ttl, 'BYSCORE', 'LIMIT', 0, 1000)
  for _, v in ipairs(old) do
    redis.call('ZREMRANGEBYSCORE', DEAD, v, v)
    redis.call('ZREM', DAT, v)
    redis.call('ZADD', GONE, v, v)
  end
  if #old > 0 then trim_gone() end
end

-- Makes the event at `position` (a text), alone in `chunk`, a dead letter.
local function add_letter(position, attempts, error, chunk)
  redis.call('ZREMRANGEBYSCORE', DEAD, position, position)
  redis.call('ZADD', DEAD, position, struct.pack('>I8', NOW) .. to_varint(attempts) .. to_varint(#error) .. error .. chunk)
  redis.call('ZADD', DAT, NOW, position)
end

-- The chunk in a dead letter.
local function letter_chunk(letter)
  local _, after = varint(letter, 9)
  local length, text_at = varint(letter, after)
  return string.sub(letter, text_at + length)
end

-- Ranges kept of replays; beyond that the oldest two are joined, and what lies between them counts as replayed.
local MAX_RANGES = 1000

-- Notes that events committed in from <= ms < to were queued again: absence now means delivery, whatever their revision.
local function note_replay(from, to)
  local first, stop = from, to
  for _, range in ipairs(redis.call('ZRANGE', RE, string.format('%.0f', from), '+inf', 'BYSCORE')) do
    local a, b = string.match(range, '^(%d+):(%d+)$')
    if tonumber(a) <= to then
      first, stop = math.min(first, tonumber(a)), math.max(stop, tonumber(b))
      redis.call('ZREM', RE, range)
    end
  end
  local range = string.format('%.0f:%.0f', first, stop)
  redis.call('ZADD', RE, string.format('%.0f', stop), range)
  if redis.call('ZCARD', RE) > MAX_RANGES then
    local oldest = redis.call('ZPOPMIN', RE, 2)
    redis.call('ZADD', RE, oldest[4], string.match(oldest[1], '^%d+') .. ':' .. string.match(oldest[3], '%d+$'))
  end
end
