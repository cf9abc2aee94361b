//! The store of the testing kit fails, waits and counts on request.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_session::{
    MemoryStore, Session, SessionError,
    id::{SessionId, StoreKey},
    store::{
        ReadOutcome, Store, StoreError, StoreFuture, StoreStat, Tag, WriteOutcome, WriteRequest,
    },
    testing::{StoreCall, TestClient, TestSessions, TestStore},
};

async fn visit(
    _: Request<Incoming>,
    session: Session,
) -> Result<Response<Full<Bytes>>, SessionError> {
    session.load().await?;
    session.increment("visits")?;
    Ok(Response::default())
}

fn key() -> StoreKey {
    SessionId::generate().unwrap().store_key()
}

#[tokio::test]
async fn a_service_sees_the_failures_and_the_kit_does_not() {
    let test = TestSessions::new();
    let client = TestClient::new(test.sessions(), test.sessions().wrap_fn(visit));
    client.get("/").send().await.assert_session("visits", 1);
    assert_eq!(test.store().calls(), [StoreCall::Write]);

    test.store().fail(StoreCall::Read);
    let failed = client.get("/").send().await;
    failed.assert_status(503).assert_session("visits", 1);
    test.store().fail_nth(StoreCall::Write, 1);
    client.get("/").send().await.assert_session("visits", 2);
    client.get("/").send().await.assert_status(503);
    test.store().fail_always(StoreCall::Write);
    client.get("/").send().await.assert_status(503);
    client
        .with_session(|session| session.put("visits", 10))
        .await;
    test.store().clear_rules();
    client.get("/").send().await.assert_session("visits", 11);
}

#[tokio::test]
async fn a_call_waits_at_a_gate() {
    let test = TestSessions::new();
    let client = TestClient::new(test.sessions(), test.sessions().wrap_fn(visit));
    client.get("/").send().await;
    let gate = test.store().hold(StoreCall::Write);
    let (slow, ()) = tokio::join!(client.get("/").send(), async {
        gate.reached().await;
        let quick = client.get("/").send().await;
        quick.assert_session("visits", 2);
        gate.open();
    });
    slow.assert_session("visits", 3);
}

#[tokio::test]
async fn calls_are_delayed() {
    let store = TestStore::new(MemoryStore::new());
    let time = Duration::from_millis(30);
    store.delay_always(StoreCall::Touch, time);
    for _ in 0..2 {
        let began = Instant::now();
        assert!(!store.touch(&key(), time).await.unwrap());
        assert!(began.elapsed() >= time);
    }
}

#[tokio::test]
async fn a_result_is_lost_after_the_call() {
    let store = TestStore::new(MemoryStore::new());
    store.fail_answer(StoreCall::Destroy);
    let key = key();
    let error = store.destroy(&key).await.unwrap_err();
    assert!(error.to_string().contains("test"), "{error}");
    assert!(matches!(
        store.read(&key, None).await.unwrap(),
        ReadOutcome::Gone
    ));
    assert_eq!(store.keys(), [key, key]);
    assert_eq!(store.calls(), [StoreCall::Destroy, StoreCall::Read]);
    assert_eq!(store.calls(), []);
}

#[tokio::test]
async fn the_tags_of_the_wrapped_store_are_listed() {
    let store = TestStore::new(MemoryStore::new());
    let tag = Tag::new("user-7").unwrap();
    store.fail(StoreCall::Tagged);
    let tags = store.tags().expect("the memory store has an index");
    assert!(tags.tagged(&tag).await.is_err());
    assert_eq!(tags.tagged(&tag).await.unwrap(), []);
    assert_eq!(store.capabilities(), store.inner().capabilities());
    assert_eq!(store.count().await.unwrap(), Some(0));
}

/// A store that knows that it is away, fails to start and to stop, and has no index of tags.
struct AwayStore;

fn away<T: Send + 'static>(operation: &'static str) -> StoreFuture<T> {
    StoreFuture::ready(Err(StoreError::new("AwayStore", operation, "away")))
}

impl Store for AwayStore {
    fn read(&self, _: &StoreKey, _: Option<Duration>) -> StoreFuture<ReadOutcome> {
        StoreFuture::ready(Ok(ReadOutcome::Absent))
    }

    fn write(&self, _: WriteRequest) -> StoreFuture<WriteOutcome> {
        StoreFuture::ready(Ok(WriteOutcome::Gone))
    }

    fn destroy(&self, _: &StoreKey) -> StoreFuture<()> {
        StoreFuture::ready(Ok(()))
    }

    fn touch(&self, _: &StoreKey, _: Duration) -> StoreFuture<bool> {
        StoreFuture::ready(Ok(false))
    }

    fn is_available(&self, _: &StoreKey) -> bool {
        false
    }

    fn count(&self) -> StoreFuture<Option<u64>> {
        StoreFuture::ready(Ok(Some(7)))
    }

    fn time_to_live(&self, _: &StoreKey) -> StoreFuture<Option<Duration>> {
        StoreFuture::ready(Ok(Some(Duration::from_secs(7))))
    }

    fn report_stats(&self, report: &mut dyn FnMut(&'static str, StoreStat)) {
        report("AwayStore", StoreStat::Gauge("away_seconds", 7));
    }

    fn ready(&self) -> StoreFuture<()> {
        away("ready")
    }

    fn flush(&self) -> StoreFuture<()> {
        away("flush")
    }

    fn close(&self) -> StoreFuture<()> {
        away("close")
    }
}

#[tokio::test]
async fn every_other_method_is_passed_on_to_the_wrapped_store() {
    let store = TestStore::new(AwayStore);
    assert!(!store.is_available(&key()));
    assert!(store.tags().is_none());
    assert_eq!(store.count().await.unwrap(), Some(7));
    let ttl = store.time_to_live(&key()).await.unwrap();
    assert_eq!(ttl, Some(Duration::from_secs(7)));
    let mut stats = Vec::new();
    store.report_stats(&mut |name, stat| stats.push((name, stat)));
    assert_eq!(stats, [("AwayStore", StoreStat::Gauge("away_seconds", 7))]);
    for (operation, result) in [
        ("ready", store.ready().await),
        ("flush", store.flush().await),
        ("close", store.close().await),
    ] {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(operation), "{error}");
    }
}
