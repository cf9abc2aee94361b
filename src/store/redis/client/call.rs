//! What is asked, and what is answered.

use bytes::Bytes;
use fred::types::{Resp3Frame, Value};
use smallvec::SmallVec;

use crate::store::redis::{RedisError, ServerRejection, TransientError};

/// A script and the digest under which servers know it.
pub(in crate::store::redis) struct Script {
    source: Bytes,
    digest: Bytes,
    /// It takes any number of keys, and answers with an array of one answer for each.
    for_each: bool,
}

impl Script {
    /// A script on one key.
    pub(in crate::store::redis) fn new(source: &'static str) -> Self {
        Self {
            digest: fred::util::sha1_hash(source).into(),
            source: Bytes::from_static(source.as_bytes()),
            for_each: false,
        }
    }

    /// A script on any number of keys, each with as many arguments, which answers with an array of
    /// one answer for each.
    pub(in crate::store::redis) fn for_each(source: &'static str) -> Self {
        Self {
            for_each: true,
            ..Self::new(source)
        }
    }
}

/// What a call asks for.
#[derive(Clone, Copy)]
enum What {
    Get,
    /// A command of Redis whose first argument is its key.
    Command(&'static str),
    /// One without a key.
    Keyless(&'static str),
    Script(&'static Script),
}

/// A command: what it asks for, its arguments, and the key that says where in a cluster it goes.
pub(in crate::store::redis) struct Call {
    what: What,
    pub(super) key: Bytes,
    /// Those besides the key.
    args: SmallVec<[Bytes; 3]>,
}

impl Call {
    /// A command whose first argument is its key.
    pub(in crate::store::redis) fn new(
        name: &'static str,
        key: Bytes,
        args: impl IntoIterator<Item = Bytes>,
    ) -> Self {
        Self::of(What::Command(name), key, args)
    }

    pub(in crate::store::redis) fn get(key: Bytes) -> Self {
        Self::of(What::Get, key, [])
    }

    pub(in crate::store::redis) fn script(
        script: &'static Script,
        key: Bytes,
        args: impl IntoIterator<Item = Bytes>,
    ) -> Self {
        Self::of(What::Script(script), key, args)
    }

    /// Waits until `replicas` replicas have all that its connection wrote to the node of `key`.
    pub(in crate::store::redis) fn wait(replicas: u32, millis: u128, key: Bytes) -> Self {
        let args = [replicas.to_string().into(), millis.to_string().into()];
        Self::of(What::Keyless("WAIT"), key, args)
    }

    fn of(what: What, key: Bytes, args: impl IntoIterator<Item = Bytes>) -> Self {
        let args = args.into_iter().collect();
        Self { what, key, args }
    }

    /// Whether it can be asked together with others.
    pub(super) const fn joins(&self) -> bool {
        self.is_get() || self.is_for_each()
    }

    pub(super) const fn is_get(&self) -> bool {
        matches!(self.what, What::Get)
    }

    /// Whether it can be asked together with `other`.
    pub(super) fn joins_with(&self, other: &Self) -> bool {
        match (self.what, other.what) {
            (What::Get, What::Get) => true,
            (What::Script(one), What::Script(two)) => one.for_each && std::ptr::eq(one, two),
            _ => false,
        }
    }

    const fn is_for_each(&self) -> bool {
        matches!(self.what, What::Script(script) if script.for_each)
    }

    /// The bytes that it takes along.
    pub(super) fn size(&self) -> usize {
        self.key.len() + self.args.iter().map(Bytes::len).sum::<usize>()
    }
}

/// How a script is named to the server.
#[derive(Clone, Copy)]
pub(super) enum By {
    Digest,
    Source,
}

/// The one command that asks for all of `calls`, which join with each other: its name and arguments.
pub(super) fn command(calls: &[Call], by: By) -> (&'static str, Vec<Value>) {
    let count: usize = calls.iter().map(|call| 1 + call.args.len()).sum();
    let mut values = Vec::with_capacity(2 + count);
    let keys = calls.iter().map(|call| call.key.clone()).map(Value::Bytes);
    let args = calls.iter().flat_map(|call| call.args.iter().cloned());
    let args = args.map(Value::Bytes);
    let name = match calls.first().map(|call| call.what) {
        Some(What::Get) | None => {
            values.extend(keys);
            if calls.len() > 1 { "MGET" } else { "GET" }
        }
        Some(What::Command(name)) => {
            values.extend(keys.chain(args));
            name
        }
        Some(What::Keyless(name)) => {
            values.extend(args);
            name
        }
        Some(What::Script(script)) => {
            let (name, text) = match by {
                By::Digest => ("EVALSHA", &script.digest),
                By::Source => ("EVAL", &script.source),
            };
            let head = [text.clone(), calls.len().to_string().into()];
            values.extend(head.map(Value::Bytes));
            values.extend(keys.chain(args));
            name
        }
    };
    (name, values)
}

/// What the server's answer says to each of `calls`.
pub(super) fn replies(calls: &[Call], frame: Resp3Frame) -> Vec<Result<Reply, Miss>> {
    let for_each = calls.len() > 1 || calls.iter().any(Call::is_for_each);
    match frame {
        Resp3Frame::Array { data, .. } if for_each && data.len() == calls.len() => {
            data.into_iter().map(reply).collect()
        }
        frame => calls.iter().map(|_| reply(frame.clone())).collect(),
    }
}

/// What the server answered.
#[derive(Debug)]
pub(in crate::store::redis) enum Reply {
    Nothing,
    Number(i64),
    Bytes(Bytes),
    List(Vec<Reply>),
}

/// Why an attempt has no answer.
#[derive(Clone, Debug)]
pub(in crate::store::redis) enum Miss {
    /// Another attempt may fare better. `sent`: this one may have been carried out all the same.
    TransientError { fault: TransientError, sent: bool },
    /// Another attempt would end the same way.
    Final(RedisError),
}

/// Whether the server does not know the script, and so has done nothing.
pub(super) fn is_no_script(frame: &Resp3Frame) -> bool {
    matches!(frame, Resp3Frame::SimpleError { data, .. } if code(data) == "NOSCRIPT")
}

/// Whether the server has refused `calls` together, has done nothing, and may take each by itself: one
/// that is part of a cluster, and one whose user may not run `MGET`.
pub(super) fn wants_single(calls: &[Call], frame: &Resp3Frame) -> bool {
    let Resp3Frame::SimpleError { data, .. } = frame else {
        return false;
    };
    match code(data) {
        "CROSSSLOT" => true,
        "NOPERM" => calls.iter().all(Call::is_get),
        _ => false,
    }
}

/// The reply that a frame is.
pub(super) fn reply(frame: Resp3Frame) -> Result<Reply, Miss> {
    Ok(match frame {
        Resp3Frame::Null => Reply::Nothing,
        // What a script's `false` is in RESP3.
        Resp3Frame::Boolean { data: false, .. } => Reply::Nothing,
        Resp3Frame::Number { data, .. } => Reply::Number(data),
        Resp3Frame::BlobString { data, .. } | Resp3Frame::SimpleString { data, .. } => {
            Reply::Bytes(data)
        }
        Resp3Frame::Array { data, .. } => {
            Reply::List(data.into_iter().map(reply).collect::<Result<_, _>>()?)
        }
        Resp3Frame::SimpleError { data, .. } => return Err(said(&data)),
        Resp3Frame::BlobError { data, .. } => return Err(said(&String::from_utf8_lossy(&data))),
        _ => return Err(Miss::Final(RedisError::Unexpected)),
    })
}

/// What an error that the server answered means. The command was not carried out.
fn said(message: &str) -> Miss {
    let code = code(message);
    if let Some(fault) = fault_named(code) {
        return Miss::TransientError { fault, sent: false };
    }
    let refusal = match code {
        "WRONGTYPE" | "HSFOREIGN" => return Miss::Final(RedisError::Foreign),
        "OOM" => ServerRejection::OutOfMemory,
        "MISCONF" => ServerRejection::Misconfigured,
        "NOREPLICAS" => ServerRejection::NoReplicas,
        code => denied(code).unwrap_or_else(|| ServerRejection::Other(code.into())),
    };
    Miss::Final(RedisError::Refused(refusal))
}

/// The code at the head of an error message; what follows may hold arguments, so data.
///
/// What a script meets, Redis 6.2 tells behind the place in it: `@user_script: 12: -OOM …`, and all
/// that behind `ERR Error running script …` where the script ends with it.
pub(super) fn code(message: &str) -> &str {
    let is_placed = ["@user_script: ", "ERR Error running script "];
    let message = match message.split_once("@user_script: ") {
        Some((_, place)) if is_placed.iter().any(|head| message.starts_with(head)) => {
            place.split_once(": -").map_or(message, |(_, said)| said)
        }
        _ => message,
    };
    let word = message.split([' ', '\r', '\n']).next().unwrap_or_default();
    let is_code = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
    if word.bytes().all(is_code) {
        word
    } else {
        "ERR"
    }
}

/// What another attempt may fare better than, by its code.
pub(super) fn fault_named(code: &str) -> Option<TransientError> {
    Some(match code {
        "LOADING" => TransientError::Loading,
        "READONLY" => TransientError::ReadOnly,
        "CLUSTERDOWN" => TransientError::ClusterDown,
        "TRYAGAIN" | "MOVED" | "ASK" => TransientError::Redirected,
        "MASTERDOWN" => TransientError::MasterDown,
        "BUSY" => TransientError::Busy,
        _ => return None,
    })
}

/// The refusal of a user, by its code.
pub(super) fn denied(code: &str) -> Option<ServerRejection> {
    matches!(code, "NOAUTH" | "WRONGPASS" | "NOPERM").then(|| ServerRejection::Denied(code.into()))
}

#[cfg(test)]
mod tests;
