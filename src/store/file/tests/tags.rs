//! The log position that an answer about tags depends on.

use std::time::Duration;

use bytes::Bytes;

use super::{
    disk::SimDisk,
    workload::{clock, open},
};
use crate::{
    id::StoreKey,
    store::{Expected, Tag},
};

/// If a tag exists already, another call may have set it a moment ago, so it may not be durable yet.
#[test]
fn answers_about_tags_wait_until_the_tags_are_durable() {
    let engine = open(&SimDisk::with_fault(None), &clock()).unwrap();
    let (key, other) = ([1; StoreKey::LEN], [2; StoreKey::LEN]);
    let (key, other) = (StoreKey::from_bytes(key), StoreKey::from_bytes(other));
    let tag = Tag::new("user-7").unwrap();
    for key in [&key, &other] {
        let data = Bytes::from_static(b"{}");
        let written = engine.write(key, &data, Duration::from_secs(60), Expected::Any);
        assert!(written.is_ok());
    }
    engine.log.sync().unwrap();
    for _ in 0..2 {
        let (tagged, position) = engine.tag(&key, &tag).unwrap();
        assert!(tagged && !engine.log.is_durable(position));
    }
    let ((_, keys_position), (_, tags_position)) = (
        engine.tagged(&tag).unwrap(),
        engine.live_tags(&key).unwrap(),
    );
    assert!(!engine.log.is_durable(keys_position));
    assert!(!engine.log.is_durable(tags_position));
    for _ in 0..2 {
        let ((), position) = engine.copy_tags(&key, &other).unwrap();
        assert!(!engine.log.is_durable(position));
    }
    engine.log.sync().unwrap();
    let (_, position) = engine.tag(&key, &tag).unwrap();
    assert!(engine.log.is_durable(position));
    let (_, position) = engine.tagged(&tag).unwrap();
    assert!(engine.log.is_durable(position));
    for _ in 0..2 {
        let ((), position) = engine.untag(&key, &tag).unwrap();
        assert!(!engine.log.is_durable(position));
    }
    engine.log.sync().unwrap();
    let ((), position) = engine.untag(&key, &tag).unwrap();
    assert!(engine.log.is_durable(position));
}
