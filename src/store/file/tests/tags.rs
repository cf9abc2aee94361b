//! What an answer about tags rests on.

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

/// Two who do the same at the same time: the second finds it done, but it is not durable yet.
#[test]
fn nobody_is_told_of_tags_before_they_are_durable() {
    let engine = open(&SimDisk::with(None), &clock()).unwrap();
    let (key, other) = ([1; StoreKey::LEN], [2; StoreKey::LEN]);
    let (key, other) = (StoreKey::from_bytes(key), StoreKey::from_bytes(other));
    let tag = Tag::new("user-7").unwrap();
    for key in [&key, &other] {
        let data = Bytes::from_static(b"{}");
        let done = engine.write(key, &data, Duration::from_secs(60), Expected::Any);
        assert!(done.is_ok());
    }
    engine.sync().unwrap();
    for _ in 0..2 {
        let (done, at) = engine.tag(&key, &tag).unwrap();
        assert!(done && !engine.is_durable(at));
    }
    let ((_, tagged), (_, tags)) = (
        engine.tagged(&tag).unwrap(),
        engine.live_tags(&key).unwrap(),
    );
    assert!(!engine.is_durable(tagged) && !engine.is_durable(tags));
    for _ in 0..2 {
        let ((), at) = engine.copy_tags(&key, &other).unwrap();
        assert!(!engine.is_durable(at));
    }
    engine.sync().unwrap();
    let (_, at) = engine.tag(&key, &tag).unwrap();
    assert!(engine.is_durable(at));
    let (_, at) = engine.tagged(&tag).unwrap();
    assert!(engine.is_durable(at));
    for _ in 0..2 {
        let ((), at) = engine.untag(&key, &tag).unwrap();
        assert!(!engine.is_durable(at));
    }
    engine.sync().unwrap();
    let ((), at) = engine.untag(&key, &tag).unwrap();
    assert!(engine.is_durable(at));
}
