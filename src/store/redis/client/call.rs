//! What is asked, and what is answered.

use bytes::Bytes;
use fred::types::Resp3Frame;

use crate::store::redis::{Fault, RedisError, Refusal};

/// A script and the digest under which servers know it.
pub(in crate::store::redis) struct Script {
    source: Bytes,
    digest: Bytes,
}

impl Script {
    pub(in crate::store::redis) fn new(source: &'static str) -> Self {
        Self {
            digest: fred::util::sha1_hash(source).into(),
            source: Bytes::from_static(source.as_bytes()),
        }
    }
}

/// A command: its name, its arguments, and the key that says where in a cluster it goes.
#[derive(Clone)]
pub(in crate::store::redis) struct Call {
    pub(super) name: &'static str,
    pub(super) key: Bytes,
    pub(super) args: Vec<Bytes>,
}

impl Call {
    /// A command whose first argument is its key.
    pub(in crate::store::redis) fn new(name: &'static str, args: Vec<Bytes>) -> Self {
        let key = args.first().cloned().unwrap_or_default();
        Self { name, key, args }
    }

    /// Waits until `replicas` replicas have all that its connection wrote to the node of `key`.
    pub(in crate::store::redis) fn wait(replicas: u32, millis: u128, key: Bytes) -> Self {
        Self {
            name: "WAIT",
            key,
            args: vec![replicas.to_string().into(), millis.to_string().into()],
        }
    }

    /// A script on one key.
    pub(in crate::store::redis) fn script(
        script: &Script,
        key: Bytes,
        args: impl IntoIterator<Item = Bytes>,
    ) -> Self {
        let head = [script.digest.clone(), Bytes::from_static(b"1"), key.clone()];
        Self {
            name: "EVALSHA",
            key,
            args: head.into_iter().chain(args).collect(),
        }
    }

    /// The same with the script's source, for a server that does not know it.
    pub(in crate::store::redis) fn with_source(mut self, script: &Script) -> Self {
        self.name = "EVAL";
        if let Some(digest) = self.args.first_mut() {
            *digest = script.source.clone();
        }
        self
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
#[derive(Debug)]
pub(in crate::store::redis) enum Miss {
    /// Another attempt may fare better. `sent`: this one may have been carried out all the same.
    Fault { fault: Fault, sent: bool },
    /// The server does not know the script.
    NoScript,
    /// Another attempt would end the same way.
    Final(RedisError),
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
        return Miss::Fault { fault, sent: false };
    }
    let refusal = match code {
        "NOSCRIPT" => return Miss::NoScript,
        "WRONGTYPE" | "HSFOREIGN" => return Miss::Final(RedisError::Foreign),
        "OOM" => Refusal::OutOfMemory,
        "MISCONF" => Refusal::Misconfigured,
        "NOREPLICAS" => Refusal::NoReplicas,
        code => denied(code).unwrap_or_else(|| Refusal::Other(code.into())),
    };
    Miss::Final(RedisError::Refused(refusal))
}

/// The code at the head of an error message; what follows may hold arguments, so data.
pub(super) fn code(message: &str) -> &str {
    let word = message.split([' ', '\r', '\n']).next().unwrap_or_default();
    let is_code = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
    if word.bytes().all(is_code) {
        word
    } else {
        "ERR"
    }
}

/// What another attempt may fare better than, by its code.
pub(super) fn fault_named(code: &str) -> Option<Fault> {
    Some(match code {
        "LOADING" => Fault::Loading,
        "READONLY" => Fault::ReadOnly,
        "CLUSTERDOWN" => Fault::ClusterDown,
        "TRYAGAIN" | "MOVED" | "ASK" => Fault::Redirected,
        "MASTERDOWN" => Fault::MasterDown,
        "BUSY" => Fault::Busy,
        _ => return None,
    })
}

/// The refusal of a user, by its code.
pub(super) fn denied(code: &str) -> Option<Refusal> {
    matches!(code, "NOAUTH" | "WRONGPASS" | "NOPERM").then(|| Refusal::Denied(code.into()))
}
