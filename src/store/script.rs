//! Defines the scripts that a store runs for an agent, each as one step: fence, rows and the stream of changes agree whatever happens between two of them.

/// Who an agent is to a store: `epoch:instance:turn`. A later epoch fences the one before; of one epoch and turn, what
/// comes a second time (because its answer was lost) is not done again.
const READ_PRESENCE: &str = "
local held = redis.call('GET', KEYS[1])
local epoch, instance, turn
if held then
    epoch, instance, turn = string.match(held, '^(%d+):(%x+):(%d+)$')
    epoch, turn = tonumber(epoch), tonumber(turn)
end
";

/// Makes this agent the one of its name, with an epoch after all others.
///
/// KEYS: presence, agents, epochs, new rows. ARGV: own last epoch, instance, lease in ms, name, entry.
/// Answers: the epoch, the instance that had the name until now or '', what was said of it or '', the store's time.
const REGISTER: &str = "
local before = redis.call('HGET', KEYS[2], ARGV[4]) or ''
local stored = tonumber(redis.call('HGET', KEYS[3], ARGV[4]) or '0') or 0
local next = math.max(stored, tonumber(ARGV[1]), epoch or 0) + 1
redis.call('HSET', KEYS[3], ARGV[4], string.format('%d', next))
redis.call('UNLINK', KEYS[4])
redis.call('SET', KEYS[1], string.format('%d:%s:0', next, ARGV[2]), 'PX', ARGV[3])
redis.call('HSET', KEYS[2], ARGV[4], ARGV[5])
local time = redis.call('TIME')
return {tostring(next), instance or '', before, time[1], time[2]}
";

/// Writes rows and what changed.
///
/// KEYS: presence, agents, rows, new rows, events. ARGV: epoch, instance, turn, lease in ms, name, entry or '', rows that
/// there must be or -1, where to ('rows', 'new', or 'done': the new ones are complete), channel, entries that the stream
/// keeps, number of the entry, lines or '', how many IDs are gone, these IDs, then IDs and rows by turns.
/// Answers: a word, then by that: rows that there are and the store's time; or what is said of who has the name.
const WRITE: &str = "
if not epoch then return {'UNKNOWN', 'it knows nothing of this agent'} end
local mine = tonumber(ARGV[1])
if epoch > mine or (epoch == mine and instance ~= ARGV[2]) then
    return {'FENCED', redis.call('HGET', KEYS[2], ARGV[5]) or ''}
end
if epoch < mine then return {'UNKNOWN', 'it has an older state of this agent'} end
local new = tonumber(ARGV[3])
local rows = ARGV[8] == 'new' and KEYS[4] or KEYS[3]
if turn < new then
    if turn ~= new - 1 then return {'UNKNOWN', 'it has lost what was written last'} end
    local expected = tonumber(ARGV[7])
    if ARGV[8] == 'done' then
        if redis.call('HLEN', KEYS[4]) ~= expected then return {'UNKNOWN', 'it has lost rows'} end
        if expected == 0 then redis.call('UNLINK', rows) else redis.call('RENAME', KEYS[4], rows) end
    elseif expected >= 0 and redis.call('HLEN', rows) ~= expected then
        return {'UNKNOWN', 'it has lost rows'}
    end
    local first = 14 + tonumber(ARGV[13])
    for i = 14, first - 1, 500 do
        redis.call('HDEL', rows, unpack(ARGV, i, math.min(i + 499, first - 1)))
    end
    for i = first, #ARGV, 1000 do
        redis.call('HSET', rows, unpack(ARGV, i, math.min(i + 999, #ARGV)))
    end
    if ARGV[12] ~= '' then
        redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[10], '*', 'agent', ARGV[5], 'epoch', ARGV[1], 'seq', ARGV[11],
            'lines', ARGV[12])
        redis.call('PUBLISH', ARGV[9], ARGV[12])
    end
    if ARGV[6] ~= '' then redis.call('HSET', KEYS[2], ARGV[5], ARGV[6]) end
end
redis.call('SET', KEYS[1], string.format('%d:%s:%d', epoch, instance, math.max(turn, new)), 'PX', ARGV[4])
local time = redis.call('TIME')
return {'OK', redis.call('HLEN', rows), time[1], time[2]}
";

/// Ends this agent's presence; its rows stay as what was known last.
///
/// KEYS: presence, agents. ARGV: epoch, instance, name, entry.
const LEAVE: &str = "
if epoch == tonumber(ARGV[1]) and instance == ARGV[2] then
    redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
    redis.call('DEL', KEYS[1])
end
return 'OK'
";

/// Forgets an agent that is gone.
///
/// KEYS: presence, agents, epochs, rows, new rows. ARGV: name.
/// Answers: 'ALIVE' and what is said of it, 'NONE', or 'OK' and how many rows there were.
const FORGET: &str = "
local entry = redis.call('HGET', KEYS[2], ARGV[1])
if held then return {'ALIVE', entry or ''} end
local rows = redis.call('HLEN', KEYS[4])
if not entry and rows == 0 then return {'NONE', ''} end
redis.call('UNLINK', KEYS[4], KEYS[5])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], ARGV[1])
return {'OK', tostring(rows)}
";

pub(super) fn register() -> String {
    [READ_PRESENCE, REGISTER].concat()
}

pub(super) fn write() -> String {
    [READ_PRESENCE, WRITE].concat()
}

pub(super) fn leave() -> String {
    [READ_PRESENCE, LEAVE].concat()
}

pub(super) fn forget() -> String {
    [READ_PRESENCE, FORGET].concat()
}
