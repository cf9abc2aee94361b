//! Expired sessions leave every store without a request of their visitors, and without a call.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::support::{
    CookieServer, config,
    cookie_server::{cookie_server_at, cookie_server_with, text},
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

/// Lifetime of sessions that end by the system clock. A manual clock has no background sweep.
const SHORT: Duration = Duration::from_secs(2);

fn clock() -> Clock {
    Clock::manual(Timestamp::from_millis(1_800_000_000_000))
}

fn key() -> StoreKey {
    SessionId::generate().unwrap().store_key()
}

fn tag() -> Tag {
    Tag::new("user").unwrap()
}

/// Creates a tagged session.
async fn create(store: &impl Store, ttl: Duration) {
    let mut tags = Tags::new();
    tags.insert(&tag()).unwrap();
    let request = WriteRequest::new(&key(), "data", ttl, Expected::Absent).tags(tags);
    let written = store.write(request).await.unwrap();
    assert!(matches!(written, WriteOutcome::Done(_)));
}

/// Waits until the background sweep has removed every record.
///
/// # Panics
/// If it does not.
async fn wait_for_sweep(store: &MemoryStore) {
    let began = Instant::now();
    while store.stats().records > 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "{store:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let stats = store.stats();
    assert_eq!((stats.tombstones, stats.bytes), (0, 0));
    assert!(stats.expired >= 10, "{stats:?}");
}

#[tokio::test]
async fn expired_sessions_leave_both_stores_of_a_migration() {
    let (old, new) = (MemoryStore::new(), MemoryStore::new());
    let migrating = MigratingStore::new(old.clone(), new.clone());
    for _ in 0..10 {
        create(&old, SHORT).await;
        create(&migrating, SHORT).await;
    }
    for store in [&old, &new] {
        wait_for_sweep(store).await;
        assert_eq!(store.tagged(&tag()).await.unwrap().len(), 0);
    }
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
    let config = config().age(SHORT);
    let overflow = cookie_server_at(config, Clock::system(), |store, backing| {
        store.with_overflow(backing)
    });
    begin_large_sessions(&overflow).await;
    wait_for_sweep(&overflow.server_side).await;
}

/// Begins sessions and destroys them.
async fn sign_out(server: &CookieServer, visitors: usize) {
    for _ in 0..visitors {
        let mut browser = server.browser();
        browser
            .visit(async |session| session.put("cart", 1).unwrap())
            .await;
        browser
            .visit(async |session| session.destroy().unwrap())
            .await;
    }
}

/// An entry lives for longer than the cookies, so the clock is manual, and the sweep is that of new keys.
#[tokio::test]
async fn expired_entries_leave_the_revocation_list() {
    let server = cookie_server_with(config(), |store, backing| store.with_revocation(backing));
    sign_out(&server, 10).await;
    assert_eq!(server.server_side.stats().records, 10);
    server.advance(HOUR * 4);
    sign_out(&server, 130).await;
    assert_eq!(server.server_side.stats().records, 130);
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn expired_rows_of_a_custom_store_are_removed() {
    use redb::ReadableTableMetadata;

    let file: PathBuf = std::env::temp_dir().join(format!("expiry-{}.redb", std::process::id()));
    let clock = clock();
    let store = super::custom::redb_store::RedbStore::open(&file, clock.clone()).unwrap();
    for _ in 0..40 {
        create(&store, HOUR).await;
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
