//! Commands whose reply is lost: applied once or not at all, and never reported as something else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use hyper_session::{
    id::StoreKey,
    store::{
        Expected, ReadOutcome, Store, StoreError, StoreFuture, TagStore, WriteOutcome,
        WriteRequest,
        conformance::{self, Check, Harness},
        redis::{RedisError, RedisStore, TransientError},
    },
};

use crate::support::redis_servers::{
    Server,
    proxy::{Network, Proxy},
    sessions::{
        HOUR, append, cause, connect, create_session, create_tagged, key, record, tag, tags,
        version, words,
    },
};

/// A server, a proxy to it, a store that connects through the proxy, and one that connects directly.
struct Setup {
    server: Server,
    proxy: Proxy,
    store: RedisStore,
    direct: RedisStore,
}

async fn setup() -> Setup {
    let server = Server::start();
    let proxy = Proxy::to(server.port).await;
    let store = RedisStore::builder(&proxy.url())
        .pool_size(1)
        .command_timeout(Duration::from_millis(300))
        .on_outage(|_| ())
        .connect()
        .await
        .unwrap();
    let direct = connect(&server).await;
    Setup {
        server,
        proxy,
        store,
        direct,
    }
}

impl Setup {
    /// Returns how often the server has set a value.
    fn sets(&self) -> u64 {
        let stats = self.server.send(&["INFO", "commandstats"]);
        let calls = |command: &str| {
            let calls = stats.split(&format!("cmdstat_{command}:calls=")).nth(1);
            calls.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
        };
        calls("set") + calls("psetex")
    }

    /// Asserts that a write was applied once since there were `sets` and `tests`. The store may have
    /// tested the server with writes, of which some did not reach it.
    fn assert_applied_once(&self, sets: u64, tests: u64) {
        let tests = self.store.stats().test_writes - tests;
        let applied = self.sets() - sets;
        assert!(
            (1..=1 + tests).contains(&applied),
            "applied {applied} times, {tests} tests"
        );
    }

    /// Waits until the proxy has cut the connection.
    async fn wait_for_cut(&self) {
        while !matches!(self.proxy.network(), Network::Normal | Network::Closed) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test]
async fn a_write_whose_reply_was_lost_is_retried_and_applied_once() {
    let setup = setup().await;
    for cut in [0, 1, 3] {
        let key = create_session(&setup.store, HOUR).await;
        let seen = version(&setup.store, &key).await;
        let (sets, stats) = (setup.sets(), setup.store.stats());
        setup.proxy.set(Network::CutAfter(cut));
        let write = setup.store.write(WriteRequest::new(
            &key,
            "new",
            HOUR,
            Expected::Version(seen),
        ));
        let Ok(WriteOutcome::Done(version)) = write.await else {
            panic!("the retried write failed")
        };
        let now = record(&setup.direct, &key).await;
        assert_eq!((&*now.data, now.version), (&b"new"[..], version));
        setup.assert_applied_once(sets, stats.test_writes);
        assert!(
            setup.store.stats().retries > stats.retries,
            "the reply was lost"
        );
    }
}

/// A store that records for each write if it returned `Done`.
#[derive(Clone)]
struct RecordingStore {
    redis: RedisStore,
    writes: Arc<Mutex<Vec<bool>>>,
}

impl Store for RecordingStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        self.redis.read(key, touch)
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        let (writing, writes) = (self.redis.write(request), self.writes.clone());
        StoreFuture::new(async move {
            let written = writing.await;
            let is_done = matches!(written, Ok(WriteOutcome::Done(_)));
            writes.lock().unwrap().push(is_done);
            written
        })
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        self.redis.destroy(key)
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        self.redis.touch(key, ttl)
    }
}

/// Loses the reply to a write.
struct LosingHarness {
    setup: Setup,
    store: RecordingStore,
}

impl Harness for LosingHarness {
    type Store = RecordingStore;

    async fn store(&self) -> RecordingStore {
        self.store.clone()
    }

    async fn advance(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn lose_answer(&self, _: &RecordingStore) -> bool {
        self.setup.proxy.set(Network::CutAfter(0));
        true
    }
}

/// The check makes a record, and then a write that creates and one that replaces, whose replies are lost.
#[tokio::test]
async fn a_retried_write_keeps_the_contract() {
    let setup = setup().await;
    let store = RecordingStore {
        redis: setup.store.clone(),
        writes: Arc::default(),
    };
    let harness = LosingHarness { setup, store };
    let checked = conformance::check(&harness, Check::RetriesRecognizeTheirWrite).await;
    assert_eq!(checked, Ok(()));
    assert_eq!(*harness.store.writes.lock().unwrap(), [true; 3]);
    let retries = harness.setup.store.stats().retries;
    assert!(retries >= 2, "the replies were lost: {retries}");
}

#[tokio::test]
async fn a_creation_whose_reply_was_lost_is_not_a_conflict_with_itself() {
    let setup = setup().await;
    let key = key();
    let (sets, stats) = (setup.sets(), setup.store.stats());
    setup.proxy.set(Network::CutAfter(0));
    let write = setup
        .store
        .write(WriteRequest::new(&key, "new", HOUR, Expected::Absent))
        .await;
    assert!(matches!(write, Ok(WriteOutcome::Done(_))), "{write:?}");
    setup.assert_applied_once(sets, stats.test_writes);
}

/// The reply that is lost belongs to the first script, to an index, or to the second script.
#[tokio::test]
async fn a_write_of_tags_whose_reply_was_lost_is_applied_once() {
    let setup = setup().await;
    create_tagged(&setup.store, HOUR, &["a"]).await;
    for replies_before in 0..3 {
        let key = create_session(&setup.store, HOUR).await;
        let seen = version(&setup.store, &key).await;
        let (sets, stats) = (setup.sets(), setup.store.stats());
        let request = WriteRequest::new(&key, "new", HOUR, Expected::Version(seen));
        setup.proxy.set(Network::CutReply(replies_before));
        let written = setup.store.write(request.tags(tags(&["a"]))).await;
        assert_eq!(setup.proxy.network(), Network::Normal, "a reply was lost");
        let Ok(WriteOutcome::Done(version)) = written else {
            panic!("the retried write failed: {written:?}")
        };
        let now = record(&setup.direct, &key).await;
        assert_eq!((&*now.data, now.version), (&b"new"[..], version));
        assert_eq!(now.tags, tags(&["a"]));
        setup.assert_applied_once(sets, stats.test_writes);
        assert!(setup.direct.tagged(&tag("a")).await.unwrap().contains(&key));
    }
}

/// A conflict would make the caller apply the change to a record that has it already.
#[tokio::test]
async fn a_lost_reply_under_a_newer_record_is_unknown_and_no_conflict() {
    let setup = setup().await;
    let key = create_session(&setup.store, HOUR).await;
    let seen = version(&setup.store, &key).await;
    setup.proxy.set(Network::CutAndClose(0));
    let write = setup.store.write(WriteRequest::new(
        &key,
        "first",
        HOUR,
        Expected::Version(seen),
    ));
    let meanwhile = async {
        setup.wait_for_cut().await;
        append(&setup.direct, &key, "second").await.unwrap();
        setup.proxy.set(Network::Normal);
    };
    let (written, ()) = tokio::join!(write, meanwhile);
    let error = written.unwrap_err();
    assert!(
        matches!(cause(&error), RedisError::UnknownOutcome { .. }),
        "{error}"
    );
    assert_eq!(setup.store.stats().outages, 0, "the server has answered");
    assert!(!error.is_outage(), "no outage report covers it");
    assert_eq!(&*record(&setup.direct, &key).await.data, b"firstsecond ");
}

#[tokio::test]
async fn a_lost_reply_to_a_write_of_tags_under_a_newer_record_is_unknown() {
    let setup = setup().await;
    let key = create_tagged(&setup.store, HOUR, &["a"]).await;
    let seen = version(&setup.store, &key).await;
    setup.proxy.set(Network::CutAndClose(0));
    let request = WriteRequest::new(&key, "first", HOUR, Expected::Version(seen));
    let write = setup.store.write(request.tags(tags(&["a"])));
    let meanwhile = async {
        setup.wait_for_cut().await;
        append(&setup.direct, &key, "second").await.unwrap();
        setup.proxy.set(Network::Normal);
    };
    let (written, ()) = tokio::join!(write, meanwhile);
    let error = written.unwrap_err();
    assert!(
        matches!(cause(&error), RedisError::UnknownOutcome { .. }),
        "{error}"
    );
    assert_eq!(&*record(&setup.direct, &key).await.data, b"firstsecond ");
}

#[tokio::test]
async fn a_write_that_expects_any_record_is_not_retried_when_its_reply_was_lost() {
    let setup = setup().await;
    let key = create_session(&setup.store, HOUR).await;
    let retries = setup.store.stats().retries;
    setup.proxy.set(Network::CutAfter(0));
    let error = setup
        .store
        .write(WriteRequest::new(&key, "first", HOUR, Expected::Any))
        .await
        .unwrap_err();
    let unknown = RedisError::UnknownOutcome {
        last: TransientError::ConnectionLost,
    };
    assert_eq!(cause(&error).to_string(), unknown.to_string());
    assert_eq!(setup.store.stats().retries, retries);
}

#[tokio::test]
async fn every_other_operation_is_retried_until_a_reply_arrives() {
    let setup = setup().await;
    let key = create_tagged(&setup.store, HOUR, &["user"]).await;
    let tag = tag("user");
    let lose = || setup.proxy.set(Network::CutAfter(1));
    lose();
    assert!(matches!(
        setup.store.read(&key, None).await.unwrap(),
        ReadOutcome::Found(_)
    ));
    lose();
    assert!(matches!(
        setup.store.read(&key, Some(HOUR)).await.unwrap(),
        ReadOutcome::Found(_)
    ));
    lose();
    assert!(setup.store.touch(&key, HOUR).await.unwrap());
    lose();
    assert_eq!(setup.store.tagged(&tag).await.unwrap(), [key]);
    lose();
    setup.store.destroy(&key).await.unwrap();
    assert_eq!(
        setup.direct.read(&key, None).await.unwrap(),
        ReadOutcome::Gone
    );
    assert!(setup.direct.tagged(&tag).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_operation_on_a_server_that_does_not_reply_fails_in_time() {
    let setup = setup().await;
    let key = create_session(&setup.store, HOUR).await;
    setup.proxy.set(Network::DropReplies);
    let start = std::time::Instant::now();
    let error = setup.store.touch(&key, HOUR).await.unwrap_err();
    assert!(
        matches!(cause(&error), RedisError::Outage { .. }),
        "{error}"
    );
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    setup.proxy.set(Network::Normal);
    while setup.store.touch(&key, HOUR).await.is_err() {
        assert!(
            start.elapsed() < Duration::from_secs(30),
            "it recovers by itself"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Six tasks append words through a network that delays and disconnects. Each acknowledged word is
/// stored once, a word whose outcome is unknown at most once, and no word twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_change_is_lost_or_doubled_on_a_bad_network() {
    let setup = setup().await;
    let key = key();
    let empty = setup
        .direct
        .write(WriteRequest::new(&key, "", HOUR, Expected::Absent))
        .await;
    assert!(matches!(empty, Ok(WriteOutcome::Done(_))));
    // Most of the time, the network is away. A known outage would fail operations early.
    let patient = RedisStore::builder(&setup.proxy.url())
        .pool_size(1)
        .command_timeout(Duration::from_millis(300))
        .operation_timeout(Duration::from_secs(10))
        .outage_timeout(Duration::from_secs(10))
        .connect()
        .await
        .unwrap();
    let writers: Vec<_> = (0..6)
        .map(|task| {
            let store = patient.clone();
            tokio::spawn(async move { append_many(&store, &key, task).await })
        })
        .collect();
    let mut turn = 0_usize;
    while writers.iter().any(|writer| !writer.is_finished()) {
        setup.proxy.set(match turn % 4 {
            0 => Network::CutAfter(turn % 7),
            1 => Network::Slow(Duration::from_millis(3)),
            2 => Network::CutAfter(40 + turn),
            _ => Network::Normal,
        });
        turn += 1;
        tokio::time::sleep(Duration::from_millis(17)).await;
    }
    setup.proxy.set(Network::Normal);
    let mut found: HashMap<String, u32> = HashMap::new();
    for word in words(&setup.direct, &key).await {
        *found.entry(word).or_default() += 1;
    }
    let (mut stored, mut unknown) = (0, 0);
    for writer in writers {
        for (word, acknowledged) in writer.await.unwrap() {
            let times = found.remove(&word).unwrap_or_default();
            match &acknowledged {
                Ok(()) => assert_eq!(times, 1, "{word} was acknowledged"),
                Err(error) => assert!(times <= 1, "{word} is doubled: {error}"),
            }
            stored += u32::from(acknowledged.is_ok());
            unknown += u32::from(acknowledged.is_err());
        }
    }
    assert!(found.is_empty(), "unknown words: {found:?}");
    assert!(patient.stats().retries > 0, "the network had no effect");
    assert!(
        stored > 100 && unknown < stored,
        "{stored} acknowledged, {unknown} unknown"
    );
}

async fn append_many(
    store: &RedisStore,
    key: &hyper_session::id::StoreKey,
    task: u32,
) -> Vec<(String, Result<(), StoreError>)> {
    let mut done = Vec::new();
    for number in 0..30 {
        let word = format!("{task}.{number}");
        done.push((word.clone(), append(store, key, &word).await));
    }
    done
}
