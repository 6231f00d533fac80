#!lua flags=allow-oom
-- needs: chunk stream
-- Claims due events of a stream: moves their chunks to a lease of their own.
--
-- KEYS  as in stream.lua
-- ARGV  1, 2 as in stream.lua; 3 most events; 4 lease in ms; 5 "1" when ordered
-- Answer {lease or '', now, when the next entry that is not this claim's is due or '', {chunks},
--         {position, attempts, …}}
--
-- Whoever takes over anything of a lapsed claim breaks it whole: what is not taken goes back among the due. So a lease
-- is either complete or gone, and `settle.lua` may trust the number of events the node says it held.
-- Ordered: one claim at a time, none before the holder's lease passes, a lapsed one whole and before anything newer.

local room, lease_ms, ordered = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5] == '1'
local state = redis.call('HMGET', N, 'l', 'h')
local last, holder = tonumber(state[1] or 0), tonumber(state[2] or 0)
local lease = new_lease(lease_ms, last)
local taken, moves = {}, {}

local function take(chunk)
  taken[#taken + 1] = chunk
  moves[#moves + 1] = text(lease)
  moves[#moves + 1] = chunk
end

if ordered then
  local held = holder > CLOCK and holder
  if not held and last > CLOCK then
    -- Claims from before the stream was ordered run out first.
    local later = redis.call('ZRANGE', OUT, '(' .. text(CLOCK), text(last), 'BYSCORE', 'LIMIT', 0, 256, 'WITHSCORES')
    for i = 2, #later, 2 do
      local score = tonumber(later[i])
      if is_lease(score) then
        held = score
        break
      end
    end
  end
  if held then
    reindex()
    return { '', NOW, text(outside(held)), {}, {} }
  end
  if holder > 0 then
    for _, chunk in ipairs(redis.call('ZRANGE', OUT, text(holder), text(holder), 'BYSCORE')) do take(chunk) end
    if #taken > 0 then room = 0 end
  end
end

local broken = {}
while room > 0 do
  -- A few chunks at a time: how many events they hold is only seen once they are read.
  local many = math.max(4, math.ceil(room / 16))
  local due = redis.call('ZRANGE', OUT, '-inf', text(CLOCK), 'BYSCORE', 'LIMIT', 0, many, 'WITHSCORES')
  if #due == 0 then break end
  for i = 1, #due, 2 do
    local chunk, score = due[i], tonumber(due[i + 1])
    if room == 0 then break end
    if is_lease(score) then
      if not broken[score] then
        broken[score] = true
        break_claim(score, holder)
      end
      score = math.floor(score)
    end
    local first, count = head(chunk)
    if count <= room then
      take(chunk)
      room = room - count
    else
      redis.call('ZREM', OUT, chunk)
      for _, piece in ipairs(pieces(chunk, first, first + room)) do take(piece) end
      for _, piece in ipairs(pieces(chunk, first + room, first + count)) do
        redis.call('ZADD', OUT, string.format('%.0f', score), piece)
      end
      room = 0
    end
  end
  put(moves)
  moves = {}
end
put(moves)

local attempts = {}
if #taken > 0 then
  redis.call('HSET', N, 'l', text(lease))
  if ordered then redis.call('HSET', N, 'h', text(lease)) end
  if redis.call('EXISTS', TRY) == 1 then
    local positions = {}
    for _, chunk in ipairs(taken) do
      local first, count = head(chunk)
      for v = first, first + count - 1 do positions[#positions + 1] = string.format('%.0f', v) end
    end
    for i = 1, #positions, 1000 do
      local to = math.min(i + 999, #positions)
      local found = redis.call('HMGET', TRY, unpack(positions, i, to))
      for j = i, to do
        local failure = found[j - i + 1]
        if failure then
          attempts[#attempts + 1] = positions[j]
          attempts[#attempts + 1] = string.match(failure, '^%d+')
        end
      end
    end
  end
elseif ordered and holder > 0 then
  redis.call('HDEL', N, 'h')
end

reindex()
local next_due = redis.call('ZRANGE', OUT, 0, 0, 'WITHSCORES')
if next_due[2] and tonumber(next_due[2]) == lease and #taken > 0 then
  next_due = redis.call('ZRANGE', OUT, '(' .. text(lease), '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
end
return {
  #taken > 0 and text(lease) or '',
  NOW,
  next_due[2] and text(outside(tonumber(next_due[2]))) or '',
  taken,
  attempts,
}
