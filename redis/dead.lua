#!lua flags=allow-oom
-- needs: chunk stream
-- Lists dead letters in commit order.
--
-- KEYS  as in stream.lua
-- ARGV  1, 2 as in stream.lua; 3 how long they are kept, in ms; 4 after this position, or ''; 5 at most so many
-- Answer the letters, in the form of `dead` in stream.lua

trim_dead(tonumber(ARGV[3]))
local after = ARGV[4] == '' and '-inf' or '(' .. ARGV[4]
return redis.call('ZRANGE', DEAD, after, '+inf', 'BYSCORE', 'LIMIT', 0, ARGV[5])
