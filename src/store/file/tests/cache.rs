use bytes::Bytes;

use super::super::log::cache::RecordCache;
use crate::{
    id::StoreKey,
    store::{Record, Tag, Tags, Version},
};

fn key(number: u16) -> StoreKey {
    let mut bytes = [0; StoreKey::LEN];
    bytes[1..3].copy_from_slice(&number.to_le_bytes());
    StoreKey::from_bytes(bytes)
}

fn record(version: u64, len: usize) -> Record {
    let mut tags = Tags::new();
    tags.insert(&Tag::new("user-7").unwrap()).unwrap();
    Record::new(Bytes::from(vec![7; len]), Version::new(version).unwrap()).tags(tags)
}

#[test]
fn a_record_is_found_under_its_version_only() {
    let cache = RecordCache::new(1 << 20);
    cache.put(&key(1), record(5, 10));
    assert_eq!(cache.get(&key(1), 5), Some(record(5, 10)));
    assert_eq!(cache.get(&key(1), 4), None);
    cache.put(&key(1), record(6, 20));
    assert_eq!(cache.get(&key(1), 5), None);
    cache.remove(&key(1));
    assert_eq!(cache.get(&key(1), 6), None);
}

#[test]
fn the_oldest_go_when_there_is_no_room() {
    let cache = RecordCache::new(1 << 20);
    for number in 0..10_000 {
        cache.put(&key(number), record(1, 1000));
    }
    let kept: usize = (0..10_000)
        .filter(|number| cache.get(&key(*number), 1).is_some())
        .count();
    assert!((500..1048).contains(&kept), "{kept} are kept");
    assert!(cache.get(&key(9_999), 1).is_some());
    assert!(cache.get(&key(0), 1).is_none());
}

#[test]
fn a_record_too_large_for_the_cache_leaves_the_others_there() {
    let cache = RecordCache::new(1 << 20);
    cache.put(&key(64), record(1, 100));
    cache.put(&key(128), record(1, 10_000));
    assert!(cache.get(&key(64), 1).is_some());
    assert!(cache.get(&key(128), 1).is_none());
}

#[test]
fn a_cache_of_no_bytes_keeps_nothing() {
    let cache = RecordCache::new(0);
    cache.put(&key(1), record(1, 1));
    assert_eq!(cache.get(&key(1), 1), None);
}

#[test]
fn a_record_in_a_buffer_of_its_own_is_not_copied() {
    let cache = RecordCache::new(1 << 20);
    let is_shared_with = |buffer: &Bytes| {
        let record = cache.get(&key(1), 5).unwrap();
        assert_eq!(record.data, buffer);
        record.data.as_ptr() == buffer.as_ptr()
    };
    let put = |data: Bytes| {
        let record = Record::new(data, Version::new(5).unwrap());
        cache.put_owned(&key(1), record);
    };
    let own = Bytes::from(vec![7; 100]);
    let address = own.as_ptr();
    put(own);
    assert_eq!(cache.get(&key(1), 5).unwrap().data.as_ptr(), address);
    // Another user of the buffer keeps it.
    let used = Bytes::from(vec![8; 100]);
    put(used.clone());
    assert!(!is_shared_with(&used));
    // The rest of the buffer is unused.
    let mut large = Vec::with_capacity(1_000);
    large.extend([9; 100]);
    let address = large.as_ptr();
    put(large.into());
    assert_ne!(cache.get(&key(1), 5).unwrap().data.as_ptr(), address);
    let part = Bytes::from(vec![3; 1_000]).slice(900..);
    let address = part.as_ptr();
    put(part);
    let cached = cache.get(&key(1), 5).unwrap().data;
    assert_eq!(cached, vec![3; 100]);
    assert_ne!(cached.as_ptr(), address);
}

#[test]
fn a_cache_of_no_bytes_does_not_keep_a_buffer() {
    let cache = RecordCache::new(0);
    cache.put_owned(&key(1), record(1, 1));
    assert_eq!(cache.get(&key(1), 1), None);
}
