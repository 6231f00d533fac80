#!lua flags=allow-oom
-- needs: chunk stream
-- Adds to a stream's attempts.
--
-- KEYS  as in stream.lua
-- ARGV  1, 2 as in stream.lua; 3 how long they are kept after the last one, in ms; 4 how many are kept;
--       then attempts, oldest first
-- Answer 1

for i = 5, #ARGV do redis.call('LPUSH', ATT, ARGV[i]) end
redis.call('LTRIM', ATT, 0, tonumber(ARGV[4]) - 1)
redis.call('PEXPIRE', ATT, ARGV[3])
return 1
