//! Expired sessions leave every store without a request of their visitors.

use std::{path::PathBuf, time::Duration};

use crate::support::{
    CookieServer, config,
    cookie_server::{cookie_server_with, text},
};
use hyper_session::{
    clock::{Clock, Timestamp},
    id::{SessionId, StoreKey},
    store::{
        Expected, MemoryStore, MigratingStore, Store, Tag, TagStore, Tags, WriteOutcome,
        WriteRequest,
    },
};

const HOUR: Duration = Duration::from_secs(3600);

fn clock() -> Clock {
    Clock::manual(Timestamp::from_millis(1_800_000_000_000))
}

fn key() -> StoreKey {
    SessionId::generate().unwrap().store_key()
}

fn tag() -> Tag {
    Tag::new("user").unwrap()
}

/// Creates a tagged session that lives for an hour.
async fn create(store: &impl Store) {
    let mut tags = Tags::new();
    tags.insert(&tag()).unwrap();
    let request = WriteRequest::new(&key(), "data", HOUR, Expected::Absent).tags(tags);
    let written = store.write(request).await.unwrap();
    assert!(matches!(written, WriteOutcome::Done(_)));
}

/// Returns the records, the tombstones and the sessions of the tag.
async fn contents(store: &MemoryStore) -> (u64, u64, usize) {
    let stats = store.stats();
    let tagged = store.tagged(&tag()).await.unwrap().len();
    (stats.records, stats.tombstones, tagged)
}

#[tokio::test]
async fn expired_sessions_leave_both_stores_of_a_migration() {
    let clock = clock();
    let store = || MemoryStore::builder().clock(clock.clone()).build();
    let (old, new) = (store(), store());
    let migrating = MigratingStore::new(old.clone(), new.clone());
    for _ in 0..10 {
        create(&old).await;
        create(&migrating).await;
    }
    for store in [&old, &new] {
        assert_eq!(store.tagged(&tag()).await.unwrap().len(), 10);
    }
    clock.advance(HOUR);
    assert!(old.sweep() >= 10 && new.sweep() >= 10);
    assert_eq!(contents(&old).await, (0, 0, 0));
    assert_eq!(contents(&new).await, (0, 0, 0));
}

/// Begins ten sessions that are too large for a cookie.
async fn begin_large_sessions(server: &CookieServer) {
    for _ in 0..10 {
        let mut browser = server.browser();
        browser
            .visit(async |session| session.put("cart", text(9000)).unwrap())
            .await;
    }
}

#[tokio::test]
async fn expired_sessions_leave_the_stores_behind_cookies() {
    let overflow = cookie_server_with(config(), |store, backing| store.with_overflow(backing));
    begin_large_sessions(&overflow).await;
    assert_eq!(overflow.server_side.stats().records, 10);
    let revocation = cookie_server_with(config(), |store, backing| store.with_revocation(backing));
    for _ in 0..10 {
        let mut browser = revocation.browser();
        browser
            .visit(async |session| session.put("cart", 1).unwrap())
            .await;
        browser
            .visit(async |session| session.destroy().unwrap())
            .await;
    }
    assert_eq!(revocation.server_side.stats().records, 10);
    for server in [overflow, revocation] {
        server.advance(HOUR * 4);
        assert!(server.server_side.sweep() >= 10);
        let stats = server.server_side.stats();
        assert_eq!((stats.records, stats.tombstones, stats.bytes), (0, 0, 0));
    }
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn expired_rows_of_a_custom_store_are_removed() {
    use redb::ReadableTableMetadata;

    let file: PathBuf = std::env::temp_dir().join(format!("expiry-{}.redb", std::process::id()));
    let clock = clock();
    let store = super::custom::redb_store::RedbStore::open(&file, clock.clone()).unwrap();
    for _ in 0..40 {
        create(&store).await;
    }
    clock.advance(HOUR);
    // Each write removes the ended rows among the next four keys. Write until each key has had its turn.
    for first in 0..=255 {
        let mut bytes = [0; StoreKey::LEN];
        bytes[0] = first;
        let key = StoreKey::from_bytes(bytes);
        let request = WriteRequest::new(&key, "data", HOUR, Expected::Any);
        store.write(request).await.unwrap();
    }
    drop(store);
    let database = redb::Database::open(&file).unwrap();
    let table = redb::TableDefinition::<&[u8], &[u8]>::new("sessions");
    let rows = database.begin_read().unwrap().open_table(table).unwrap();
    assert_eq!(rows.len().unwrap(), 256, "only the new rows are there");
    std::fs::remove_file(file).unwrap();
}
