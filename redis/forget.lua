#!lua flags=allow-oom
-- needs: chunk stream
-- Forgets a stream that has drained. Its dead letters stay for as long as they would have been kept. One that has got
-- events meanwhile (it is back) stays as it is.
--
-- KEYS  as in stream.lua
-- ARGV  1, 2 as in stream.lua; 3 how long dead letters are kept, in ms
-- Answer 1 when it is forgotten, else 0

if redis.call('EXISTS', OUT) == 1 then return 0 end
redis.call('UNLINK', OUT, N, TRY, GONE, ATT, RE)
redis.call('ZREM', DUE, MEMBER)
redis.call('PEXPIRE', DEAD, ARGV[3])
redis.call('PEXPIRE', DAT, ARGV[3])
return 1
