//! Any bytes as the value of a key in Redis. No made-up value is a record, an encoded record is read
//! unchanged, and a changed one is refused.
#![no_main]

// The codec is private. It names the types below by these paths.
use bytes::{Bytes, BytesMut};
use hyper_session::{
    id, store,
    store::{ReadOutcome, Tag, Tags, Version, redis::RedisError},
};
use libfuzzer_sys::fuzz_target;

// rustfmt would look for its unit tests beside this file.
#[rustfmt::skip]
#[path = "../../src/store/redis/record.rs"]
mod record;

/// The bytes of the time in a tag block, which the checksum excludes.
const INDEXED_UNTIL: std::ops::Range<usize> = 18..26;

// Input: a byte for the tags, two for the place of a change, one for the change, then data. The whole
// input is also a value.
fuzz_target!(|input: &[u8]| {
    let key = id::SessionId::from_bytes([7; 16]).store_key();
    let value = Bytes::copy_from_slice(input);
    let read = record::decode(&key, &value);
    assert!(!matches!(
        read,
        Ok(ReadOutcome::Found(_) | ReadOutcome::Absent)
    ));
    assert_eq!(matches!(read, Ok(ReadOutcome::Gone)), input == b"hs2T");
    let _ = record::decode_tags(&value);

    let [tag_count, at, at_high, change, data @ ..] = input else {
        return;
    };
    let tags = tags(*tag_count % 65, data);
    let version = Version::new(u64::from(*change) + 1).expect("not zero");
    let mut encoded = BytesMut::new();
    record::encode(&key, version, (&tags, 17), data, &mut encoded);
    assert_eq!(encoded.len(), record::encoded_len(&tags, data));
    check(&key, encoded.clone().freeze(), |read| match read {
        Ok(ReadOutcome::Found(found)) => {
            assert_eq!((&*found.data, found.version), (data, version));
            assert_eq!(found.tags, tags);
        }
        other => panic!("{other:?}"),
    });
    let stored = record::decode_tags(&encoded.clone().freeze()).expect("tags");
    assert_eq!(
        (&stored.tags, stored.version),
        (&tags, version.get().to_be_bytes())
    );
    assert_eq!(stored.indexed_until, if tags.is_empty() { 0 } else { 17 });

    let other = id::SessionId::from_bytes([8; 16]).store_key();
    check(&other, encoded.clone().freeze(), |read| {
        assert!(read.is_err())
    });
    let at = usize::from(u16::from_le_bytes([*at, *at_high])) % encoded.len();
    encoded[at] ^= (*change).max(1);
    let may_open = !tags.is_empty() && INDEXED_UNTIL.contains(&at);
    check(&key, encoded.freeze(), |read| {
        assert_eq!(read.is_ok(), may_open)
    });
});

fn check(key: &id::StoreKey, value: Bytes, rule: impl FnOnce(Result<ReadOutcome, RedisError>)) {
    rule(record::decode(key, &value));
    let _ = record::decode_tags(&value);
}

/// Returns `count` tags, whose names depend on the data.
fn tags(count: u8, data: &[u8]) -> Tags {
    let mut tags = Tags::new();
    for number in 0..count {
        let len = data
            .get(usize::from(number))
            .map_or(3, |byte| usize::from(*byte));
        let tag = Tag::new(format!("{number}{}", "x".repeat(len.min(250)))).expect("short");
        tags.insert(&tag).expect("at most 64");
    }
    tags
}
