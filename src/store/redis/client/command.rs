//! Commands and scripts, and their encoding for the server.

use std::sync::LazyLock;

use bytes::Bytes;
use fred::types::Value;
use smallvec::SmallVec;

use crate::store::redis::outage::Access;

/// A script, and the digest under which servers cache it.
pub(in crate::store::redis) struct Script {
    source: Bytes,
    digest: Bytes,
    /// The script takes any number of keys and returns an array of one answer for each.
    for_each: bool,
    access: Access,
}

impl Script {
    /// Makes a script on one key.
    pub(in crate::store::redis) fn new(access: Access, source: &'static str) -> Self {
        Self {
            access,
            digest: fred::util::sha1_hash(source).into(),
            source: Bytes::from_static(source.as_bytes()),
            for_each: false,
        }
    }

    /// Makes a script on any number of keys, each with the same number of arguments. The script
    /// returns an array of one answer for each key.
    pub(in crate::store::redis) fn for_each(access: Access, source: &'static str) -> Self {
        Self {
            for_each: true,
            ..Self::new(access, source)
        }
    }
}

/// The `GET` of many keys in different slots.
static GET_EACH: LazyLock<Script> = LazyLock::new(|| {
    Script::for_each(
        Access::Read,
        "local values = {}\n\
         for i = 1, tonumber(ARGV[1]) do values[i] = redis.pcall('GET', ARGV[i + 1]) end\n\
         return values\n",
    )
});

/// The kind of a command.
#[derive(Clone, Copy)]
enum CommandKind {
    Get,
    /// A write whose first argument is its key.
    Keyed(&'static str),
    /// A command without a key.
    Keyless(&'static str),
    Script(&'static Script),
    /// A script that is sent with its source.
    ScriptSource(&'static Script),
}

/// A command: its kind, its arguments, and the key that determines its node in a cluster.
pub(in crate::store::redis) struct RedisCommand {
    kind: CommandKind,
    key: Bytes,
    /// The arguments besides the key.
    args: SmallVec<[Bytes; 3]>,
}

impl RedisCommand {
    /// Makes a write whose first argument is its key.
    pub(in crate::store::redis) fn new(
        name: &'static str,
        key: Bytes,
        args: impl IntoIterator<Item = Bytes>,
    ) -> Self {
        Self::from_parts(CommandKind::Keyed(name), key, args)
    }

    pub(in crate::store::redis) fn get(key: Bytes) -> Self {
        Self::from_parts(CommandKind::Get, key, [])
    }

    pub(in crate::store::redis) fn script(
        script: &'static Script,
        key: Bytes,
        args: impl IntoIterator<Item = Bytes>,
    ) -> Self {
        Self::from_parts(CommandKind::Script(script), key, args)
    }

    /// Makes a command that always sends the source of its script.
    pub(in crate::store::redis) fn script_source(script: &'static Script, key: Bytes) -> Self {
        Self::from_parts(CommandKind::ScriptSource(script), key, [])
    }

    /// Makes a `WAIT` for `replicas` replicas to have everything that its connection wrote.
    pub(in crate::store::redis) fn wait(replicas: u32, millis: u128) -> Self {
        Self::keyless(
            "WAIT",
            [replicas.to_string().into(), millis.to_string().into()],
        )
    }

    /// Makes a command that runs a script without keys on one server.
    pub(in crate::store::redis) fn keyless_script<const N: usize>(
        source: &'static str,
        args: [Bytes; N],
    ) -> Self {
        let head = [source, "0"].map(|arg| Bytes::from_static(arg.as_bytes()));
        Self::keyless("EVAL", head.into_iter().chain(args))
    }

    /// Makes a `SCAN` of one server.
    pub(in crate::store::redis) fn scan(cursor: &Bytes, pattern: &Bytes, count: &Bytes) -> Self {
        let [pattern_name, count_name] = [&b"MATCH"[..], b"COUNT"].map(Bytes::from_static);
        let args = [cursor, &pattern_name, pattern, &count_name, count];
        Self::keyless("SCAN", args.map(Bytes::clone))
    }

    fn from_parts(kind: CommandKind, key: Bytes, args: impl IntoIterator<Item = Bytes>) -> Self {
        let args = args.into_iter().collect();
        Self { kind, key, args }
    }

    /// Makes a command without a key, for one server.
    pub(super) fn keyless(name: &'static str, args: impl IntoIterator<Item = Bytes>) -> Self {
        Self::from_parts(CommandKind::Keyless(name), Bytes::new(), args)
    }

    /// Makes a command without a key, for the server of `key`.
    pub(in crate::store::redis) fn keyless_at(
        key: Bytes,
        name: &'static str,
        args: &[&'static str],
    ) -> Self {
        let args = args.iter().map(|arg| Bytes::from_static(arg.as_bytes()));
        Self::from_parts(CommandKind::Keyless(name), key, args)
    }

    pub(in crate::store::redis) const fn key(&self) -> &Bytes {
        &self.key
    }

    pub(in crate::store::redis) const fn access(&self) -> Access {
        match self.kind {
            CommandKind::Get | CommandKind::Keyless(_) => Access::Read,
            CommandKind::Keyed(_) => Access::Write,
            CommandKind::Script(script) | CommandKind::ScriptSource(script) => script.access,
        }
    }

    /// Returns `true` if the command returns a record.
    pub(super) const fn reads(&self) -> bool {
        matches!(self.access(), Access::Read | Access::ReadAndTouch)
    }

    /// Returns `true` if the command can be part of a batch.
    pub(super) const fn is_batchable(&self) -> bool {
        self.is_get() || self.is_for_each()
    }

    pub(super) const fn is_get(&self) -> bool {
        matches!(self.kind, CommandKind::Get)
    }

    /// Returns `true` if the command and `other` can be in the same batch.
    pub(super) fn batches_with(&self, other: &Self) -> bool {
        match (self.kind, other.kind) {
            (CommandKind::Get, CommandKind::Get) => true,
            (CommandKind::Script(one), CommandKind::Script(two)) => {
                one.for_each && std::ptr::eq(one, two)
            }
            _ => false,
        }
    }

    pub(super) const fn is_for_each(&self) -> bool {
        matches!(self.kind, CommandKind::Script(script) if script.for_each)
    }

    /// Returns the number of bytes of the key and the arguments.
    pub(super) fn size(&self) -> usize {
        self.key.len() + self.args.iter().map(Bytes::len).sum::<usize>()
    }
}

/// The way in which a command refers to its script.
#[derive(Clone, Copy)]
pub(super) enum ScriptRef {
    Digest,
    Source,
}

/// The slots of the keys of a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum BatchSlots {
    /// The server has no slots, or the keys are in one.
    One,
    /// A server of a cluster rejects a command with keys in different slots. A script may use them if
    /// they are arguments and not keys, and if the server has all of the slots.
    Many,
}

/// Merges commands that batch with each other into one; returns its name and arguments.
pub(super) fn encode(
    commands: &[RedisCommand],
    script_ref: ScriptRef,
    slots: BatchSlots,
) -> (&'static str, Vec<Value>) {
    let count: usize = commands.iter().map(|one| 1 + one.args.len()).sum();
    let mut values = Vec::with_capacity(3 + count);
    let has_keys_in_args = slots == BatchSlots::Many && commands.len() > 1;
    let keys = commands.iter().map(|one| Value::Bytes(one.key.clone()));
    let args = commands.iter().flat_map(|one| one.args.iter().cloned());
    let args = args.map(Value::Bytes);
    let kind = match commands.first().map(|one| one.kind) {
        Some(CommandKind::Get) if has_keys_in_args => Some(CommandKind::Script(&GET_EACH)),
        kind => kind,
    };
    let name = match kind {
        Some(CommandKind::Get) | None => {
            values.extend(keys);
            if commands.len() > 1 { "MGET" } else { "GET" }
        }
        Some(CommandKind::Keyed(name)) => {
            values.extend(keys.chain(args));
            name
        }
        Some(CommandKind::Keyless(name)) => {
            values.extend(args);
            name
        }
        Some(kind @ (CommandKind::Script(script) | CommandKind::ScriptSource(script))) => {
            let (name, text) = match (kind, script_ref) {
                (CommandKind::Script(_), ScriptRef::Digest) => ("EVALSHA", &script.digest),
                _ => ("EVAL", &script.source),
            };
            let count = Bytes::from(commands.len().to_string());
            values.push(Value::Bytes(text.clone()));
            if has_keys_in_args {
                values.push(Value::Bytes(Bytes::from_static(b"0")));
            }
            values.push(Value::Bytes(count));
            values.extend(keys.chain(args));
            name
        }
    };
    (name, values)
}
