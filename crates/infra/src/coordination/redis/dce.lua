#!lua name=dce_VERSION
-- What nodes must agree on, each in one round trip. Times are microseconds, money is micro-units; numbers are doubles, exact to
-- 2^53, and nothing here is a fraction.
--
-- A buyer is one hash, so that it is there as a whole or not at all:
--   epoch        as of which it was loaded
--   available    what it can spend, without its credit
--   b:<bid>      what a bid has in use: calls at the same time, then number, calls, conversions and spend of
--   g:<group>      hour, day, week, month and total; the same of a cap group
--   o:<key>      an attempt that has not ended: node, hold, bid, periods, and the group and its periods, if any
-- What has ended is a key of its own that outlasts any request on its way.

local ENDED_S = 600

local function text(number)
  return string.format('%.0f', number)
end

-- Numbers of a text; "-" is none, and keeps its place.
local function numbers(words)
  local list, n = {}, 0
  for word in string.gmatch(words, '%S+') do
    n = n + 1
    list[n] = tonumber(word)
  end
  list.n = n
  return list
end

local function join(list)
  local words = {}
  for i = 1, #list do
    words[i] = text(list[i])
  end
  return table.concat(words, ' ')
end

-- Rate limits: the generic cell rate algorithm. The same as RateLimit::decide.
-- KEYS: cell; ARGV: interval, burst, and now where it is not this server's clock.
local function rate(keys, args)
  local interval, burst, now = tonumber(args[1]), tonumber(args[2]), tonumber(args[3])
  if not now then
    local time = redis.call('TIME')
    now = tonumber(time[1]) * 1000000 + tonumber(time[2])
  end
  local at_rest = tonumber(redis.call('GET', keys[1]) or now)
  local after = math.max(at_rest, now) + interval
  local ahead, tolerance = after - now, interval * burst
  if ahead > tolerance then
    return { 0, ahead - tolerance }
  end
  redis.call('SET', keys[1], text(after), 'PX', math.ceil(ahead / 1000))
  return { 1, math.floor((tolerance - ahead) / interval) }
end

-- Velocity counters. The same as Cell::count. What happened to a key is kept with the day of its latest: for a minute, an hour and a
-- day the window's number, and how often in it and in the one before. The one too many is told to all nodes.
-- KEYS: even days, odd days; ARGV: key, keys a day at most, channel, what to tell, three limits, and now where it is not this
-- server's clock. Gives the wait in milliseconds, or -1 when there is no room to count.
local WINDOWS_MS = { 60000, 3600000, 86400000 }

local function count(keys, args)
  local now = tonumber(args[8])
  if not now then
    local time = redis.call('TIME')
    now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  end
  local day = math.floor(now / WINDOWS_MS[3])
  local today, other = keys[1 + day % 2], keys[2 - day % 2]
  local stored = redis.call('HGET', today, args[1])
  if not stored then
    if redis.call('HLEN', today) >= tonumber(args[2]) then
      return -1
    end
    stored = redis.call('HGET', other, args[1])
  end
  local cell, longest = numbers(stored or '0 0 0 0 0 0 0 0 0'), 0
  for i, width in ipairs(WINDOWS_MS) do
    local at, limit = 3 * i - 2, tonumber(args[4 + i])
    local number = math.max(math.floor(now / width), cell[at])
    local passed, current, previous = number - cell[at], cell[at + 1], cell[at + 2]
    if passed == 1 then
      current, previous = 0, current
    elseif passed > 1 then
      current, previous = 0, 0
    end
    current = math.min(current + 1, limit)
    cell[at], cell[at + 1], cell[at + 2] = number, current, previous
    local elapsed, wait = math.max(now - number * width, 0), 0
    if current >= limit then
      wait = width - elapsed + 1
    elseif current + math.floor(previous * (width - elapsed) / width) >= limit then
      wait = width + 1 - math.ceil((limit - current) * width / previous) - elapsed
    end
    longest = math.max(longest, wait)
  end
  redis.call('HSET', today, args[1], join(cell))
  -- Until a second before the day after this one is over: the next day but one has the same key.
  redis.call('PEXPIRE', today, (day + 2) * WINDOWS_MS[3] - now - 1000)
  if longest > 0 then
    redis.call('PUBLISH', args[3], args[4] .. ' ' .. text(longest))
  end
  return longest
end

-- What a bid or a group has in use.
local function read_use(stored)
  if stored then
    return numbers(stored)
  end
  local use = {}
  for i = 1, 21 do
    use[i] = 0
  end
  return use
end

-- Where the figures of a period are: 1 is the hour, 5 the total.
local function place(period)
  return 2 + (period - 1) * 4
end

-- What is taken of a period: nothing of one that has not been seen yet.
local function in_period(use, period, number)
  local at = place(period)
  if number > use[at] then
    return number, 0, 0, 0
  end
  return use[at], use[at + 1], use[at + 2], use[at + 3]
end

-- The first of the limits (period, calls, conversions, spend; each may be absent) that has no room.
local function reached(use, periods, limits, hold)
  for i = 1, limits.n, 4 do
    local period = limits[i]
    local _, calls, conversions, spend = in_period(use, period, periods[period])
    if limits[i + 1] and calls >= limits[i + 1] then
      return 'calls'
    end
    if limits[i + 2] and conversions >= limits[i + 2] then
      return 'conversions'
    end
    if limits[i + 3] and spend + hold > limits[i + 3] then
      return 'spend'
    end
  end
end

-- Even pacing: whether the parts of the day's limits that are released (calls, conversions, spend) have no room. The first call
-- of a day always has.
local function is_paced_out(use, periods, released, hold)
  local _, calls, conversions, spend = in_period(use, 2, periods[2])
  if calls == 0 then
    return false
  end
  for i = 1, released.n, 3 do
    if (released[i] and calls > released[i])
      or (released[i + 1] and conversions > released[i + 1])
      or (released[i + 2] and spend + hold > released[i + 2]) then
      return true
    end
  end
  return false
end

-- One call more; the periods it was counted in.
local function take(use, periods, hold)
  use[1] = use[1] + 1
  local counted = {}
  for period = 1, 5 do
    local at = place(period)
    local number, calls, conversions, spend = in_period(use, period, periods[period])
    use[at], use[at + 1], use[at + 2], use[at + 3] = number, calls + 1, conversions + 1, spend + hold
    counted[period] = number
  end
  return counted
end

-- Changes the figures of the periods that a call was counted in and that still last.
local function correct(use, counted, calls, conversions, spend)
  for period = 1, 5 do
    local at = place(period)
    if use[at] == counted[period] then
      use[at + 1] = math.max(use[at + 1] - calls, 0)
      use[at + 2] = math.max(use[at + 2] - conversions, 0)
      use[at + 3] = use[at + 3] - spend
    end
  end
end

-- Periods as they are kept and told: the total has no number of its own.
local function four(counted)
  return join({ counted[1], counted[2], counted[3], counted[4] })
end

local function five(words)
  local counted = numbers(words)
  counted[5] = 0
  return counted
end

-- Takes an attempt's money and room, all or nothing. The order of the questions is Usages::check's, then money.
-- KEYS: buyer, ended; ARGV: epoch, key, node, hold, credit limit,
--   bid, periods, calls at the same time, limits, released,
--   group or "", periods, calls at the same time, limits.
local function reserve(keys, args)
  local buyer, entry, hold = keys[1], 'o:' .. args[2], tonumber(args[4])
  local bid, group = 'b:' .. args[6], 'g:' .. args[11]
  local there = redis.call('HMGET', buyer, 'epoch', 'available', entry, bid, group)
  if there[1] ~= args[1] then
    return { 'not_ready' }
  end
  if there[3] then
    return { 'granted', there[3] }
  end
  if redis.call('EXISTS', keys[2]) == 1 then
    return { 'over' }
  end

  local use, periods = read_use(there[4]), five(args[7])
  local at_once = tonumber(args[8])
  if at_once and use[1] >= at_once then
    return { 'refused', 'concurrent_calls' }
  end
  local cap = reached(use, periods, numbers(args[9]), hold)
  if cap then
    return { 'refused', cap }
  end
  if is_paced_out(use, periods, numbers(args[10]), hold) then
    return { 'refused', 'paced' }
  end

  local is_grouped = args[11] ~= ''
  local group_use, group_periods
  if is_grouped then
    group_use, group_periods = read_use(there[5]), five(args[12])
    local group_at_once = tonumber(args[13])
    if (group_at_once and group_use[1] >= group_at_once)
      or reached(group_use, group_periods, numbers(args[14]), hold) then
      return { 'refused', 'group' }
    end
  end

  local available = tonumber(there[2])
  if available + tonumber(args[5]) < hold then
    return { 'refused', 'funds', text(available) }
  end

  local kept = { args[3], text(hold), args[6], four(take(use, periods, hold)) }
  redis.call('HSET', buyer, 'available', text(available - hold), bid, join(use))
  if is_grouped then
    kept[5] = args[11]
    kept[6] = four(take(group_use, group_periods, hold))
    redis.call('HSET', buyer, group, join(group_use))
  end
  local taken = table.concat(kept, ' ')
  redis.call('HSET', buyer, entry, taken)
  return { 'granted', taken }
end

-- Changes what a bid, or a group, has in use.
local function change(buyer, field, counted, concurrent, calls, conversions, spend)
  local use = read_use(redis.call('HGET', buyer, field))
  use[1] = math.max(use[1] - concurrent, 0)
  correct(use, counted, calls, conversions, spend)
  redis.call('HSET', buyer, field, join(use))
end

-- The words of an attempt as it is kept.
local function words_of(taken)
  local words = {}
  for word in string.gmatch(taken, '%S+') do
    words[#words + 1] = word
  end
  return words
end

local function give_back(buyer, words, concurrent, calls, conversions, spend)
  change(buyer, 'b:' .. words[3], five(table.concat(words, ' ', 4, 7)), concurrent, calls, conversions, spend)
  if words[8] then
    change(buyer, 'g:' .. words[8], five(table.concat(words, ' ', 9, 12)), concurrent, calls, conversions, spend)
  end
  local available = tonumber(redis.call('HGET', buyer, 'available'))
  redis.call('HSET', buyer, 'available', text(available + spend))
end

-- Ends an attempt. KEYS: buyer, ended; ARGV: key, "release" or "finish", what is spent or "-".
local function finish(keys, args)
  local buyer, entry = keys[1], 'o:' .. args[1]
  local taken = redis.call('HGET', buyer, entry)
  local is_new = redis.call('SET', keys[2], '1', 'EX', ENDED_S, 'GET') == false
  if not taken then
    return is_new and 'unknown' or 'already'
  end
  local words = words_of(taken)
  local spent = tonumber(args[3])
  local unspent = tonumber(words[2]) - (spent or 0)
  local calls = args[2] == 'release' and 1 or 0
  local conversions = spent and 0 or 1
  give_back(buyer, words, 1, calls, conversions, unspent)
  redis.call('HDEL', buyer, entry)
  return 'done'
end

-- Gives back what stayed spent after an attempt ended. KEYS: buyer, ended; ARGV: the attempt as it was kept, unspent.
local function give_back_spend(keys, args)
  local words = words_of(args[1])
  if redis.call('HEXISTS', keys[1], 'b:' .. words[3]) == 0 then
    return 'unknown'
  end
  if not redis.call('SET', keys[2], '1', 'EX', ENDED_S, 'NX') then
    return 'already'
  end
  give_back(keys[1], words, 0, 0, 0, tonumber(args[2]))
  return 'done'
end

-- A payment. KEYS: buyer, ended; ARGV: amount.
local function deposit(keys, args)
  local available = redis.call('HGET', keys[1], 'available')
  if not available then
    return 'unknown'
  end
  if not redis.call('SET', keys[2], '1', 'EX', ENDED_S, 'NX') then
    return 'already'
  end
  redis.call('HSET', keys[1], 'available', text(tonumber(available) + tonumber(args[1])))
  return 'done'
end

-- A new buyer. KEYS: buyer; ARGV: epoch.
local function open(keys, args)
  if redis.call('EXISTS', keys[1]) == 0 then
    redis.call('HSET', keys[1], 'epoch', args[1], 'available', '0')
  end
  return 'done'
end

-- Puts a buyer's state in place of what is there, unless that is as new. KEYS: buyer; ARGV: epoch, field, value, field, value ...
local function load(keys, args)
  local stored = tonumber(redis.call('HGET', keys[1], 'epoch') or -1)
  if stored >= tonumber(args[1]) then
    return 'stale'
  end
  redis.call('DEL', keys[1])
  redis.call('HSET', keys[1], 'epoch', args[1])
  for i = 2, #args, 2 do
    redis.call('HSET', keys[1], args[i], args[i + 1])
  end
  return 'done'
end

redis.register_function('dce_rate_VERSION', rate)
redis.register_function('dce_count_VERSION', count)
redis.register_function('dce_reserve_VERSION', reserve)
redis.register_function('dce_finish_VERSION', finish)
redis.register_function('dce_give_back_spend_VERSION', give_back_spend)
redis.register_function('dce_deposit_VERSION', deposit)
redis.register_function('dce_open_VERSION', open)
redis.register_function('dce_load_VERSION', load)
