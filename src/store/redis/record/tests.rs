use super::*;

const KEY: StoreKey = StoreKey::from_bytes([7; StoreKey::LEN]);

fn encode_record(key: &StoreKey, version: Version, data: &[u8]) -> Bytes {
    let mut buffer = BytesMut::new();
    encode(key, version, data, &mut buffer);
    buffer.freeze()
}

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

#[test]
fn every_byte_comes_back() {
    for data in [&b""[..], b"\r\n\0hs1T", &[0xFF; 300]] {
        let value = encode_record(&KEY, version(u64::MAX), data);
        let Ok(ReadOutcome::Found(record)) = decode(&KEY, &value) else {
            panic!("the record was not found")
        };
        assert_eq!((&*record.data, record.version.get()), (data, u64::MAX));
    }
}

#[test]
fn one_flipped_bit_is_noticed_wherever_it_is_but_in_the_tags() {
    let value = encode_record(&KEY, version(7), b"data");
    for bit in (0..value.len() * 8).filter(|bit| bit / 8 != 16 && bit / 8 != 17) {
        let mut damaged = value.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&KEY, &damaged.into()).is_err(), "bit {bit}");
    }
}

#[test]
fn a_value_that_is_cut_short_is_an_error() {
    let value = encode_record(&KEY, version(7), b"data");
    for len in 0..value.len() {
        assert!(decode(&KEY, &value.slice(..len)).is_err(), "{len} bytes");
    }
}

#[test]
fn a_foreign_value_is_not_reported_as_damaged() {
    assert!(matches!(
        decode(&KEY, &"{}".into()),
        Err(RedisError::ForeignValue)
    ));
    assert!(matches!(
        decode(&KEY, &"hs1R".into()),
        Err(RedisError::DamagedRecord(_))
    ));
}

#[test]
fn a_version_of_zero_is_damage() {
    let mut value = encode_record(&KEY, version(1), b"").to_vec();
    value[15] = 0;
    let crc = checksum(&KEY, [0; 8], b"").to_be_bytes();
    value[4..8].copy_from_slice(&crc);
    assert!(matches!(
        decode(&KEY, &value.into()),
        Err(RedisError::DamagedRecord(_))
    ));
}

#[test]
fn a_record_of_another_key_is_not_served() {
    let value = encode_record(&KEY, version(7), b"data");
    let other = StoreKey::from_bytes([8; StoreKey::LEN]);
    assert!(matches!(
        decode(&other, &value),
        Err(RedisError::DamagedRecord(_))
    ));
}
