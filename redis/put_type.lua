#!lua flags=allow-oom
-- needs: nothing
-- Adds or replaces a type's record, if nobody changed it in between. `allow-oom`: a shorter lifetime is a cure for a full
-- Redis.
--
-- KEYS  1 {reg}:types   type name -> record: revision (8 bytes), type number (2 bytes), the rest as it was given
--       2 {reg}:version counter: grows with every change
--       3 {reg}:numbers counter: type numbers given so far
-- ARGV  1 type name; 2 the record without revision and number; 3 revision it is based on (0: there was none);
--       4 most types; 5 channel on which changes are announced
-- Answer {1, the record} | {0} somebody was faster | {2} all numbers are given

local known = redis.call('HGET', KEYS[1], ARGV[1])
local revision, number = 0, nil
if known then revision, number = struct.unpack('>I8I2', known) end
if revision ~= tonumber(ARGV[3]) then return { 0 } end
if not known then
  if tonumber(redis.call('GET', KEYS[3]) or 0) >= tonumber(ARGV[4]) then return { 2 } end
  number = redis.call('INCR', KEYS[3]) - 1
end
revision = redis.call('INCR', KEYS[2])
local record = struct.pack('>I8I2', revision, number) .. ARGV[2]
redis.call('HSET', KEYS[1], ARGV[1], record)
redis.call('PUBLISH', ARGV[5], string.format('%.0f', revision))
return { 1, record }
