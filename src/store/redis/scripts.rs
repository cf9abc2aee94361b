//! The scripts: what Redis does as one step that no command of its own does.
//!
//! Each works on one key. The layout of a record is told in [`super::record`], that of a tag block
//! in [`super::tags`]. Redis runs a script whole or not at all for everyone else.

use std::sync::LazyLock;

use super::client::Script;

/// A script with what the scripts have in common; lines before `;` come before that, for what is
/// done most often and needs none of it.
///
/// `mark` is what stands under the key: `R`, `T` for a tombstone, or nothing. Anything else ends
/// the script with the error `HSFOREIGN`.
macro_rules! script {
    ($($first:literal),+; $($source:literal),+ $(,)?) => {
        LazyLock::new(|| Script::new(concat!(
            "local key = KEYS[1]\n",
            $($first, "\n",)+
            "local function look(head)\n",
            "  local mark = string.sub(head, 1, 4)\n",
            "  if mark == 'hs1R' and #head >= 18 then return 'R' end\n",
            "  if head == 'hs1T' then return 'T' end\n",
            "  if head == '' and redis.call('EXISTS', key) == 0 then return '' end\n",
            "  return nil\n",
            "end\n",
            "local foreign = 'HSFOREIGN not a session record'\n",
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
            $($source, "\n"),+
        )))
    };
    ($($source:literal),+ $(,)?) => {
        script!(""; $($source),+)
    };
}

/// Compares and sets. `ARGV`: the expected version (8 bytes; none: no record; `*`: any record or
/// none), the new record without tags, its lifetime in ms.
///
/// Answers 1, or 2 when the tags' indexes are due for longer keeping: written; the record that
/// stands there instead; 0: gone. A record that has the new version already was written by an
/// earlier attempt of this very write.
pub(super) static WRITE: LazyLock<Script> = script!(
    "local head = redis.call('GETRANGE', key, 0, 25)",
    // The version is as expected, there are no tags, and the lifetime is not zero.
    "if string.sub(head, 9, 16) == ARGV[1] and string.sub(head, 17, 18) == '\\0\\0'",
    "    and string.sub(head, 1, 4) == 'hs1R' and ARGV[3] ~= '0' then",
    "  redis.call('SET', key, ARGV[2], 'PX', ARGV[3])",
    "  return 1",
    "end";
    "local mark = look(head)",
    "local tags = ''",
    "if mark == 'R' then",
    "  local version = string.sub(head, 9, 16)",
    "  if version == string.sub(ARGV[2], 9, 16) then return 1 end",
    "  if ARGV[1] ~= '*' and ARGV[1] ~= version then return redis.call('GET', key) end",
    "  local len = tags_len(head)",
    "  if len > 0 then tags = redis.call('GETRANGE', key, 18, 17 + len) end",
    "elseif mark == 'T' then return 0",
    "elseif mark == nil then return redis.error_reply(foreign)",
    "elseif #ARGV[1] == 8 then return 0 end",
    "if ARGV[3] == '0' then redis.call('DEL', key) return 1 end",
    "if tags == '' then redis.call('SET', key, ARGV[2], 'PX', ARGV[3]) return 1 end",
    "local value = string.sub(ARGV[2], 1, 16) .. string.sub(head, 17, 18) .. tags",
    "redis.call('SET', key, value .. string.sub(ARGV[2], 19), 'PX', ARGV[3])",
    "if due(head, tonumber(ARGV[3])) then return 2 end",
    "return 1",
);

/// Reads, and sets the lifetime of a live record to `ARGV[1]` ms. Answers what is there; inside an
/// array when the tags' indexes are due for longer keeping.
pub(super) static READ_AND_TOUCH: LazyLock<Script> = script!(
    "local value = redis.call('GET', key)",
    "if not value or string.sub(value, 1, 4) ~= 'hs1R' then return value end",
    "redis.call('PEXPIRE', key, ARGV[1])",
    "if due(string.sub(value, 1, 26), tonumber(ARGV[1])) then return {value} end",
    "return value",
);

/// What is there, and how long it lives yet, in ms.
pub(super) static READ_FOR_KEEPING: LazyLock<Script> =
    script!("return {redis.call('GET', key), redis.call('PTTL', key)}",);

/// Sets the lifetime of a live record to `ARGV[1]` ms. Answers 0 where there is none, else 1, or 2
/// when the tags' indexes are due for longer keeping.
pub(super) static TOUCH: LazyLock<Script> = script!(
    "local head = redis.call('GETRANGE', key, 0, 25)",
    "local mark = look(head)",
    "if mark == nil then return redis.error_reply(foreign) end",
    "if mark ~= 'R' then return 0 end",
    "redis.call('PEXPIRE', key, ARGV[1])",
    "if due(head, tonumber(ARGV[1])) then return 2 end",
    "return 1",
);

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
    "local head = redis.call('GETRANGE', key, 0, 25)",
    "local mark = look(head)",
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
    "if not value or look(string.sub(value, 1, 26)) ~= 'R' then return 0 end",
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
