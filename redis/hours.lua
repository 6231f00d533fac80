#!lua flags=no-writes,allow-oom
-- needs: chunk feed
-- Which hours of which types hold what a reader wants, newest first; only as many as can matter.
--
-- KEYS  1 any key of the partition, as in append.lua
-- ARGV  1 prefix; 2 first hour; 3 events wanted; 4 which: a all, p pending, d processed; 5 client or '';
--       then for each type: partition, type number, last hour
-- Answer {now, for each type {1 when older hours were not looked at, hour, events wanted of it, chunks, marks, …}}
--
-- Hours are listed until they hold as many events as are wanted of all types together: a reader never needs more of one.

local from, wanted, which, client = math.max(tonumber(ARGV[2]), hour_of(EPOCH)), tonumber(ARGV[3]), ARGV[4], ARGV[5]
-- Hours of one `HMGET`; `unpack` fails near 8000 values.
local BLOCK = 64
local answers = { NOW }

for i = 6, #ARGV, 3 do
  local p, type = ARGV[i], ARGV[i + 1]
  -- Ahead of the clock lies borrowed time at most, or what was stored before the clock was put back.
  local to = math.min(tonumber(ARGV[i + 2]), hour_of(NOW) + 24 * 366)
  local key = hours_key(p, type)
  local answer, sum = { 0 }, 0

  -- Takes an hour; says whether that was enough.
  local function take(hour, events, marks)
    local matter = events
    if which == 'p' then matter = events - marks elseif which == 'd' then matter = marks end
    if matter > 0 then
      answer[#answer + 1] = hour
      answer[#answer + 1] = matter
      answer[#answer + 1] = redis.call('ZCARD', ev_key(p, type, hour))
      answer[#answer + 1] = marks
      sum = sum + matter
    end
    return sum >= wanted
  end

  local length = to >= from and redis.call('HLEN', key) or 0
  if length > 0 and (length <= BLOCK or length <= (to - from + 1) / 8) then
    local all, hours, counts = redis.call('HGETALL', key), {}, {}
    for j = 1, #all, 2 do
      local hour = tonumber(all[j])
      if hour >= from and hour <= to then
        hours[#hours + 1] = hour
        counts[hour] = tonumber(all[j + 1])
      end
    end
    table.sort(hours, function(a, b) return a > b end)
    for j = 1, #hours, BLOCK do
      local stop = math.min(j + BLOCK - 1, #hours)
      local marks = client ~= '' and redis.call('HMGET', m_key(p, type, client), unpack(hours, j, stop)) or {}
      for k = j, stop do
        if take(hours[k], counts[hours[k]], tonumber(marks[k - j + 1] or 0)) and k < #hours then
          answer[1] = 1
          break
        end
      end
      if answer[1] == 1 then break end
    end
  elseif length > 0 then
    local top = to
    while top >= from do
      local bottom = math.max(from, top - BLOCK + 1)
      local hours = {}
      for hour = top, bottom, -1 do hours[#hours + 1] = hour end
      local counts = redis.call('HMGET', key, unpack(hours))
      local marks = client ~= '' and redis.call('HMGET', m_key(p, type, client), unpack(hours)) or {}
      for k = 1, #hours do
        if counts[k] and take(hours[k], tonumber(counts[k]), tonumber(marks[k] or 0)) and hours[k] > from then
          answer[1] = 1
          break
        end
      end
      if answer[1] == 1 then break end
      top = bottom - 1
    end
  end
  answers[#answers + 1] = answer
end
return answers
