//! Session ids.

use std::collections::HashSet;

use hyper_session::id::{SessionId, StoreKey};

const IDS: usize = 4096;

#[test]
fn ids_have_128_bits_and_none_repeats() {
    let ids: Vec<SessionId> = (0..IDS).map(|_| SessionId::generate().unwrap()).collect();
    let distinct: HashSet<&SessionId> = ids.iter().collect();
    assert_eq!(distinct.len(), IDS);
    // Each bit is set in about half of the ids: at most ten standard deviations, which are 32 ids, from
    // 2048. A bit without entropy is in none or in all.
    for bit in 0..8 * SessionId::LEN {
        let is_set = |id: &&SessionId| id.as_bytes()[bit / 8] >> (bit % 8) & 1 == 1;
        let count = ids.iter().filter(is_set).count();
        assert!(count.abs_diff(IDS / 2) < 320, "bit {bit} is set in {count}");
    }
    assert_eq!(8 * SessionId::LEN, 128);
}

#[test]
fn an_id_equals_itself_and_no_other() {
    let bytes = [7; SessionId::LEN];
    let id = SessionId::from_bytes(bytes);
    assert!(id == id.clone() && id.store_key() == id.clone().store_key());
    for at in 0..SessionId::LEN {
        let mut changed = bytes;
        changed[at] ^= 1;
        let other = SessionId::from_bytes(changed);
        assert!(id != other && id.store_key() != other.store_key(), "{at}");
    }
}

#[test]
fn a_store_key_is_a_hash_that_shows_no_id() {
    let id = SessionId::generate().unwrap();
    let key = id.store_key();
    let shown = format!("{id:?} {key:?} {key}");
    assert!(!shown.contains(&id.to_string()), "{shown}");
    let shares_bytes = key.as_bytes().windows(4).any(|part| {
        let mut parts = id.as_bytes().windows(4);
        parts.any(|other| other == part)
    });
    assert!(!shares_bytes && StoreKey::LEN == 32);
}
