//! Sessions in a Redis store.

use std::{error::Error, time::Duration};

use hyper_session::{
    id::{SessionId, StoreKey},
    store::{
        Expected, ReadOutcome, Record, Store, StoreError, Tag, Tags, Version, WriteOutcome,
        WriteRequest,
        redis::{RedisError, RedisStore},
    },
};

use super::Server;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn key() -> StoreKey {
    SessionId::generate().unwrap().store_key()
}

pub(crate) fn keys(count: usize) -> Vec<StoreKey> {
    (0..count).map(|_| key()).collect()
}

pub(crate) async fn connect(server: &Server) -> RedisStore {
    RedisStore::connect(&server.url()).await.unwrap()
}

/// Creates a session that lives for `ttl`.
pub(crate) async fn create_session(store: &impl Store, ttl: Duration) -> StoreKey {
    create_tagged(store, ttl, &[]).await
}

/// Creates a session with these tags that lives for `ttl`.
pub(crate) async fn create_tagged(store: &impl Store, ttl: Duration, names: &[&str]) -> StoreKey {
    let key = key();
    let request = WriteRequest::new(&key, "data", ttl, Expected::Absent);
    let written = store.write(request.tags(tags(names))).await;
    assert!(matches!(written, Ok(WriteOutcome::Done(_))), "{written:?}");
    key
}

pub(crate) fn tag(name: &str) -> Tag {
    Tag::new(name).unwrap()
}

pub(crate) fn tags(names: &[&str]) -> Tags {
    let mut tags = Tags::new();
    for name in names {
        tags.insert(&tag(name)).unwrap();
    }
    tags
}

/// Returns the record of a session. Panics if it does not exist.
pub(crate) async fn record(store: &impl Store, key: &StoreKey) -> Record {
    match store.read(key, None).await {
        Ok(ReadOutcome::Found(record)) => record,
        other => panic!("no record: {other:?}"),
    }
}

pub(crate) async fn version(store: &impl Store, key: &StoreKey) -> Version {
    record(store, key).await.version
}

/// Returns the error of the Redis store.
pub(crate) fn cause(error: &StoreError) -> &RedisError {
    error.source().unwrap().downcast_ref().unwrap()
}

/// Appends `word` to the words in a session. A conflict is resolved by appending to the newer record.
pub(crate) async fn append(
    store: &impl Store,
    key: &StoreKey,
    word: &str,
) -> Result<(), StoreError> {
    let mut record = match store.read(key, None).await? {
        ReadOutcome::Found(record) => record,
        other => panic!("no record: {other:?}"),
    };
    loop {
        let mut data = record.data.to_vec();
        data.extend_from_slice(word.as_bytes());
        data.push(b' ');
        let expected = Expected::Version(record.version);
        let request = WriteRequest::new(key, data, HOUR, expected);
        match store.write(request.tags(record.tags)).await? {
            WriteOutcome::Done(_) => return Ok(()),
            WriteOutcome::Conflict(newer) => record = newer,
            WriteOutcome::Gone => panic!("the session is gone"),
        }
    }
}

/// Returns the words in a session, in order.
pub(crate) async fn words(store: &impl Store, key: &StoreKey) -> Vec<String> {
    let data = record(store, key).await.data;
    let text = String::from_utf8(data.to_vec()).unwrap();
    text.split_whitespace().map(str::to_owned).collect()
}
