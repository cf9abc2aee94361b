//! Lua scripts: atomic steps that no single Redis command does.
//!
//! [`super::record`] describes the format of a record, [`super::tags`] the indexes. Redis runs a script
//! atomically.

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;

use super::{client::Script, outage::Access};

/// Lua functions that the scripts share.
///
/// `look` returns the kind of value under a key: `R` for a record, `T` for a tombstone, or the empty
/// string if there is none. It returns nil for any other value; the scripts then end with the error
/// `HSFOREIGN`.
macro_rules! common {
    () => {
        concat!(
            "local foreign = 'HSFOREIGN not a session record'\n",
            "local function look(key, head)\n",
            "  local mark = string.sub(head, 1, 4)\n",
            "  if mark == 'hs2R' and #head >= 18 then return 'R' end\n",
            "  if head == 'hs2T' then return 'T' end\n",
            "  if head == '' and redis.call('EXISTS', key) == 0 then return '' end\n",
            "  return nil\n",
            "end\n",
            "local function tags_len(head)\n",
            "  return string.byte(head, 17) * 256 + string.byte(head, 18)\n",
            "end\n",
            "local function now()\n",
            "  local t = redis.call('TIME')\n",
            "  return t[1] * 1000 + math.floor(t[2] / 1000)\n",
            "end\n",
            // Returns true if the tag indexes of a record that lives for `ttl` must be extended.
            "local function due(head, ttl)\n",
            "  if #head < 26 or tags_len(head) < 8 then return false end\n",
            "  return now() + 2 * ttl > struct.unpack('>I8', string.sub(head, 19, 26))\n",
            "end\n",
            // Returns the reply that asks the client to index a record's tags before it is changed:
            // the time, the lifetime of the record after the change, the record without its data.
            "local function index_first(key, head, ttl)\n",
            "  local stored = ''\n",
            "  if head ~= '' then stored = redis.call('GETRANGE', key, 0, 17 + tags_len(head)) end\n",
            "  return {now(), ttl, stored}\n",
            "end\n",
            // Index entries that were renewed after this time may belong to a write in progress.
            "local function grace_start()\n",
            "  return now() - 10000\n",
            "end\n",
        )
    };
}

/// The time after its first attempt, in ms, in which a write may rely on the index entries that it
/// has added. It is half of the time for which an entry is kept although its record does not have
/// the tag.
pub(super) const WRITE_WINDOW: u64 = 5_000;

/// Makes a script on one key.
macro_rules! script {
    ($access:ident; $($source:literal),+ $(,)?) => {
        LazyLock::new(|| Script::new(Access::$access, concat!(
            "local key = KEYS[1]\n",
            common!(),
            $($source, "\n"),+
        )))
    };
}

/// Makes a script that does the same to each of its keys and returns an array with one answer for
/// each. The source is the body of a Lua function of `key` and the key's arguments, all strings.
///
/// An error must not end the script halfway, since the client could not determine which keys were
/// done. Hence commands that may fail are run by `try`, and their errors are put into the array. The
/// error of a replica is returned for the whole script. It holds for all keys, and the client
/// reacts to it.
///
/// If it has no keys, its first argument is their number, and they follow it. So a server of a cluster
/// lets it use keys of different slots.
///
/// Lines before a second `;` are a fast path that runs first. They end the script with one answer
/// for all keys, or fill in the `answers` that they have.
macro_rules! script_for_each {
    ($access:ident; $args:literal; $($source:expr),+ $(,)?) => {
        script_for_each!($access; $args; ""; $($source),+)
    };
    ($access:ident; $args:literal; $($first:literal),+; $($source:expr),+ $(,)?) => {
        LazyLock::new(|| Script::for_each(Access::$access, concat!(
            "local try, keys, args, answers = redis.pcall, KEYS, ARGV, {}\n",
            "if #keys == 0 then\n",
            "  local count = tonumber(args[1])\n",
            "  keys, args = {unpack(args, 2, 1 + count)}, {unpack(args, 2 + count)}\n",
            "end\n",
            $($first, "\n",)+
            common!(),
            "local function failed(answer) return type(answer) == 'table' and answer.err end\n",
            "local function each(key, ", $args, ")\n",
            $($source, "\n",)+
            "end\n",
            "local n = #args / #keys\n",
            "for i, key in ipairs(keys) do\n",
            "  if not answers[i] then\n",
            "    local answer = each(key, unpack(args, i * n - n + 1, i * n)) or false\n",
            // Redis 6.2 puts the line of the script before the code.
            "    local _, code = failed(answer) and string.find(answer.err, 'READONLY ', 1, true)\n",
            "    if code then return {err = string.sub(answer.err, code - 8)} end\n",
            "    answers[i] = answer\n",
            "  end\n",
            "end\n",
            "return answers\n",
        )))
    };
}

/// Lua lines that compare the version of a record and replace the record; see [`WRITE`].
macro_rules! compare_and_set {
    () => {
        concat!(
            "local head = try('GETRANGE', key, '0', '25')\n",
            "if failed(head) then return head end\n",
            "local mark = look(key, head)\n",
            "if mark == 'T' then return 0 end\n",
            "if mark == nil then return redis.error_reply(foreign) end\n",
            "if mark == '' then\n",
            "  if #expected == 10 or ttl == 'KEEP' then return 0 end\n",
            "else\n",
            "  local version = string.sub(head, 9, 16)\n",
            // An earlier attempt has written this version. `WAIT` needs a write on this connection.
            "  if version == string.sub(new, 9, 16) then\n",
            "    local left = tonumber(ttl) or redis.call('PTTL', key)\n",
            "    local done = left > 0 and try('PEXPIRE', key, left)\n",
            "    return failed(done) and done or 1\n",
            "  end\n",
            "  if expected ~= '*' and string.sub(expected, 1, 8) ~= version then\n",
            "    return try('GET', key)\n",
            "  end\n",
            "end\n",
            "local len = tags_len(new)\n",
            "local is_indexed = len == 0 or indexed ~= ''\n",
            "    and string.sub(indexed, 9) == string.sub(head, 9, 16)\n",
            "    and now() <= struct.unpack('>I8', indexed)\n",
            "if not is_indexed then\n",
            "  local ttl = tonumber(ttl) or redis.call('PTTL', key)\n",
            "  local has_tags = head ~= '' and tags_len(head) == len and\n",
            "    redis.call('GETRANGE', key, 26, 17 + len) == string.sub(new, 27, 18 + len)\n",
            "  if not has_tags or due(head, ttl) then return index_first(key, head, ttl) end\n",
            "  new = string.sub(new, 1, 18) .. string.sub(head, 19, 26) .. string.sub(new, 27)\n",
            "end\n",
            "local done\n",
            "if ttl == '0' then done = try('DEL', key)\n",
            "elseif ttl == 'KEEP' then done = try('SET', key, new, 'KEEPTTL')\n",
            "else done = try('SET', key, new, 'PX', ttl) end\n",
            "return failed(done) and done or 1\n",
        )
    };
}

/// Lua lines that set the lifetime of a live record; see [`TOUCH`].
macro_rules! touch {
    () => {
        concat!(
            "local head = try('GETRANGE', key, '0', '25')\n",
            "if failed(head) then return head end\n",
            "local mark = look(key, head)\n",
            "if mark == nil then return redis.error_reply(foreign) end\n",
            "if mark ~= 'R' then return 0 end\n",
            "if version == string.sub(head, 9, 16) then\n",
            "  local done = indexed_until ~= '' and try('SETRANGE', key, '18', indexed_until)\n",
            "  if failed(done) then return done end\n",
            "elseif due(head, tonumber(ttl)) then\n",
            "  return index_first(key, head, tonumber(ttl))\n",
            "end\n",
            "local done = try('PEXPIRE', key, ttl)\n",
            "return failed(done) and done or 1\n",
        )
    };
}

/// Compares the version of a record and replaces the record by one without tags.
///
/// Arguments: the expected bytes 8 to 17 of a record without tags, which are the version and two zero
/// bytes (empty: no record; `*`: any record or none); the new record; its lifetime in ms.
///
/// Returns 1 if it wrote the record, or 0 if the session is gone. On a conflict, returns the current
/// record. A record that has the new version already was written by an earlier attempt of the same
/// write.
pub(super) static WRITE: LazyLock<Script> = script_for_each!(
    Write; "expected, new, ttl";
    // If the version is as expected and there are no tags, nothing else is checked. These lines are
    // most of a write's cost in the server, hence strings for numbers and `PSETEX` for `SET`.
    "local rest = false",
    "for i = 1, #keys do",
    "  local key, at = keys[i], 3 * i - 2",
    "  local found = try('GETRANGE', key, '8', '17')",
    "  if found == args[at] and #found == 10 and args[at + 2] ~= '0'",
    "      and try('PSETEX', key, args[at + 2], args[at + 1]).ok then",
    "    answers[i] = 1",
    "  else",
    "    rest = true",
    "  end",
    "end",
    "if not rest then return 1 end";
    "local indexed = ''",
    compare_and_set!(),
);

/// Does the same as [`WRITE`] for a record that may have tags, and a lifetime that may be `KEEP`.
///
/// The fourth argument is empty in the first attempt. The script then writes only if the stored record
/// has the same tags and its indexes need not be extended; the new record takes over the time until
/// which they list it. Otherwise it writes nothing and asks for index entries first.
///
/// In a later attempt the argument is the end of the [`WRITE_WINDOW`] (8 bytes, big-endian), and the
/// version of the record for which the first attempt asked, if there was one. If the record has
/// changed since, or the window has ended, the script does the same as in the first attempt.
pub(super) static WRITE_INDEXED: LazyLock<Script> =
    script_for_each!(Write; "expected, new, ttl, indexed"; compare_and_set!());

/// Reads a value, and sets the lifetime of a live record to the argument, in ms.
///
/// Returns the value. If the tag indexes must be extended first, asks for that with the whole record.
pub(super) static READ_AND_TOUCH: LazyLock<Script> = script_for_each!(
    ReadAndTouch; "ttl";
    "local value = try('GET', key)",
    "if not value or failed(value) or string.sub(value, 1, 4) ~= 'hs2R' then return value end",
    "if due(value, tonumber(ttl)) then return {now(), tonumber(ttl), value} end",
    "local done = try('PEXPIRE', key, ttl)",
    "return failed(done) and done or value",
);

/// Sets the lifetime of a live record to the argument, in ms.
///
/// Returns 0 if there is no live record, else 1. If the tag indexes must be extended first, changes
/// nothing and asks for that.
pub(super) static TOUCH: LazyLock<Script> =
    script_for_each!(Touch; "ttl"; "local version, indexed_until = '', ''", touch!());

/// Does the same as [`TOUCH`] after the indexes were extended. The second argument is the version of
/// the record that they were extended for, the third the time until which they list it now (8 bytes,
/// or empty if it has not changed). If the record has another version, does the same as [`TOUCH`].
pub(super) static TOUCH_INDEXED: LazyLock<Script> =
    script_for_each!(Touch; "ttl, version, indexed_until"; touch!());

/// Returns the value and its remaining lifetime in ms. Returns nil if there is no value.
pub(super) static READ_WITH_TTL: LazyLock<Script> = script_for_each!(
    Read; "_";
    "local value = try('GET', key)",
    "if not value or failed(value) then return value end",
    "return {value, redis.call('PTTL', key)}",
);

/// Destroys a session when memory is full. It frees the record first, so that there is memory for
/// the tombstone. `ARGV`: the tombstone, its lifetime in ms.
pub(super) static DESTROY: LazyLock<Script> = script!(
    Write; "redis.call('DEL', key)",
    "redis.call('SET', key, ARGV[1], 'PX', ARGV[2])",
    "return 1",
);

/// Returns a live record without its data. For any other value, returns its kind.
pub(super) static READ_TAGS: LazyLock<Script> = script_for_each!(
    Read; "_";
    "local head = try('GETRANGE', key, '0', '25')",
    "local mark = not failed(head) and look(key, head)",
    "if mark ~= 'R' then return mark or 'foreign' end",
    "return redis.call('GETRANGE', key, 0, 17 + tags_len(head))",
);

/// Adds a member to a tag's index, or renews it, for at least the second argument in ms.
///
/// The score of a member is the time at which it was last renewed, in ms. Each renewal raises it. Returns
/// a sample of the members with their scores, without those that were renewed within the grace time.
pub(super) static ADD_TO_INDEX: LazyLock<Script> = script_for_each!(
    Write; "member, life";
    "local score, old = now(), try('ZSCORE', key, member)",
    "if failed(old) then return old end",
    "if old then score = math.max(score, tonumber(old) + 1) end",
    "local done = try('ZADD', key, score, member)",
    "if failed(done) then return done end",
    "if redis.call('PTTL', key) < tonumber(life) then redis.call('PEXPIRE', key, life) end",
    "local sample, found = redis.call('ZRANDMEMBER', key, '4', 'WITHSCORES'), {}",
    "for i = 1, #sample, 2 do",
    "  if tonumber(sample[i + 1]) < grace_start() then",
    "    found[#found + 1], found[#found + 2] = sample[i], sample[i + 1]",
    "  end",
    "end",
    "return found",
);

/// Scans a tag's index from the cursor `ARGV[1]`. Returns the next cursor, and some members with their
/// scores. The score of a member that was renewed within the grace time is empty.
pub(super) static SCAN_INDEX: LazyLock<Script> = script!(
    Read; "local page = redis.call('ZSCAN', key, ARGV[1], 'COUNT', '100')",
    "local entries = page[2]",
    "for i = 2, #entries, 2 do",
    "  if tonumber(entries[i]) >= grace_start() then entries[i] = '' end",
    "end",
    "return page",
);

/// Removes members from a tag's index, unless they were renewed. `ARGV`: each member and its score.
pub(super) static REMOVE_FROM_INDEX: LazyLock<Script> = script!(
    Write; "for i = 1, #ARGV, 2 do",
    "  local score = redis.call('ZSCORE', key, ARGV[i])",
    "  if score and tonumber(score) == tonumber(ARGV[i + 1]) then",
    "    redis.call('ZREM', key, ARGV[i])",
    "  end",
    "end",
    "return 1",
);

/// Runs one `SCAN`. `ARGV`: its cursor, the id of the server's process to which the cursor belongs, the pattern of
/// the names, the number of keys to inspect.
///
/// Each process has an order of its own. If another one runs now, begins again. Returns the id of the process, the
/// next cursor and the names. The id is empty if the user may not run `INFO`.
pub(super) const SCAN: &str = concat!(
    "local info = redis.pcall('INFO', 'server')\n",
    "local process = type(info) == 'string' and string.match(info, 'run_id:(%w+)') or ''\n",
    "local cursor = process == ARGV[2] and ARGV[1] or '0'\n",
    "local page = redis.call('SCAN', cursor, 'MATCH', ARGV[3], 'COUNT', ARGV[4])\n",
    "return {process, page[1], page[2]}\n",
);

/// Runs each command of the scripts once, on a key without a value.
///
/// Returns the name of the first command that the user may not run, or an empty string. Servers do not
/// name it if it is in a script. Returns the error if the server rejects a write for another reason.
pub(super) static CHECK_COMMANDS: LazyLock<Script> = script!(
    Write;
    "local calls = {",
    "  {'GET', key}, {'GETRANGE', key, '0', '1'}, {'EXISTS', key}, {'PTTL', key}, {'TIME'},",
    "  {'SET', key, 'x', 'PX', '1'}, {'PSETEX', key, '1', 'x'}, {'SETRANGE', key, '0', 'x'},",
    "  {'PEXPIRE', key, '1'}, {'DEL', key}, {'ZADD', key, '1', 'x'}, {'ZSCORE', key, 'x'},",
    "  {'ZRANDMEMBER', key, '1'}, {'ZSCAN', key, '0'}, {'ZREM', key, 'x'}",
    "}",
    "for _, call in ipairs(calls) do",
    "  local answer = redis.pcall(unpack(call))",
    "  local problem = type(answer) == 'table' and answer.err",
    "  if problem then",
    "    redis.pcall('DEL', key)",
    "    local is_denied = string.find(problem, 'ermissions to run', 1, true)",
    "        or string.find(problem, 't run this command', 1, true)",
    "    return is_denied and string.lower(call[1]) or answer",
    "  end",
    "end",
    "return ''",
);

/// Formats a lifetime in whole milliseconds, at most about three thousand years: Redis can still add
/// that to the current time.
pub(super) fn millis(time: Duration) -> Bytes {
    const MAX: u128 = 100_000_000_000_000;
    time.as_millis().min(MAX).to_string().into()
}
