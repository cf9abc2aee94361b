//! Any reply of a Redis server. It is classified as a model classifies it, a batch gets one reply for each
//! command, and no error repeats what follows the code in the server's message.
#![no_main]

#[path = "../support/store/mod.rs"]
mod store;

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;
use fred::types::Resp3Frame;
use libfuzzer_sys::fuzz_target;
use store::redis::client::{
    Parsed, RedisError, ServerRejection, TransientError, is_no_script, must_send_alone, parse,
    split,
};

/// Session data in a server's message. It is no name of a command.
const SECRET: &str = " 5e55i0n data ";

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let _ = run(&mut input);
});

fn run(input: &mut Unstructured<'_>) -> Result<()> {
    let frame = frame(input, 3)?;
    check(&expected(&frame), &parse(frame.clone()));
    let reads = input.int_in_range(1..=4)?;
    let replies = split(reads, frame.clone());
    assert_eq!(replies.len(), reads);
    match &frame {
        Resp3Frame::Array { data, .. } if reads > 1 && data.len() == reads => {
            let replies = data.iter().zip(&replies);
            replies.for_each(|(frame, reply)| check(&expected(frame), reply));
        }
        frame => replies
            .iter()
            .for_each(|reply| check(&expected(frame), reply)),
    }
    let code = match &frame {
        Resp3Frame::SimpleError { data, .. } => Some(code(data)),
        _ => None,
    };
    assert_eq!(is_no_script(&frame), code == Some("NOSCRIPT"));
    let is_rejected = matches!(code, Some("CROSSSLOT" | "NOPERM"));
    let alone = [is_rejected, is_rejected || code == Some("ERR")];
    assert_eq!(must_send_alone(reads, &frame), alone);
    Ok(())
}

/// Compares a reply with that of the model.
fn check(expected: &Parsed, reply: &Parsed) {
    let text = format!("{reply:?}");
    assert_eq!(format!("{expected:?}"), text);
    if let Parsed::Final(error) = reply {
        let text = format!("{error} {text}");
        assert!(!text.contains("5e55i0n"), "{text}");
    }
}

/// Returns the reply that a frame is.
fn expected(frame: &Resp3Frame) -> Parsed {
    match frame {
        Resp3Frame::Null | Resp3Frame::Boolean { data: false, .. } => Parsed::Nil,
        Resp3Frame::Number { data, .. } => Parsed::Integer(*data),
        Resp3Frame::BlobString { data, .. } | Resp3Frame::SimpleString { data, .. } => {
            Parsed::Bytes(data.to_vec())
        }
        Resp3Frame::Array { data, .. } => array(data.iter()),
        Resp3Frame::Map { data, .. } => array(data.iter().flat_map(|(key, value)| [key, value])),
        Resp3Frame::SimpleError { data, .. } => error(data),
        Resp3Frame::BlobError { data, .. } => error(&String::from_utf8_lossy(data)),
        _ => Parsed::Final(RedisError::UnexpectedReply),
    }
}

/// Returns an array, or the first error in it.
fn array<'f>(frames: impl Iterator<Item = &'f Resp3Frame>) -> Parsed {
    let mut items: Vec<Parsed> = frames.map(expected).collect();
    let is_error = |item: &Parsed| {
        matches!(
            item,
            Parsed::Transient(_) | Parsed::Moved(_) | Parsed::Final(_)
        )
    };
    match items.iter().position(is_error) {
        Some(first) => items.swap_remove(first),
        None => Parsed::Array(items),
    }
}

fn error(message: &str) -> Parsed {
    let mut words = message.split([' ', '\r', '\n']);
    if words.next() == Some("MOVED")
        && message.as_bytes().get(5) == Some(&b' ')
        && let Some(address) = words.nth(1)
    {
        return Parsed::Moved(address.to_owned());
    }
    let code = code(message);
    let contains = |texts: &[&str]| texts.iter().any(|text| message.contains(text));
    let not_served = [
        "ttempted to access a non local key",
        "ttempted to access keys that do not hash to the same slot",
        " while the cluster is down",
    ];
    let denials = [
        "The user executing the script can't",
        "ACL failure in script",
    ];
    let rejection = match code {
        "LOADING" => return Parsed::Transient(TransientError::Loading),
        "READONLY" => return Parsed::Transient(TransientError::ReadOnly),
        "CLUSTERDOWN" => return Parsed::Transient(TransientError::ClusterDown),
        "TRYAGAIN" | "MOVED" | "ASK" => return Parsed::Transient(TransientError::Redirected),
        "MASTERDOWN" => return Parsed::Transient(TransientError::MasterDown),
        "BUSY" => return Parsed::Transient(TransientError::Busy),
        _ if contains(&not_served) => return Parsed::Transient(TransientError::Redirected),
        "WRONGTYPE" | "HSFOREIGN" => return Parsed::Final(RedisError::ForeignValue),
        "OOM" => ServerRejection::OutOfMemory,
        "MISCONF" => ServerRejection::Misconfigured,
        "NOREPLICAS" => ServerRejection::NoReplicas,
        "NOAUTH" | "WRONGPASS" | "NOPERM" => denied(code, message),
        _ if contains(&denials) => denied("NOPERM", message),
        _ => ServerRejection::Other(code.into()),
    };
    Parsed::Final(RedisError::Rejected(rejection))
}

/// Returns a rejection with the command in `to run the 'get' command`. A name has no other characters than
/// those of commands.
fn denied(code: &str, message: &str) -> ServerRejection {
    let mut quoted = message.splitn(2, "to run the '").skip(1);
    let command = quoted
        .next()
        .and_then(|rest| rest.find('\'').map(|end| &rest[..end]));
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '|' | '_' | '-' | '.');
    ServerRejection::Denied {
        code: code.into(),
        command: command
            .filter(|name| name.chars().all(is_name))
            .map(Into::into),
    }
}

/// Returns the code of an error: the first word, after the place in a script.
fn code(message: &str) -> &str {
    const SCRIPT: &str = "@user_script: ";
    let is_script = message.starts_with(SCRIPT) || message.starts_with("ERR Error running script ");
    let place = message
        .find(SCRIPT)
        .filter(|_| is_script)
        .map_or(0, |at| at + SCRIPT.len());
    let start = match message[place..].find(": -") {
        Some(at) if place > 0 => place + at + 3,
        _ => 0,
    };
    let word = message[start..]
        .split([' ', '\r', '\n'])
        .next()
        .expect("a word");
    let is_code = word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    if is_code { word } else { "ERR" }
}

fn frame(input: &mut Unstructured<'_>, depth: usize) -> Result<Resp3Frame> {
    let attributes = None;
    let kinds = if depth == 0 { 8 } else { 10 };
    Ok(match input.int_in_range(0..=kinds)? {
        0 => Resp3Frame::Null,
        1 => Resp3Frame::Boolean {
            data: bool::arbitrary(input)?,
            attributes,
        },
        2 => Resp3Frame::Number {
            data: i64::arbitrary(input)?,
            attributes,
        },
        3 => Resp3Frame::BlobString {
            data: bytes(input)?,
            attributes,
        },
        4 => Resp3Frame::SimpleString {
            data: bytes(input)?,
            attributes,
        },
        5 => Resp3Frame::Double {
            data: f64::arbitrary(input)?,
            attributes,
        },
        6..=7 => Resp3Frame::SimpleError {
            data: message(input)?.into(),
            attributes,
        },
        8 => Resp3Frame::BlobError {
            data: message(input)?.into(),
            attributes,
        },
        9 => Resp3Frame::Array {
            data: frames(input, depth - 1)?,
            attributes,
        },
        _ => {
            let keys = frames(input, 0)?.into_iter();
            let pairs = keys.zip(frames(input, depth - 1)?).collect();
            Resp3Frame::Map {
                data: pairs,
                attributes,
            }
        }
    })
}

fn frames(input: &mut Unstructured<'_>, depth: usize) -> Result<Vec<Resp3Frame>> {
    let count = input.int_in_range(0..=4)?;
    (0..count).map(|_| frame(input, depth)).collect()
}

fn bytes(input: &mut Unstructured<'_>) -> Result<Bytes> {
    Ok(Bytes::from(Vec::<u8>::arbitrary(input)?))
}

/// Returns a message: a code or another begin of a real message, and session data somewhere after it.
fn message(input: &mut Unstructured<'_>) -> Result<String> {
    const SCRIPTS: [&str; 4] = [
        "",
        "@user_script: 12: -",
        "ERR Error running script (call to f): @user_script: 12: -",
        "ERR Error running script (call to f): @user_script:12: @user_script: 12: -",
    ];
    const CODES: [&str; 20] = [
        "OOM",
        "NOPERM",
        "MOVED",
        "LOADING",
        "NOSCRIPT",
        "WRONGTYPE",
        "CROSSSLOT",
        "HSFOREIGN",
        "READONLY",
        "CLUSTERDOWN",
        "TRYAGAIN",
        "ASK",
        "MASTERDOWN",
        "BUSY",
        "MISCONF",
        "NOREPLICAS",
        "NOAUTH",
        "WRONGPASS",
        "ERR",
        "",
    ];
    const TEXTS: [&str; 10] = [
        "",
        " ",
        " 3999 127.0.0.1:6381",
        " User u has no permissions to run the 'get' command",
        " can't run the 'set' command",
        " The user executing the script can't run it to run the 'eval|ro' command",
        " ACL failure in script",
        " Script attempted to access a non local key in a cluster node",
        " attempted to access keys that do not hash to the same slot",
        " Can not execute a command 'get' while the cluster is down",
    ];
    let script = *input.choose(&SCRIPTS)?;
    let code = *input.choose(&CODES)?;
    let text = *input.choose(&TEXTS)?;
    let middle = <&str>::arbitrary(input)?;
    let end = <&str>::arbitrary(input)?;
    Ok(format!("{script}{code}{text}{middle}{SECRET}{end}"))
}
