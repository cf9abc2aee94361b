use super::*;

/// Returns keys of one bucket.
fn key(number: u8) -> StoreKey {
    let mut bytes = [7; StoreKey::LEN];
    bytes[1..].fill(number);
    StoreKey::from_bytes(bytes)
}

#[test]
fn keys_of_one_bucket_do_not_replace_each_other() {
    let table = KeyTable::new();
    for round in 0..3 {
        (1..=4).for_each(|number| table.insert(key(number), (round, number)));
    }
    for number in 1..=4 {
        assert_eq!(table.get(&key(number)), Some((2, number)));
    }
}

#[test]
fn a_full_bucket_drops_its_oldest_key() {
    let table = KeyTable::new();
    (1..=6).for_each(|number| table.insert(key(number), number));
    let found = (1..=6).map(|number| table.get(&key(number)));
    assert_eq!(
        found.collect::<Vec<_>>(),
        [None, None, Some(3), Some(4), Some(5), Some(6)]
    );
}

#[test]
fn a_value_that_is_kept_is_not_replaced() {
    let table = KeyTable::new();
    table.insert_unless(key(1), 1, |_| true);
    table.insert_unless(key(1), 2, |known| known == 1);
    assert_eq!(table.get(&key(1)), Some(1));
    table.insert_unless(key(1), 3, |known| known != 1);
    assert_eq!(table.get(&key(1)), Some(3));
}

#[test]
fn a_removed_key_leaves_the_others() {
    let table = KeyTable::new();
    (1..=3).for_each(|number| table.insert(key(number), number));
    table.remove(&key(2));
    table.remove(&key(9));
    let found = (1..=3).map(|number| table.get(&key(number)));
    assert_eq!(found.collect::<Vec<_>>(), [Some(1), None, Some(3)]);
}
