//! Lua scripts: atomic steps that no single Redis command does.
//!
//! [`super::record`] describes the format of a record, [`super::tag_block`] that of a tag block.
//! Redis runs a script atomically.

use std::sync::LazyLock;

use super::client::Script;

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
            "  if mark == 'hs1R' and #head >= 18 then return 'R' end\n",
            "  if head == 'hs1T' then return 'T' end\n",
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
        )
    };
}

/// Makes a script on one key.
macro_rules! script {
    ($($source:literal),+ $(,)?) => {
        LazyLock::new(|| Script::new(concat!(
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
/// Lines before a second `;` are a fast path that runs first. They end the script with one answer
/// for all keys, or fill in the `answers` that they have.
macro_rules! script_for_each {
    ($args:literal; $($source:literal),+ $(,)?) => {
        script_for_each!($args; ""; $($source),+)
    };
    ($args:literal; $($first:literal),+; $($source:literal),+ $(,)?) => {
        LazyLock::new(|| Script::for_each(concat!(
            "local try, keys, args, answers = redis.pcall, KEYS, ARGV, {}\n",
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

/// Compares the version of a record and replaces the record.
///
/// Arguments: the expected bytes 8 to 17 of a record without tags, which are the version and two zero
/// bytes (empty: no record; `*`: any record or none); the new record without tags; its lifetime in
/// ms.
///
/// Returns 1 if it wrote the record, or 2 if the tag indexes must be extended too. Returns 0 if the
/// session is gone. On a conflict, returns the current record. A record that has the new version already
/// was written by an earlier attempt of the same write.
pub(super) static WRITE: LazyLock<Script> = script_for_each!(
    "expected, new, ttl";
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
    "local function set(value)",
    "  local done",
    "  if ttl == '0' then done = try('DEL', key) else done = try('SET', key, value, 'PX', ttl) end",
    "  return failed(done) and done or 1",
    "end",
    "local head = try('GETRANGE', key, '0', '25')",
    "if failed(head) then return head end",
    "local mark = look(key, head)",
    "if mark == 'T' then return 0 end",
    "if mark == nil then return redis.error_reply(foreign) end",
    "if mark == '' then",
    "  if #expected == 10 then return 0 end",
    "  return set(new)",
    "end",
    "local version, len = string.sub(head, 9, 16), tags_len(head)",
    "if version == string.sub(new, 9, 16) then return 1 end",
    "if expected ~= '*' and string.sub(expected, 1, 8) ~= version then return try('GET', key) end",
    "if len == 0 then return set(new) end",
    "local tags = string.sub(head, 17, 18) .. redis.call('GETRANGE', key, 18, 17 + len)",
    "local done = set(string.sub(new, 1, 16) .. tags .. string.sub(new, 19))",
    "if done == 1 and due(head, tonumber(ttl)) then return 2 end",
    "return done",
);

/// Reads a value, and sets the lifetime of a live record to the argument, in ms.
///
/// Returns the value; wrapped in an array if the tag indexes must be extended.
pub(super) static READ_AND_TOUCH: LazyLock<Script> = script_for_each!(
    "ttl";
    "local value = try('GET', key)",
    "if not value or failed(value) or string.sub(value, 1, 4) ~= 'hs1R' then return value end",
    "local done = try('PEXPIRE', key, ttl)",
    "if failed(done) then return done end",
    "if due(string.sub(value, 1, 26), tonumber(ttl)) then return {value} end",
    "return value",
);

/// Sets the lifetime of a live record to the argument, in ms.
///
/// Returns 0 if there is no live record, else 1, or 2 if the tag indexes must be extended.
pub(super) static TOUCH: LazyLock<Script> = script_for_each!(
    "ttl";
    "local head = try('GETRANGE', key, '0', '25')",
    "if failed(head) then return head end",
    "local mark = look(key, head)",
    "if mark == nil then return redis.error_reply(foreign) end",
    "if mark ~= 'R' then return 0 end",
    "local done = try('PEXPIRE', key, ttl)",
    "if failed(done) then return done end",
    "if due(head, tonumber(ttl)) then return 2 end",
    "return 1",
);

/// Returns the value and its remaining lifetime in ms.
pub(super) static READ_WITH_TTL: LazyLock<Script> =
    script!("return {redis.call('GET', key), redis.call('PTTL', key)}",);

/// Destroys a session when memory is full. It frees the record first, so that there is memory for
/// the tombstone. `ARGV`: the tombstone, its lifetime in ms. Returns the old value.
pub(super) static DESTROY: LazyLock<Script> = script!(
    "local value = redis.call('GET', key)",
    "redis.call('DEL', key)",
    "redis.call('SET', key, ARGV[1], 'PX', ARGV[2])",
    "return value",
);

/// Returns the tag block of a live record, the time, and the record's remaining lifetime, both in
/// ms; nil if there is no live record.
pub(super) static READ_TAGS: LazyLock<Script> = script!(
    "local head = redis.call('GETRANGE', key, '0', '25')",
    "local mark = look(key, head)",
    "if mark == nil then return redis.error_reply(foreign) end",
    "if mark ~= 'R' then return false end",
    "local len, block = tags_len(head), ''",
    "if len > 0 then block = redis.call('GETRANGE', key, 18, 17 + len) end",
    "return {block, now(), redis.call('PTTL', key)}",
);

/// Compares the tag block of a record and replaces it. `ARGV`: the expected block, the new one.
///
/// Returns 1 if it replaced the block, 0 if there is another block or no live record.
pub(super) static REPLACE_TAGS: LazyLock<Script> = script!(
    "local value = redis.call('GET', key)",
    "if not value or look(key, string.sub(value, 1, 26)) ~= 'R' then return 0 end",
    "local len = tags_len(value)",
    "if string.sub(value, 19, 18 + len) ~= ARGV[1] then return 0 end",
    "local size = string.char(math.floor(#ARGV[2] / 256), #ARGV[2] % 256)",
    "value = string.sub(value, 1, 16) .. size .. ARGV[2] .. string.sub(value, 19 + len)",
    "redis.call('SET', key, value, 'KEEPTTL')",
    "return 1",
);

/// Adds the member `ARGV[1]` to a tag's index for at least `ARGV[2]` ms. Returns some members that
/// have expired.
pub(super) static ADD_TO_INDEX: LazyLock<Script> = script!(
    "local life, at = tonumber(ARGV[2]), now()",
    "redis.call('ZADD', key, at + life, ARGV[1])",
    "if redis.call('PTTL', key) < life then redis.call('PEXPIRE', key, ARGV[2]) end",
    "return redis.call('ZRANGEBYSCORE', key, '-inf', at, 'LIMIT', 0, 4)",
);
