#!lua flags=no-writes,allow-oom
-- needs: chunk feed
-- One event, and what became of it.
--
-- KEYS  1 any key of the partition, as in append.lua
-- ARGV  1 prefix; 2 partition; 3 type number; 4 position; 5 how long dead letters are kept, in ms; then names
--       of streams
-- Answer {now, chunk or '', {client, seconds from commit to mark, …}, for each stream
--         {0, 1 when it was replayed} not found anywhere | {1, score in the outbox, "attempts:last error" or ''} |
--         {2, dead letter} | {3} dropped}

local p, type, v, dead_ttl = ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local chunk = find(p, type, v)
if not chunk then return { NOW, '' } end

local hour = hour_of(ms_of(v))
local marks = {}
for _, client in ipairs(redis.call('SMEMBERS', who_key(p, type, hour))) do
  local ok, offset = ok_key(p, type, v, client)
  local seconds = redis.call('HGET', ok, offset)
  if seconds then
    marks[#marks + 1] = client
    marks[#marks + 1] = seconds
  end
end
local answer = { NOW, chunk, marks }

-- The pieces in which the event can stand in an outbox; see `pieces` in chunk.lua.
local first, count = head(chunk)
local candidates = { chunk }
local size = 64
while size >= 1 do
  local block = v - v % size
  local from, to = math.max(block, first), math.min(block + size, first + count)
  if to - from < count then candidates[#candidates + 1] = pieces(chunk, from, to)[1] end
  size = size / 2
end

local position = string.format('%.0f', v)
for i = 6, #ARGV do
  local tail = ':{' .. p .. '}:' .. type .. ':' .. ARGV[i]
  local state
  for _, piece in ipairs(candidates) do
    local score = redis.call('ZSCORE', PREFIX .. 'out' .. tail, piece)
    if score then
      state = { 1, score, redis.call('HGET', PREFIX .. 'try' .. tail, position) or '' }
      break
    end
  end
  if not state then
    local letter = redis.call('ZRANGE', PREFIX .. 'dead' .. tail, position, position, 'BYSCORE')[1]
    if letter then
      state = struct.unpack('>I8', letter) > NOW - dead_ttl and { 2, letter } or { 3 }
    elseif redis.call('ZSCORE', PREFIX .. 'gone' .. tail, position) then
      state = { 3 }
    end
  end
  if not state then
    local range = redis.call('ZRANGE', PREFIX .. 're' .. tail, '(' .. string.format('%.0f', ms_of(v)), '+inf', 'BYSCORE', 'LIMIT', 0, 1)[1]
    state = { 0, range and tonumber(string.match(range, '^%d+')) <= ms_of(v) and 1 or 0 }
  end
  answer[#answer + 1] = state
end
return answer
