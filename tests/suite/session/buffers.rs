//! A commit reuses the buffer of a record that an earlier one replaced, and never one that is in use.

use bytes::Bytes;
use hyper_session::{
    MemoryStore, Session, SessionError, Sessions,
    session::Snapshot,
    store::{ReadOutcome, Store},
};

use crate::support::{Browser, config};

async fn increment(session: &Session) -> Result<(), SessionError> {
    session.load().await?.increment("n").map(drop)
}

/// Returns the stored record of the browser's session.
async fn stored(store: &MemoryStore, browser: &mut Browser) -> Bytes {
    let key = browser
        .visit(async |s: &Session| s.store_key())
        .await
        .unwrap();
    match store.read(&key, None).await.unwrap() {
        ReadOutcome::Found(record) => record.data,
        other => panic!("not stored: {other:?}"),
    }
}

async fn snapshot(browser: &mut Browser) -> Snapshot {
    let read = async |s: &Session| s.load().await?.snapshot();
    browser.visit(read).await.unwrap()
}

#[tokio::test]
async fn records_and_snapshots_that_are_in_use_do_not_change() {
    let store = MemoryStore::new();
    let sessions = Sessions::new(config(), store.clone()).unwrap();
    let mut visitors = [Browser::new(&sessions), Browser::new(&sessions)];
    for (browser, len) in visitors.iter_mut().zip([10, 5_000]) {
        let fill = async |s: &Session| s.put("text", "x".repeat(len));
        browser.visit(fill).await.unwrap();
    }
    let mut kept = Vec::new();
    for round in 1..=30 {
        for browser in &mut visitors {
            browser.visit(increment).await.unwrap();
            let record = stored(&store, browser).await;
            let copy = Bytes::copy_from_slice(&record);
            let snapshot = snapshot(browser).await;
            assert_eq!(snapshot.get::<u32>("n").unwrap(), Some(round));
            // Some rounds keep what they have read, and the others let the buffer go.
            if round % 3 == 0 {
                kept.push((round, record, copy, snapshot));
            }
        }
    }
    for (round, record, copy, snapshot) in kept {
        assert_eq!(record, copy);
        assert_eq!(snapshot.get::<u32>("n").unwrap(), Some(round));
    }
}

#[tokio::test]
async fn a_record_is_not_stored_in_a_much_larger_buffer() {
    let store = MemoryStore::new();
    let sessions = Sessions::new(config(), store.clone()).unwrap();
    let (mut large, mut small) = (Browser::new(&sessions), Browser::new(&sessions));
    let fill = async |s: &Session| s.put("text", "x".repeat(5_000));
    large.visit(fill).await.unwrap();
    small.visit(increment).await.unwrap();
    for _ in 0..3 {
        large.visit(increment).await.unwrap();
        small.visit(increment).await.unwrap();
    }
    let key = small
        .visit(async |s: &Session| s.store_key())
        .await
        .unwrap();
    let record = stored(&store, &mut small).await;
    store.destroy(&key).await.unwrap();
    // The store has dropped it, so this is the only reference.
    let buffer = record.try_into_mut().unwrap();
    assert!(buffer.capacity() <= buffer.len() + buffer.len() / 8);
}

#[tokio::test]
async fn values_of_any_length_are_read_whole() {
    let sessions = Sessions::new(config(), MemoryStore::new()).unwrap();
    let mut browser = Browser::new(&sessions);
    for len in (0..70).chain([500, 5_000, 100_000]) {
        let text = "x".repeat(len);
        let put_and_read = async |s: &Session| {
            s.load().await?;
            s.put("text", &text)?;
            let read = [s.get::<String>("text")?, s.pull("text")?];
            assert_eq!(read, [Some(text.clone()), Some(text.clone())]);
            s.get::<String>("text")
        };
        assert_eq!(browser.visit(put_and_read).await.unwrap(), None);
    }
}
