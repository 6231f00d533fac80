#!lua flags=no-writes,allow-oom
-- needs: chunk feed
-- How many events a client has not marked, by the counts of hours and of its marks.
--
-- KEYS  1 any key of the partition, as in append.lua
-- ARGV  1 prefix; 2 client; then for each type: partition, type number, lifetime in ms as the reader knows it
-- Answer {now, for each type {events in hours that show whole, oldest such hour or -1, hour to be looked at or -1,
--         first millisecond of it that shows}}; fewer types when that was enough work for one script
--
-- Of the hour in which events begin to show the counts say too little, unless all of it is marked: `pending_hour.lua`
-- looks at it.

local client, room = ARGV[2], 20000
local answers = { NOW }

for i = 3, #ARGV, 3 do
  local p, type = ARGV[i], ARGV[i + 1]
  local key = hours_key(p, type)
  room = room - redis.call('HLEN', key) - 10
  if room < 0 and i > 3 then break end
  local first, floor = first_shown(p, type, ARGV[i + 2])
  first = math.max(first, floor)
  local edge = hour_of(first)
  local marks, counts = {}, redis.call('HGETALL', m_key(p, type, client))
  for j = 1, #counts, 2 do marks[counts[j]] = tonumber(counts[j + 1]) end
  local sum, oldest, look = 0, -1, -1
  local hours = redis.call('HGETALL', key)
  for j = 1, #hours, 2 do
    local hour, left = tonumber(hours[j]), tonumber(hours[j + 1]) - (marks[hours[j]] or 0)
    if left > 0 and hour == edge then
      look = hour
    elseif left > 0 and hour > edge then
      sum = sum + left
      if oldest < 0 or hour < oldest then oldest = hour end
    end
  end
  answers[#answers + 1] = { sum, oldest, look, first }
end
return answers
