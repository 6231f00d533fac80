#!lua
-- needs: chunk
-- Whether Redis takes writes. Not `allow-oom`: a full Redis is not ready for new events.
--
-- KEYS  1 a key of its own
-- Answer Redis' clock in Unix milliseconds

local now = clock()
redis.call('SET', KEYS[1], now, 'PX', 60000)
return now
