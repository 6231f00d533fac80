#!lua flags=allow-oom
-- needs: chunk stream
-- Makes what waits for a retry due at once, some entries a call; what is leased stays so.
--
-- KEYS  as in stream.lua
-- ARGV  1, 2 as in stream.lua; 3 where to go on: '' at first, then the answer before
-- Answer where to go on, or '' when that was all

local start = ARGV[3] == '' and text(CLOCK) or ARGV[3]
local later = redis.call('ZRANGE', OUT, '(' .. start, '+inf', 'BYSCORE', 'LIMIT', 0, 500, 'WITHSCORES')
local moves = {}
for i = 1, #later, 2 do
  if not is_lease(tonumber(later[i + 1])) then
    moves[#moves + 1] = ms_of(head(later[i]))
    moves[#moves + 1] = later[i]
  end
end
put(moves)
reindex()
if #later < 1000 then return '' end
-- The limit may have cut through entries of one score: what waited has left the range, so those left are found again;
-- the rest of a lease is not wanted.
local stopped = tonumber(later[#later])
return text(is_lease(stopped) and stopped or math.max(stopped - 0.5, tonumber(start)))
