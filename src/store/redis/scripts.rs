//! The scripts: what Redis does as one step that no command of its own does.
//!
//! The layout of a record is told in [`super::record`], that of a tag block in [`super::tags`].
//! Redis runs a script whole or not at all for everyone else.

use std::sync::LazyLock;

use super::client::Script;

/// What the scripts have in common.
///
/// `mark` is what stands under the key: `R`, `T` for a tombstone, or nothing. Anything else ends
/// the script with the error `HSFOREIGN`.
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
            // Whether the tags' indexes must be kept longer for a record that lives for `ttl`.
            "local function due(head, ttl)\n",
            "  if #head < 26 or tags_len(head) < 8 then return false end\n",
            "  return now() + 2 * ttl > struct.unpack('>I8', string.sub(head, 19, 26))\n",
            "end\n",
        )
    };
}

/// A script on one key.
macro_rules! script {
    ($($source:literal),+ $(,)?) => {
        LazyLock::new(|| Script::new(concat!(
            "local key = KEYS[1]\n",
            common!(),
            $($source, "\n"),+
        )))
    };
}

/// A script that does the same to each of its keys, and answers with an array of what it has to
/// say of each. The source is the body of a function of `key` and its own arguments, all of which
/// are texts.
///
/// No error ends it halfway, since then it could not be told what was done; so commands that may
/// fail are run by `try`, and what is an error goes into the array. A replica's refusal is all that
/// is answered: it holds for all keys alike, and the client takes note of it.
///
/// Lines before a second `;` come before all that, for what is done most often and needs none of it:
/// they end the script with the one answer to all keys, or fill in `answers` where they have one.
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
            // Redis 6.2 says before it in which line of the script.
            "    local _, code = failed(answer) and string.find(answer.err, 'READONLY ', 1, true)\n",
            "    if code then return {err = string.sub(answer.err, code - 8)} end\n",
            "    answers[i] = answer\n",
            "  end\n",
            "end\n",
            "return answers\n",
        )))
    };
}

/// Compares and sets. Arguments: what is expected to stand where a record has its version and the
/// length of its tags, that is, the version and two zero bytes (none: no record; `*`: any record or
/// none), the new record without tags, its lifetime in ms.
///
/// Answers 1, or 2 when the tags' indexes are due for longer keeping: written; the record that
/// stands there instead; 0: gone. A record that has the new version already was written by an
/// earlier attempt of this very write.
pub(super) static WRITE: LazyLock<Script> = script_for_each!(
    "expected, new, ttl";
    // Where the version is as expected, without tags, nothing else needs a look. Texts for numbers,
    // and `PSETEX` for `SET`, since these lines are most of what a write costs the server.
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

/// Reads, and sets the lifetime of a live record to that of the argument, in ms. Answers what is
/// there; inside an array when the tags' indexes are due for longer keeping.
pub(super) static READ_AND_TOUCH: LazyLock<Script> = script_for_each!(
    "ttl";
    "local value = try('GET', key)",
    "if not value or failed(value) or string.sub(value, 1, 4) ~= 'hs1R' then return value end",
    "local done = try('PEXPIRE', key, ttl)",
    "if failed(done) then return done end",
    "if due(string.sub(value, 1, 26), tonumber(ttl)) then return {value} end",
    "return value",
);

/// Sets the lifetime of a live record to that of the argument, in ms. Answers 0 where there is none,
/// else 1, or 2 when the tags' indexes are due for longer keeping.
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

/// What is there, and how long it lives yet, in ms.
pub(super) static READ_FOR_KEEPING: LazyLock<Script> =
    script!("return {redis.call('GET', key), redis.call('PTTL', key)}",);

/// Destroys when memory is full: what frees memory first may then take some. `ARGV`: the
/// tombstone, its time in ms. Answers what was there.
pub(super) static DESTROY: LazyLock<Script> = script!(
    "local value = redis.call('GET', key)",
    "redis.call('DEL', key)",
    "redis.call('SET', key, ARGV[1], 'PX', ARGV[2])",
    "return value",
);

/// The tag block of a live record, the time, and how long the record lives yet, both in ms; nothing
/// where there is no live record.
pub(super) static TAGS: LazyLock<Script> = script!(
    "local head = redis.call('GETRANGE', key, '0', '25')",
    "local mark = look(key, head)",
    "if mark == nil then return redis.error_reply(foreign) end",
    "if mark ~= 'R' then return false end",
    "local len, block = tags_len(head), ''",
    "if len > 0 then block = redis.call('GETRANGE', key, 18, 17 + len) end",
    "return {block, now(), redis.call('PTTL', key)}",
);

/// Compares and sets the tag block. `ARGV`: the block that is expected, the new one. Answers 1:
/// set; 0: there is another block or no live record.
pub(super) static RETAG: LazyLock<Script> = script!(
    "local value = redis.call('GET', key)",
    "if not value or look(key, string.sub(value, 1, 26)) ~= 'R' then return 0 end",
    "local len = tags_len(value)",
    "if string.sub(value, 19, 18 + len) ~= ARGV[1] then return 0 end",
    "local size = string.char(math.floor(#ARGV[2] / 256), #ARGV[2] % 256)",
    "value = string.sub(value, 1, 16) .. size .. ARGV[2] .. string.sub(value, 19 + len)",
    "redis.call('SET', key, value, 'KEEPTTL')",
    "return 1",
);

/// Lists a session under a tag for at least `ARGV[2]` ms more, by its member `ARGV[1]`. Answers some
/// members whose time has passed.
pub(super) static LIST: LazyLock<Script> = script!(
    "local life, at = tonumber(ARGV[2]), now()",
    "redis.call('ZADD', key, at + life, ARGV[1])",
    "if redis.call('PTTL', key) < life then redis.call('PEXPIRE', key, ARGV[2]) end",
    "return redis.call('ZRANGEBYSCORE', key, '-inf', at, 'LIMIT', 0, 4)",
);
