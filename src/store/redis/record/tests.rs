use super::*;

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

#[test]
fn every_byte_comes_back() {
    for data in [&b""[..], b"\r\n\0hs1T", &[0xFF; 300]] {
        let value = encode(version(u64::MAX), data);
        let Ok(Read::Found(record)) = decode(&value) else {
            panic!("it was not found")
        };
        assert_eq!((&*record.data, record.version.get()), (data, u64::MAX));
    }
}

#[test]
fn one_flipped_bit_is_noticed_wherever_it_is_but_in_the_tags() {
    let value = encode(version(7), b"data");
    for bit in (0..value.len() * 8).filter(|bit| bit / 8 != 16 && bit / 8 != 17) {
        let mut damaged = value.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&damaged.into()).is_err(), "bit {bit}");
    }
}

#[test]
fn a_value_that_is_cut_short_is_an_error() {
    let value = encode(version(7), b"data");
    for len in 0..value.len() {
        assert!(decode(&value.slice(..len)).is_err(), "{len} bytes");
    }
}

#[test]
fn a_foreign_value_is_told_from_a_damaged_one() {
    assert!(matches!(decode(&"{}".into()), Err(RedisError::Foreign)));
    assert!(matches!(
        decode(&"hs1R".into()),
        Err(RedisError::Damaged(_))
    ));
}

#[test]
fn a_version_of_zero_is_damage() {
    let mut value = encode(version(1), b"").to_vec();
    value[15] = 0;
    let crc = checksum([0; 8], b"").to_be_bytes();
    value[4..8].copy_from_slice(&crc);
    assert!(matches!(decode(&value.into()), Err(RedisError::Damaged(_))));
}
