#!lua flags=allow-oom
-- needs: chunk stream
-- Ends a claim: what is not named is delivered.
--
-- KEYS  as in stream.lua
-- ARGV  1, 2 as in stream.lua; 3 the lease; 4 events the claim held; 5 lease in ms for what is held on, or '';
--       6 how long dead letters are kept, in ms;
--       then for each event that was not delivered: position, what becomes of it, ms until it is due, failed attempts,
--       last error. What becomes of it: r retry, l release, d dead letter, h hold, f hold after a failure
-- Answer {0} the lease had been lost and nothing was changed | {1, lease of what is held on, or ''}

local lease, total = tonumber(ARGV[3]), tonumber(ARGV[4])
if redis.call('ZCOUNT', OUT, ARGV[3], ARGV[3]) == 0 then return { 0 } end

local state = redis.call('HMGET', N, 'l', 'h')
local held
local delivered, dead, failed = total, 0, 0
local moves = {}
local has_tries = redis.call('EXISTS', TRY) == 1

if #ARGV > 6 or has_tries then
  -- The slow way: the chunks themselves are looked at. Where nothing has ever failed, it is not taken.
  local exceptions = {}
  for i = 7, #ARGV, 5 do
    exceptions[tonumber(ARGV[i])] = { what = ARGV[i + 1], after = ARGV[i + 2], attempts = ARGV[i + 3], error = ARGV[i + 4] }
  end
  local hold = ARGV[5] ~= '' and new_lease(tonumber(ARGV[5]), tonumber(state[1] or 0))
  delivered = 0
  local settled = {}

  -- Where the event goes: a score of the outbox, or false when it leaves it.
  local function target(v, exception)
    if not exception then
      delivered = delivered + 1
      settled[#settled + 1] = string.format('%.0f', v)
      return false
    end
    local what = exception.what
    if what == 'r' or what == 'd' or what == 'f' then failed = failed + 1 end
    if what == 'd' then
      dead = dead + 1
      settled[#settled + 1] = string.format('%.0f', v)
      return false
    end
    if what == 'r' or what == 'f' then
      redis.call('HSET', TRY, string.format('%.0f', v), exception.attempts .. ':' .. exception.error)
    end
    if what == 'l' then return ms_of(v) end
    if what == 'r' then return math.floor(CLOCK + tonumber(exception.after)) end
    held = hold
    return hold
  end

  for _, chunk in ipairs(redis.call('ZRANGE', OUT, ARGV[3], ARGV[3], 'BYSCORE')) do
    local first, count = head(chunk)
    local from, going = first, nil
    local function close(to)
      if going and from < to then
        for _, piece in ipairs(pieces(chunk, from, to)) do
          moves[#moves + 1] = is_lease(going) and text(going) or string.format('%.0f', going)
          moves[#moves + 1] = piece
        end
      end
    end
    for v = first, first + count - 1 do
      local exception = exceptions[v]
      local score = target(v, exception)
      if v > first and score ~= going then
        close(v)
        from = v
      end
      going = score
      if exception and exception.what == 'd' then
        add_letter(string.format('%.0f', v), tonumber(exception.attempts), exception.error, pieces(chunk, v, v + 1)[1])
      end
    end
    close(first + count)
  end
  if has_tries then
    for i = 1, #settled, 1000 do
      redis.call('HDEL', TRY, unpack(settled, i, math.min(i + 999, #settled)))
    end
  end
  if dead > 0 then
    -- A stream that was forgotten and came back: its dead letters have an end no more.
    redis.call('PERSIST', DEAD)
    redis.call('PERSIST', DAT)
    trim_dead(tonumber(ARGV[6]))
  end
end

redis.call('ZREMRANGEBYSCORE', OUT, ARGV[3], ARGV[3])
put(moves)
if delivered + dead > 0 then redis.call('HINCRBY', N, 'b', -(delivered + dead)) end
if delivered > 0 then redis.call('HINCRBY', N, 'd', delivered) end
if failed > 0 then redis.call('HINCRBY', N, 'f', failed) end
if held then redis.call('HSET', N, 'l', text(held)) end
if tonumber(state[2] or 0) == lease then
  if held then
    redis.call('HSET', N, 'h', text(held))
  else
    redis.call('HDEL', N, 'h')
  end
end
reindex()
return { 1, held and text(held) or '' }
