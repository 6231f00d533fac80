#!lua flags=no-writes,allow-oom
-- needs: chunk
-- Streams that have something due soon.
--
-- KEYS  due:{p} of the partitions asked about
-- ARGV  1 how soon, in ms; 2 most streams of a partition
-- Answer the streams as TYPE:STREAM, most overdue first in each partition

local found = {}
local until_ms = clock() + tonumber(ARGV[1])
for _, key in ipairs(KEYS) do
  for _, stream in ipairs(redis.call('ZRANGE', key, '-inf', until_ms, 'BYSCORE', 'LIMIT', 0, ARGV[2])) do
    found[#found + 1] = stream
  end
end
return found
