#!lua flags=allow-oom
-- needs: chunk stream
-- Forgets a stream that has drained. Its dead letters stay for as long as they would have been kept.
--
-- KEYS  as in stream.lua
-- ARGV  1, 2 as in stream.lua; 3 how long dead letters are kept, in ms
-- Answer 1

redis.call('UNLINK', OUT, N, TRY, GONE, ATT, RE)
redis.call('ZREM', DUE, MEMBER)
redis.call('PEXPIRE', DEAD, ARGV[3])
redis.call('PEXPIRE', DAT, ARGV[3])
return 1
