use super::*;
use crate::store::{MAX_TAGS, Tag};

const KEY: StoreKey = StoreKey::from_bytes([7; StoreKey::LEN]);

fn encode_record(key: &StoreKey, version: Version, tags: &Tags, data: &[u8]) -> Bytes {
    let mut buffer = BytesMut::new();
    encode(key, version, (tags, 5), data, &mut buffer);
    assert_eq!(buffer.len(), encoded_len(tags, data));
    buffer.freeze()
}

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

fn tags(names: &[&str]) -> Tags {
    let mut tags = Tags::new();
    for name in names {
        tags.insert(&Tag::new(*name).unwrap()).unwrap();
    }
    tags
}

/// As many tags as a session can have, all of the maximum length.
fn most_tags() -> Tags {
    let names: Vec<String> = (0..MAX_TAGS)
        .map(|number| format!("{number:0256}"))
        .collect();
    tags(&names.iter().map(|name| &**name).collect::<Vec<_>>())
}

#[test]
fn every_byte_comes_back() {
    for tags in [Tags::new(), tags(&["a", "é\0"]), most_tags()] {
        for data in [&b""[..], b"\r\n\0hs2T", &[0xFF; 300]] {
            let value = encode_record(&KEY, version(u64::MAX), &tags, data);
            let Ok(ReadOutcome::Found(record)) = decode(&KEY, &value) else {
                panic!("the record was not found")
            };
            assert_eq!((&*record.data, record.version.get()), (data, u64::MAX));
            assert_eq!(record.tags, tags);
            let without_data = value.slice(..value.len() - data.len());
            let stored = decode_tags(&without_data).unwrap();
            assert_eq!(stored.version, u64::MAX.to_be_bytes());
            assert_eq!(stored.tags, tags);
            let until = if tags.is_empty() { 0 } else { 5 };
            assert_eq!(stored.indexed_until, until);
        }
    }
}

#[test]
fn a_record_without_tags_has_no_bytes_for_them() {
    let value = encode_record(&KEY, version(7), &Tags::new(), b"data");
    assert_eq!(value.len(), 18 + 4);
}

#[test]
fn one_flipped_bit_is_noticed_except_in_the_time_of_the_indexes() {
    for tags in [Tags::new(), tags(&["a", "b"])] {
        let value = encode_record(&KEY, version(7), &tags, b"data");
        let until = if tags.is_empty() { 18..18 } else { 18..26 };
        for bit in (0..value.len() * 8).filter(|bit| !until.contains(&(bit / 8))) {
            let mut damaged = value.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&KEY, &damaged.into()).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn a_value_that_is_cut_short_is_an_error() {
    for tags in [Tags::new(), tags(&["a", "b"])] {
        let value = encode_record(&KEY, version(7), &tags, b"data");
        for len in 0..value.len() {
            assert!(decode(&KEY, &value.slice(..len)).is_err(), "{len} bytes");
        }
    }
}

#[test]
fn a_foreign_value_is_not_reported_as_damaged() {
    for foreign in ["{}", "hs1R", "hs1T"] {
        let decoded = decode(&KEY, &foreign.into());
        assert!(
            matches!(decoded, Err(RedisError::ForeignValue)),
            "{foreign}"
        );
    }
    for (value, is_newer) in [("hs3R", true), ("hs3T", true), ("hs2R", false)] {
        let decoded = decode(&KEY, &value.into());
        match is_newer {
            true => assert!(matches!(decoded, Err(RedisError::NewerFormat))),
            false => assert!(matches!(decoded, Err(RedisError::DamagedRecord(_)))),
        }
    }
}

#[test]
fn a_version_of_zero_is_damage() {
    let mut value = encode_record(&KEY, version(1), &Tags::new(), b"").to_vec();
    value[15] = 0;
    let crc = checksum(&KEY, [0; 8], b"", b"").to_be_bytes();
    value[4..8].copy_from_slice(&crc);
    assert!(matches!(
        decode(&KEY, &value.into()),
        Err(RedisError::DamagedRecord(_))
    ));
}

#[test]
fn a_record_of_another_key_is_not_served() {
    let value = encode_record(&KEY, version(7), &Tags::new(), b"data");
    let other = StoreKey::from_bytes([8; StoreKey::LEN]);
    assert!(matches!(
        decode(&other, &value),
        Err(RedisError::DamagedRecord(_))
    ));
}
