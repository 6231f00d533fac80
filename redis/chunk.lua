-- Chunks: how a run of events of one type stands in `ev` and `out`. Put before the scripts that need it.
--
--   first position   8 bytes, big-endian: (milliseconds since 2018) * 512 + sequence
--   revision         varint: seven bits a byte, low ones first, the high bit says that more follow
--   count            1 byte, 1 to 64
--   count times      varint length, payload
--
-- All events of a chunk were committed in one millisecond and have consecutive positions. `src/store/redis/chunk.rs`
-- writes and reads the same form. Type, id and time are derived, never stored.

local EPOCH = 1514764800000

local function ms_of(v)
  return EPOCH + math.floor(v / 512)
end

-- The varint at byte `at`, and the byte after it.
local function varint(s, at)
  local b = string.byte(s, at)
  if b < 128 then return b, at + 1 end
  local value, scale = b - 128, 128
  repeat
    at = at + 1
    b = string.byte(s, at)
    value = value + b % 128 * scale
    scale = scale * 128
  until b < 128
  return value, at + 1
end

local function to_varint(n)
  local bytes = ''
  while n >= 128 do
    bytes = bytes .. string.char(128 + n % 128)
    n = math.floor(n / 128)
  end
  return bytes .. string.char(n)
end

-- First position, number of events, and the byte of the count.
local function head(chunk)
  local first = struct.unpack('>I8', chunk)
  local at = 9
  while string.byte(chunk, at) >= 128 do at = at + 1 end
  return first, string.byte(chunk, at + 1), at + 1
end

-- Where each event's bytes of a chunk begin: by its number from 0, and after the last one.
local function starts_of(chunk, count, at)
  local starts, byte = {}, at + 1
  for i = 0, count - 1 do
    starts[i] = byte
    local length, after = varint(chunk, byte)
    byte = after + length
  end
  starts[count] = byte
  return starts
end

-- The events at positions from..to-1 of a chunk, as chunks.
--
-- Pieces are blocks of 64, 32, 16 … 1 positions, aligned to their size and clipped by the chunk they were appended in. So
-- whatever splitting an event's chunk went through, the event stands in one of eight pieces that can be computed from the
-- chunk in `ev`: `event.lua` looks them up instead of searching an outbox.
local function pieces(chunk, from, to)
  local first, count, at = head(chunk)
  local stop = first + count
  if from == first and to == stop then return { chunk } end
  local revision, starts = string.sub(chunk, 9, at - 1), starts_of(chunk, count, at)
  local cut = {}
  while from < to do
    local size, last = 64, nil
    while true do
      local block = from - from % size
      last = math.min(block + size, stop)
      if math.max(block, first) == from and last <= to then break end
      size = size / 2
    end
    cut[#cut + 1] = struct.pack('>I8', from) .. revision .. string.char(last - from)
      .. string.sub(chunk, starts[from - first], starts[last - first] - 1)
    from = last
  end
  return cut
end

-- Every piece of a chunk that there can be besides itself, as {first, first after, piece}.
local function blocks(chunk)
  local first, count, at = head(chunk)
  local stop = first + count
  local revision, starts = string.sub(chunk, 9, at - 1), starts_of(chunk, count, at)
  local all, size = {}, 64
  while size >= 1 do
    local block = first - first % size
    while block < stop do
      local from, to = math.max(block, first), math.min(block + size, stop)
      if to - from < count then
        all[#all + 1] = { from, to, struct.pack('>I8', from) .. revision .. string.char(to - from)
          .. string.sub(chunk, starts[from - first], starts[to - first] - 1) }
      end
      block = block + size
    end
    size = size / 2
  end
  return all
end

-- Redis' clock in Unix milliseconds.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
