//! Any reply of a Redis server. Parsing never panics, a batch gets one reply for each command, and no
//! error repeats what follows the code in the server's message.
#![no_main]

#[path = "../support/store/mod.rs"]
mod store;

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;
use fred::types::Resp3Frame;
use libfuzzer_sys::fuzz_target;
use store::redis::client::{Parsed, parse, split};

/// Session data in a server's message. It is no name of a command.
const SECRET: &str = " 5e55i0n data ";

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let _ = run(&mut input);
});

fn run(input: &mut Unstructured<'_>) -> Result<()> {
    let frame = frame(input, 3)?;
    check(&frame, &parse(frame.clone()));
    let reads = input.int_in_range(1..=4)?;
    let replies = split(reads, frame.clone());
    assert_eq!(replies.len(), reads);
    match &frame {
        Resp3Frame::Array { data, .. } if reads > 1 && data.len() == reads => {
            data.iter()
                .zip(&replies)
                .for_each(|(frame, reply)| check(frame, reply));
        }
        frame => replies.iter().for_each(|reply| check(frame, reply)),
    }
    Ok(())
}

/// Checks one reply against its frame.
fn check(frame: &Resp3Frame, reply: &Parsed) {
    if let Parsed::Final(error) = reply {
        let text = format!("{error} {error:?}");
        assert!(!text.contains("5e55i0n"), "{text}");
        return;
    }
    match (frame, reply) {
        (Resp3Frame::Null | Resp3Frame::Boolean { data: false, .. }, Parsed::Nil) => {}
        (Resp3Frame::Number { data, .. }, Parsed::Integer(int)) => assert_eq!(data, int),
        (
            Resp3Frame::BlobString { data, .. } | Resp3Frame::SimpleString { data, .. },
            Parsed::Bytes(bytes),
        ) => assert_eq!(data, bytes),
        (Resp3Frame::Array { data, .. }, Parsed::Array(items)) => {
            assert_eq!(data.len(), items.len());
            data.iter()
                .zip(items)
                .for_each(|(frame, reply)| check(frame, reply));
        }
        (Resp3Frame::Map { data, .. }, Parsed::Array(items)) => {
            assert_eq!(2 * data.len(), items.len());
        }
        // One error in a container is the error of the whole reply.
        (_, Parsed::Transient | Parsed::Moved) => assert!(has_error(frame)),
        (frame, _) => panic!("{frame:?} is another reply"),
    }
}

fn has_error(frame: &Resp3Frame) -> bool {
    match frame {
        Resp3Frame::SimpleError { .. } | Resp3Frame::BlobError { .. } => true,
        Resp3Frame::Array { data, .. } => data.iter().any(has_error),
        Resp3Frame::Map { data, .. } => data
            .iter()
            .any(|(key, value)| has_error(key) || has_error(value)),
        _ => false,
    }
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

/// Returns a message: a code, and session data somewhere after it.
fn message(input: &mut Unstructured<'_>) -> Result<String> {
    const STARTS: [&str; 11] = [
        "OOM command not allowed",
        "NOPERM User u has no permissions to run the 'get' command",
        "MOVED 3999 127.0.0.1:6381",
        "LOADING Redis is loading",
        "NOSCRIPT no",
        "WRONGTYPE key",
        "CROSSSLOT keys",
        "@user_script: 12: -OOM no memory",
        "ERR Error running script (call to f): @user_script: 12: -HSFOREIGN",
        "ERR The user executing the script can't run the 'set' command",
        "",
    ];
    let start = *input.choose(&STARTS)?;
    let middle = <&str>::arbitrary(input)?;
    let end = <&str>::arbitrary(input)?;
    Ok(format!("{start}{middle}{SECRET}{end}"))
}
