//! The memory store beyond the contract: its limits, its statistics, and freeing memory without
//! calls.
use std::{
    collections::HashSet,
    error::Error,
    future::{Future, poll_fn},
    pin::Pin,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper_session::{
    clock::{Clock, Timestamp},
    id::{SessionId, StoreKey},
    store::{
        Expected, Expiry, MemoryStore, ReadOutcome, Store, Tag, TagStore, Tags, Version,
        WriteOutcome, WriteRequest, memory::StoreFull,
    },
};
use tokio::runtime;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn clock() -> Clock {
    Clock::manual(Timestamp::from_millis(1_700_000_000_000))
}

fn new_key() -> StoreKey {
    SessionId::generate().unwrap().store_key()
}

async fn put(store: &MemoryStore, key: &StoreKey, len: usize, ttl: Duration) -> Version {
    put_tagged(store, key, len, ttl, Tags::new()).await
}

async fn put_tagged(
    store: &MemoryStore,
    key: &StoreKey,
    len: usize,
    expiry: impl Into<Expiry>,
    tags: Tags,
) -> Version {
    let data = Bytes::from(vec![b'x'; len]);
    let request = WriteRequest::new(key, data, expiry, Expected::Any).tags(tags);
    match store.write(request).await.unwrap() {
        WriteOutcome::Done(version) => version,
        other => panic!("a plain write returned {other:?}"),
    }
}

fn tags(name: &str) -> Tags {
    let mut tags = Tags::new();
    tags.insert(&Tag::new(name).unwrap()).unwrap();
    tags
}

async fn is_live(store: &MemoryStore, key: &StoreKey) -> bool {
    matches!(store.read(key, None).await.unwrap(), ReadOutcome::Found(_))
}

#[tokio::test]
async fn a_clone_is_the_same_store() {
    let (store, key) = (MemoryStore::new(), new_key());
    put(&store.clone(), &key, 3, HOUR).await;
    assert!(is_live(&store, &key).await);
}

#[tokio::test]
async fn a_read_copies_no_data() {
    let (store, key, data) = (MemoryStore::new(), new_key(), Bytes::from(vec![1; 1000]));
    let address = data.as_ptr();
    let tags = tags("user");
    let tags_address = tags.as_bytes().as_ptr();
    let request = WriteRequest::new(&key, data, HOUR, Expected::Any).tags(tags);
    store.write(request).await.unwrap();
    let ReadOutcome::Found(record) = store.read(&key, None).await.unwrap() else {
        panic!("the record was just written");
    };
    assert_eq!(record.data.as_ptr(), address);
    assert_eq!(record.tags.as_bytes().as_ptr(), tags_address);
}

#[tokio::test]
async fn the_store_knows_its_own_size() {
    let clock = clock();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let (one, other) = (new_key(), new_key());
    put(&store, &one, 100, HOUR).await;
    put(&store, &other, 50, HOUR).await;
    put_tagged(&store, &one, 70, Expiry::Keep, tags("abc")).await;
    store.destroy(&other).await.unwrap();
    let stats = store.stats();
    assert_eq!((stats.records, stats.tombstones, stats.bytes), (1, 1, 74));

    clock.advance(HOUR);
    assert_eq!(store.sweep(), 2);
    let stats = store.stats();
    assert_eq!((stats.records, stats.tombstones, stats.bytes), (0, 0, 0));
    assert_eq!(
        (stats.expired, stats.evicted, stats.tombstones_evicted),
        (1, 0, 0)
    );
}

#[tokio::test]
async fn the_number_of_records_is_limited_and_the_first_to_expire_goes() {
    let store = MemoryStore::builder().clock(clock()).max_records(4).build();
    let keys: Vec<StoreKey> = (0..4).map(|_| new_key()).collect();
    for (age, key) in keys.iter().enumerate() {
        put(&store, key, 1, HOUR + SECOND * age as u32).await;
    }
    store.touch(&keys[0], HOUR * 2).await.unwrap();
    let late = new_key();
    put(&store, &late, 1, SECOND).await;
    assert!(
        !is_live(&store, &keys[1]).await,
        "the first that would have expired is evicted"
    );
    for key in [&keys[0], &keys[2], &keys[3], &late] {
        assert!(is_live(&store, key).await);
    }
    let stats = store.stats();
    assert_eq!((stats.records, stats.evicted), (4, 1));
}

#[tokio::test]
async fn expired_records_make_room_before_live_ones() {
    let clock = clock();
    let store = MemoryStore::builder()
        .clock(clock.clone())
        .max_records(4)
        .build();
    let keys: Vec<StoreKey> = (0..4).map(|_| new_key()).collect();
    for key in &keys {
        put(&store, key, 1, HOUR).await;
    }
    put(&store, &keys[2], 1, SECOND).await;
    clock.advance(SECOND);
    put(&store, &new_key(), 1, HOUR).await;
    for key in [&keys[0], &keys[1], &keys[3]] {
        assert!(is_live(&store, key).await);
    }
    assert_eq!((store.stats().evicted, store.stats().expired), (0, 1));
}

/// It could be live again if the clock were set back.
#[tokio::test]
async fn a_read_removes_the_expired_record_that_it_finds() {
    let clock = clock();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let tag = Tag::new("ada").unwrap();
    for touch in [None, Some(HOUR)] {
        let (key, live) = (new_key(), new_key());
        let mut tags = Tags::new();
        tags.insert(&tag).unwrap();
        let request = WriteRequest::new(&key, "x", SECOND, Expected::Absent).tags(tags);
        store.write(request).await.unwrap();
        put(&store, &live, 1, HOUR).await;
        let before = store.stats();
        clock.advance(SECOND);
        let outcome = store.read(&key, touch).await.unwrap();
        assert_eq!(outcome, ReadOutcome::Absent);
        assert!(is_live(&store, &live).await);
        let after = store.stats();
        assert_eq!(after.records + 1, before.records);
        assert_eq!(after.expired, before.expired + 1);
        assert!(store.tagged(&tag).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn bytes_are_limited_also_when_a_record_grows() {
    let store = MemoryStore::builder()
        .clock(clock())
        .max_bytes(1000)
        .build();
    let keys: Vec<StoreKey> = (0..100).map(|_| new_key()).collect();
    for key in &keys {
        put(&store, key, 10, HOUR).await;
    }
    assert_eq!((store.stats().bytes, store.stats().evicted), (1000, 0));
    put(&store, &keys[7], 510, HOUR).await;
    let stats = store.stats();
    assert!(
        is_live(&store, &keys[7]).await,
        "the record just written stays"
    );
    assert_eq!((stats.bytes, stats.evicted), (1000, 50));
}

#[tokio::test]
async fn a_record_larger_than_the_whole_store_is_an_error_and_changes_nothing() {
    let store = MemoryStore::builder().max_bytes(1000).build();
    let key = new_key();
    put(&store, &key, 1000, HOUR).await;
    for (len, tags) in [(1001, Tags::new()), (997, tags("abc"))] {
        let request = WriteRequest::new(&key, vec![0; len], HOUR, Expected::Any).tags(tags);
        let error = store.write(request).await.unwrap_err();
        assert_eq!((error.store(), error.operation()), ("memory", "write"));
        let text = format!("{error:?}");
        assert!(text.contains("1001") && text.contains("1000"), "{text}");
        assert!(is_live(&store, &key).await);
        assert!(error.source().is_some());
    }
}

/// Writes a record. Returns the error if the store is full.
async fn try_put(store: &MemoryStore, key: &StoreKey, data: &'static str) -> Result<(), StoreFull> {
    let request = WriteRequest::new(key, data, HOUR, Expected::Any);
    let Err(error) = store.write(request).await else {
        return Ok(());
    };
    let source = error.source().unwrap();
    Err(*source.downcast_ref::<StoreFull>().unwrap())
}

#[tokio::test]
async fn a_store_that_refuses_records_when_it_is_full_evicts_none() {
    let clock = clock();
    let builder = MemoryStore::builder().clock(clock.clone()).max_records(2);
    let store = builder.max_bytes(10).refuse_when_full(true).build();
    assert!(!store.capabilities().evicts && MemoryStore::new().capabilities().evicts);
    let (first, second, third) = (new_key(), new_key(), new_key());
    try_put(&store, &first, "12345").await.unwrap();
    try_put(&store, &second, "1234").await.unwrap();
    let full = try_put(&store, &third, "").await.unwrap_err();
    assert_eq!((full.records, full.max_records), (2, 2));
    assert_eq!((full.bytes, full.max_bytes), (9, 10));
    try_put(&store, &second, "12345").await.unwrap();
    assert!(try_put(&store, &second, "123456").await.is_err());
    try_put(&store, &second, "54321").await.unwrap();
    try_put(&store, &second, "1").await.unwrap();
    assert!(try_put(&store, &third, "").await.is_err());
    assert!(is_live(&store, &first).await && is_live(&store, &second).await);
    store.destroy(&first).await.unwrap();
    try_put(&store, &third, "123456789").await.unwrap();
    assert_eq!(store.stats().evicted, 0);
}

#[tokio::test]
async fn refused_records_free_the_expired_ones() {
    let clock = clock();
    let builder = MemoryStore::builder().clock(clock.clone()).max_records(2);
    let store = builder.refuse_when_full(true).build();
    put(&store, &new_key(), 1, SECOND).await;
    put(&store, &new_key(), 1, SECOND).await;
    clock.advance(SECOND);
    let (key, mut refused) = (new_key(), 0);
    while try_put(&store, &key, "x").await.is_err() {
        refused += 1;
        assert!(refused <= 64, "the expired records stay");
    }
    assert_eq!((store.stats().records, store.stats().expired), (1, 2));
}

/// Data whose destructor writes another record.
struct WritesWhenDropped(MemoryStore, StoreKey);

impl AsRef<[u8]> for WritesWhenDropped {
    fn as_ref(&self) -> &[u8] {
        b"data"
    }
}

impl Drop for WritesWhenDropped {
    fn drop(&mut self) {
        let request = WriteRequest::new(&self.1, "x", HOUR, Expected::Any);
        drop(self.0.write(request));
    }
}

#[tokio::test]
async fn the_destructor_of_an_evicted_record_may_use_the_store() {
    let store = MemoryStore::builder().clock(clock()).max_records(1).build();
    let (evicted, second, third) = (new_key(), new_key(), new_key());
    let data = Bytes::from_owner(WritesWhenDropped(store.clone(), third));
    let request = WriteRequest::new(&evicted, data, HOUR, Expected::Any);
    store.write(request).await.unwrap();
    put(&store, &second, 1, HOUR).await;
    assert!(is_live(&store, &third).await);
    assert_eq!((store.stats().records, store.stats().evicted), (1, 2));
}

#[tokio::test]
async fn an_evicted_session_leaves_its_tags() {
    let store = MemoryStore::builder().clock(clock()).max_records(1).build();
    let (tag, first, second) = (Tag::new("user").unwrap(), new_key(), new_key());
    put_tagged(&store, &first, 1, HOUR, tags("user")).await;
    put(&store, &second, 1, HOUR).await;
    put(&store, &first, 1, HOUR).await;
    assert_eq!(store.tagged(&tag).await.unwrap(), []);
    assert_eq!(store.stats().bytes, 1);
}

#[tokio::test]
async fn tombstones_are_not_evicted_for_records() {
    let store = MemoryStore::builder()
        .clock(clock())
        .max_records(10)
        .build();
    let destroyed: Vec<StoreKey> = (0..100).map(|_| new_key()).collect();
    for key in &destroyed {
        put(&store, key, 1, HOUR).await;
        store.destroy(key).await.unwrap();
    }
    for _ in 0..1000 {
        put(&store, &new_key(), 1, HOUR).await;
    }
    for key in &destroyed {
        assert_eq!(store.read(key, None).await.unwrap(), ReadOutcome::Gone);
    }
    assert_eq!((store.stats().records, store.stats().tombstones), (10, 100));
}

#[tokio::test]
async fn tombstones_have_a_limit_of_their_own() {
    let clock = clock();
    let store = MemoryStore::builder()
        .clock(clock.clone())
        .max_tombstones(10)
        .build();
    let survivor = new_key();
    put(&store, &survivor, 1, HOUR).await;
    for _ in 0..50 {
        let (written, unknown) = (new_key(), new_key());
        put(&store, &written, 1, HOUR).await;
        store.destroy(&written).await.unwrap();
        store.destroy(&unknown).await.unwrap();
        assert_eq!(
            store.read(&unknown, None).await.unwrap(),
            ReadOutcome::Gone,
            "the newest tombstone is never evicted"
        );
        clock.advance(Duration::from_millis(1));
    }
    let stats = store.stats();
    assert_eq!(
        (stats.records, stats.tombstones, stats.tombstones_evicted),
        (1, 10, 90)
    );
    assert!(
        is_live(&store, &survivor).await,
        "no record is evicted for a tombstone"
    );
}

#[tokio::test]
async fn without_tombstone_time_the_store_claims_no_fence() {
    let (store, key) = (
        MemoryStore::builder().tombstone_ttl(Duration::ZERO).build(),
        new_key(),
    );
    assert!(!store.capabilities().tombstones && store.capabilities().conditional_writes);
    store.destroy(&key).await.unwrap();
    put(&store, &key, 1, HOUR).await;
}

#[test]
fn without_a_runtime_new_records_sweep_out_old_ones() {
    let clock = clock();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    let write = |ttl| {
        let request = WriteRequest::new(&new_key(), "x", ttl, Expected::Absent);
        drop(store.write(request));
    };
    for _ in 0..1000 {
        write(SECOND);
    }
    clock.advance(SECOND);
    for _ in 0..1100 {
        write(HOUR);
    }
    assert_eq!(store.stats().expired, 1000);
}

#[tokio::test]
async fn a_tag_of_many_sessions_is_listed_in_parts() {
    let store = MemoryStore::new();
    let mut keys = HashSet::new();
    for _ in 0..5_000 {
        let key = new_key();
        put_tagged(&store, &key, 10, HOUR, tags("user")).await;
        keys.insert(key);
    }
    let tag = Tag::new("user").unwrap();
    let mut tagged = store.tagged(&tag);
    let mut polls = 1;
    let found = poll_fn(|cx| {
        let poll = Pin::new(&mut tagged).poll(cx);
        polls += usize::from(poll.is_pending());
        poll
    });
    let found = found.await.unwrap();
    assert_eq!(found.len(), 5_000, "each is listed once");
    assert_eq!(HashSet::from_iter(found), keys);
    assert!(
        polls > 5_000 / 256,
        "other tasks run meanwhile: {polls} polls"
    );
}

#[test]
fn keys_data_and_tags_are_not_shown() {
    let (store, key) = (MemoryStore::new(), new_key());
    let request = WriteRequest::new(&key, "secret", HOUR, Expected::Any);
    drop(store.write(request.tags(tags("someone"))));
    let text = format!("{store:?} {:?}", MemoryStore::builder());
    assert!(text.contains("records: 1"), "{text}");
    for secret in ["secret", "someone", &key.to_string()[..8]] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn a_store_is_swept_without_timers_and_while_its_runtime_is_not_polled() {
    let runtime = runtime::Builder::new_current_thread().build().unwrap();
    let store = MemoryStore::new();
    runtime.block_on(put(&store, &new_key(), 1, Duration::from_millis(1)));
    let began = Instant::now();
    while store.stats().records > 0 {
        let elapsed = began.elapsed();
        assert!(elapsed < 60 * SECOND, "a sweep follows within a second");
        std::thread::sleep(Duration::from_millis(20));
    }
}
