#!lua
-- needs: chunk
-- Appends groups of events: the one atomic write after which they exist.
--
-- KEYS  1     any key of the partition (a route on a cluster; all other names are derived from ARGV, since the hour is
--             only known here). On a single Redis the groups may be of any partitions.
--       2     tok:{p}:TOKEN, in the same partition: the number of the token's last append, ':', and its packed answer
-- ARGV  1     prefix of every key
--       2     undelivered events of a stream past which its type is refused
--       3     the append's number under the token
--       4     how long the token is known, in ms
--       then for each group:
--             partition, type number, lifetime in ms as the sender knows it (-1 permanent, 0 ephemeral),
--             revision of the type's record by which it is sent,
--             number of streams, their names,
--             idempotency key or '', hash of the body, window in ms,
--             number of events of each chunk (one byte each), and the chunks without their position
-- Answer      for each group {0, first position of each chunk…} stored | {1, stored answer} duplicate | {2} key reused
--             with another body | {3, index of the stream that is full, from 1} | {4, revision in force} a newer one
--
-- An append that comes again (its answer was lost, or its master) is answered as it was, and nothing is appended.
--
-- Not `allow-oom`: a Redis that is full refuses new events and still delivers and marks old ones.
--
-- The lifetime in force is the newest registration's. A registration writes it and its revision into `ttl:{p}` before it is
-- answered (`retain.lua`). So a node that has not heard of it yet can neither give a key the wrong expiry nor an event to
-- streams that may be gone: it is told that there is a newer revision, and nothing is stored. What the sender says of the
-- lifetime counts only for a type that was never registered here.

local token = ARGV[3] .. ':'
local before = redis.call('GET', KEYS[2])
if before and string.sub(before, 1, #token) == token then return cmsgpack.unpack(string.sub(before, #token + 1)) end

local prefix, max_backlog = ARGV[1], tonumber(ARGV[2])
local now = clock()
local hour_ms = 3600000
local answers, live, order = {}, {}, {}
local at = 5

while at <= #ARGV do
  local p, type, given, revision, streams = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], tonumber(ARGV[at + 4])
  local names = at + 5
  local key, hash, window = ARGV[names + streams], ARGV[names + streams + 1], ARGV[names + streams + 2]
  local counts = ARGV[names + streams + 3]
  local chunks = names + streams + 4
  at = chunks + #counts

  local tag = ':{' .. p .. '}:'
  local last_key = prefix .. 'last:{' .. p .. '}'
  local due_key = prefix .. 'due:{' .. p .. '}'
  local idem = key ~= '' and prefix .. 'idem' .. tag .. type .. ':' .. key
  local answer

  local known = idem and redis.call('GET', idem)
  if known then
    answer = string.sub(known, 1, 32) == hash and { 1, known } or { 2 }
  end
  local kept = redis.call('HMGET', prefix .. 'ttl:{' .. p .. '}', type, type .. ':r')
  if not answer and kept[2] and tonumber(kept[2]) > tonumber(revision) then answer = { 4, kept[2] } end
  for i = 0, streams - 1 do
    if answer then break end
    local backlog = redis.call('HGET', prefix .. 'n' .. tag .. type .. ':' .. ARGV[names + i], 'b')
    if backlog and tonumber(backlog) >= max_backlog then answer = { 3, i + 1 } end
  end

  if not answer then
    local ttl = tonumber(kept[1] or given)
    local previous = tonumber(redis.call('HGET', last_key, type) or 0)
    local v = math.max((now - EPOCH) * 512, previous + 1)
    local total, entries, hours = 0, {}, {}
    local message = { struct.pack('>I2I8I4', tonumber(type), previous, #counts) }
    local first_answers = { hash }
    answer = { 0 }
    for i = 1, #counts do
      local count = string.byte(counts, i)
      -- A chunk has one millisecond: it moves to the next when it does not fit.
      if v % 512 + count > 512 then v = v - v % 512 + 512 end
      local first = struct.pack('>I8', v)
      local chunk = first .. ARGV[chunks + i - 1]
      local ms = ms_of(v)
      local hour = math.floor(ms / hour_ms)
      local run = hours[#hours]
      if not run or run.hour ~= hour then
        run = { hour = hour, from = #entries + 1, events = 0 }
        hours[#hours + 1] = run
      end
      run.events = run.events + count
      entries[#entries + 1] = ms
      entries[#entries + 1] = chunk
      run.to = #entries
      message[#message + 1] = struct.pack('>I4', #chunk)
      message[#message + 1] = chunk
      answer[#answer + 1] = v
      if idem then first_answers[#first_answers + 1] = first .. string.sub(counts, i, i) end
      total = total + count
      v = v + count
    end

    redis.call('HSET', last_key, type, string.format('%.0f', v - 1))
    -- An ephemeral event is in the outbox until delivered, and never in `ev`.
    if ttl ~= 0 then
      local hours_key = prefix .. 'hours' .. tag .. type
      for _, run in ipairs(hours) do
        local ev = prefix .. 'ev' .. tag .. type .. ':' .. run.hour
        for i = run.from, run.to, 1000 do
          redis.call('ZADD', ev, unpack(entries, i, math.min(i + 999, run.to)))
        end
        local events = redis.call('HINCRBY', hours_key, run.hour, run.events)
        if ttl > 0 then
          local expires = string.format('%.0f', ((run.hour + 1) * hour_ms + ttl) / 1000 + 1)
          -- On every append: an hour's key that is made again never lives without an end.
          redis.call('EXPIREAT', ev, expires)
          if events == run.events then
            -- The first of its hour prolongs the list of hours, and sweeps out those that have ended.
            redis.call('EXPIREAT', hours_key, expires)
            for _, old in ipairs(redis.call('HKEYS', hours_key)) do
              if (old + 1) * hour_ms + ttl < now - hour_ms then redis.call('HDEL', hours_key, old) end
            end
          end
        end
      end
    end
    for i = 0, streams - 1 do
      local name = type .. ':' .. ARGV[names + i]
      local out = prefix .. 'out' .. tag .. name
      for from = 1, #entries, 1000 do
        redis.call('ZADD', out, unpack(entries, from, math.min(from + 999, #entries)))
      end
      redis.call('HINCRBY', prefix .. 'n' .. tag .. name, 'b', total)
      redis.call('ZADD', due_key, 'LT', now, name)
    end
    if idem then redis.call('SET', idem, table.concat(first_answers), 'PX', window) end

    if not live[p] then
      live[p] = {}
      order[#order + 1] = p
    end
    table.insert(live[p], table.concat(message))
  end
  answers[#answers + 1] = answer
end

redis.call('SET', KEYS[2], token .. cmsgpack.pack(answers), 'PX', ARGV[4])
for _, p in ipairs(order) do
  redis.call('SPUBLISH', prefix .. 'live:{' .. p .. '}', table.concat(live[p]))
end
return answers
