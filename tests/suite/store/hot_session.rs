//! Requests that change one session at once are all stored, in stores behind or beside others.

use hyper_session::{
    Sessions,
    store::{MemoryStore, MigratingStore, Store},
};

use crate::support::{Browser, config, increment};

const REQUESTS: u64 = 1000;

/// Begins a session in one store, and changes it at once through sessions on another.
async fn check(begin: impl Store, change: impl Store) {
    let sessions = Sessions::new(config(), begin).unwrap();
    let mut browser = Browser::new(&sessions);
    browser.visit(async |s| s.put("n", 0).unwrap()).await;
    let sessions = Sessions::new(config(), change).unwrap();
    let requests: Vec<_> = (0..REQUESTS)
        .map(|_| tokio::spawn(increment(sessions.clone(), browser.jar.clone())))
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), 200);
    }
    let mut browser = browser.with_sessions(&sessions);
    let sum = browser.visit(async |s| s.get::<u64>("n").unwrap()).await;
    assert_eq!(sum, Some(REQUESTS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_at_once_are_stored_while_their_session_migrates() {
    let (old, new) = (MemoryStore::new(), MemoryStore::new());
    check(old.clone(), MigratingStore::new(old, new)).await;
}

#[cfg(feature = "testing")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_at_once_are_stored_in_a_custom_store() {
    use super::custom::redb_store::RedbStore;

    let file = std::env::temp_dir().join(format!("hot-{}.redb", std::process::id()));
    let store = RedbStore::open(&file, hyper_session::clock::Clock::system()).unwrap();
    check(store.clone(), store).await;
    std::fs::remove_file(file).unwrap();
}
