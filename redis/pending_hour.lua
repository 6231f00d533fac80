#!lua flags=no-writes,allow-oom
-- needs: chunk feed
-- Looks for events of one hour that a client has not marked, a part of the hour at a time.
--
-- KEYS  1 any key of the partition, as in append.lua
-- ARGV  1 prefix; 2 partition; 3 type number; 4 hour; 5 millisecond to begin at, and 6 chunks of it to leave out;
--       7 client; 8 1 when the first one is enough
-- Answer {events without a mark, position of the first or '', 1 when there is more to look at, where: millisecond,
--         chunks of it}

local CHUNKS = 128
local p, type, client = ARGV[2], ARGV[3], ARGV[7]
local ms, skip = tonumber(ARGV[5]), tonumber(ARGV[6])
local chunks = redis.call('ZRANGE', ev_key(p, type, ARGV[4]), ms, '+inf', 'BYSCORE', 'LIMIT', skip, CHUNKS)
local pending, oldest = 0, ''

for _, chunk in ipairs(chunks) do
  local first, count = head(chunk)
  if ms_of(first) == ms then skip = skip + 1 else ms, skip = ms_of(first), 1 end
  local ok, fields = nil, {}
  for v = first, first + count - 1 do
    ok, fields[#fields + 1] = ok_key(p, type, v, client)
  end
  for k, mark in ipairs(redis.call('HMGET', ok, unpack(fields))) do
    if not mark then
      pending = pending + 1
      if oldest == '' then oldest = string.format('%.0f', first + k - 1) end
    end
  end
  if oldest ~= '' and ARGV[8] == '1' then return { pending, oldest, 0, ms, skip } end
end
return { pending, oldest, #chunks == CHUNKS and 1 or 0, ms, skip }
