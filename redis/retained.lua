#!lua flags=allow-oom
-- needs: nothing
-- All keys of a type have the expiry of the lifetime that `retain.lua` has put in force: its last step.
--
-- KEYS  1 ttl:{p}
-- ARGV  1 type number; 2 revision
-- Answer 1, or 0 when a newer one is being applied

local field = ARGV[1] .. ':p'
if redis.call('HGET', KEYS[1], field) ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[1], field)
