#!lua flags=allow-oom
-- needs: chunk stream
-- Queues stored events of one hour again, whole milliseconds at a time, or only counts them.
--
-- KEYS  as in stream.lua; 12 ev:{p}:TYPE:HOUR
-- ARGV  1, 2 as in stream.lua; 3 first millisecond; 4 first millisecond after; 5 the type's lifetime as the caller knows
--       it, in ms (-1 permanent); 6 "1" when it only counts; 7 about how many events
-- Answer {events queued, where to go on or ''}
--
-- What waits already is not queued twice: whatever splitting a chunk went through, its events stand in one of the
-- blocks that `blocks` names.

local from, to, only_count, most = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[6] == '1', tonumber(ARGV[7])
local ttl = tonumber(redis.call('HGET', KEYS[9], TYPE) or ARGV[5])
local visible = ttl >= 0 and math.max(from, NOW - ttl + 1) or from
-- More chunks than a millisecond can have, so that at least one of them is there whole.
local LIMIT = 1100
local entries = redis.call(
  'ZRANGE', KEYS[12], string.format('%.0f', visible), '(' .. string.format('%.0f', to), 'BYSCORE', 'LIMIT', 0, LIMIT, 'WITHSCORES')
local cut = #entries == 2 * LIMIT and tonumber(entries[#entries])
local waiting = redis.call('EXISTS', OUT) == 1
local has_dead, has_gone = redis.call('EXISTS', DEAD) == 1, redis.call('EXISTS', GONE) == 1
local queued, seen, upto, going_on = 0, 0, nil, false
local moves = {}

-- Positions first..stop-1 of a chunk become due at once.
local function queue(chunk, first, stop)
  queued = queued + stop - first
  if only_count then return end
  for _, piece in ipairs(pieces(chunk, first, stop)) do
    moves[#moves + 1] = string.format('%.0f', ms_of(first))
    moves[#moves + 1] = piece
  end
  local low, high = string.format('%.0f', first), string.format('%.0f', stop - 1)
  if has_dead and redis.call('ZREMRANGEBYSCORE', DEAD, low, high) > 0 then
    for v = first, stop - 1 do redis.call('ZREM', DAT, string.format('%.0f', v)) end
  end
  if has_gone then redis.call('ZREMRANGEBYSCORE', GONE, low, high) end
end

for i = 1, #entries, 2 do
  local chunk, ms = entries[i], tonumber(entries[i + 1])
  if ms == cut or (seen >= most and ms ~= upto) then
    going_on = ms
    break
  end
  upto = ms
  local first, count = head(chunk)
  seen = seen + count
  if not waiting then
    queue(chunk, first, first + count)
  elseif not redis.call('ZSCORE', OUT, chunk) then
    local waits = {}
    local parts = count > 1 and blocks(chunk) or {}
    if #parts > 0 then
      local names = {}
      for j, part in ipairs(parts) do names[j] = part[3] end
      local scores = redis.call('ZMSCORE', OUT, unpack(names))
      for j, part in ipairs(parts) do
        if scores[j] then
          for v = part[1], part[2] - 1 do waits[v] = true end
        end
      end
    end
    local start = nil
    for v = first, first + count do
      local free = v < first + count and not waits[v]
      if free and not start then
        start = v
      elseif not free and start then
        queue(chunk, start, v)
        start = nil
      end
    end
  end
end

if not only_count then
  put(moves)
  if queued > 0 then redis.call('HINCRBY', N, 'b', queued) end
  reindex()
  note_replay(from, going_on or to)
end
return { queued, going_on and string.format('%.0f', going_on) or '' }
