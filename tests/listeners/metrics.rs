//! The whole set of metrics: names, units, labels and values.

use std::collections::{BTreeMap, BTreeSet};

use hyper_session::{FileStore, MemoryStore, RedisStore, Sessions, store::Store};
use metrics_util::{
    CompositeKey, MetricKind,
    debugging::{DebugValue, DebuggingRecorder, Snapshotter},
};

use crate::{
    log::ONE,
    support::{
        Browser, Call, EventLog, TestServer, config, increment,
        redis_servers::{Server, free_port},
        scratch::Scratch,
        test_server,
    },
};

/// Returns the metrics that `run` records, with `Sessions::describe_metrics`.
fn record(run: impl AsyncFnOnce()) -> Snapshotter {
    let recorder = DebuggingRecorder::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    metrics::with_local_recorder(&recorder, || {
        Sessions::describe_metrics();
        runtime.block_on(run());
    });
    recorder.snapshotter()
}

/// Returns a metric as text: `name{label="value"}`.
fn text(key: &CompositeKey) -> String {
    let labels = key.key().labels();
    let labels: Vec<_> = labels
        .map(|label| format!("{}={:?}", label.key(), label.value()))
        .collect();
    format!("{}{{{}}}", key.key().name(), labels.join(","))
}

/// Returns the values of gauges and counters by their text, and the numbers of measurements of histograms.
fn values(snapshotter: &Snapshotter) -> BTreeMap<String, f64> {
    let value = |value: DebugValue| match value {
        DebugValue::Counter(count) => count as f64,
        DebugValue::Gauge(value) => value.into_inner(),
        DebugValue::Histogram(values) => {
            assert!(values.iter().all(|seconds| seconds.into_inner() < 600.0));
            values.len() as f64
        }
    };
    let metrics = snapshotter.snapshot().into_vec().into_iter();
    metrics
        .map(|(key, _, _, metric)| (text(&key), value(metric)))
        .collect()
}

async fn use_store(store: impl Store) -> Sessions {
    let sessions = Sessions::new(config(), store).unwrap();
    let mut browser = Browser::new(&sessions);
    browser.visit(async |s| s.put("n", 1).unwrap()).await;
    browser
        .visit(async |s| assert_eq!(s.get::<u8>("n").unwrap(), Some(1)))
        .await;
    sessions.record_metrics();
    sessions
}

#[test]
fn every_metric_is_described_recorded_and_in_the_guide() {
    let _one = ONE.blocking_lock();
    let snapshotter = record(async || {
        use_store(MemoryStore::new()).await;
        let folder = Scratch::new();
        let file = FileStore::open(folder.path()).unwrap();
        use_store(file).await.close().await.unwrap();
        let server = Server::start();
        let sessions = use_store(RedisStore::connect(&server.url()).await.unwrap()).await;
        drop(server);
        let mut browser = Browser::new(&sessions);
        let visit = browser.request(async |s| drop(s.load().await)).await;
        assert_eq!(visit.status, 200, "a new session needs no store");
    });
    let described = Sessions::describe_metrics();
    let mut recorded = BTreeSet::new();
    for (key, unit, help, _) in snapshotter.snapshot().into_vec() {
        let name = key.key().name().to_owned();
        let metric = described.iter().find(|metric| metric.name == name);
        let metric = metric.unwrap_or_else(|| panic!("{name} is not described"));
        let kind = match key.kind() {
            MetricKind::Counter => "Counter",
            MetricKind::Gauge => "Gauge",
            MetricKind::Histogram => "Histogram",
        };
        assert_eq!(format!("{:?}", metric.kind), kind, "{name}");
        assert_eq!(unit, Some(metric.unit), "{name}");
        assert_eq!(help.as_deref(), Some(metric.help), "{name}");
        let labels: Vec<_> = key.key().labels().map(|label| label.key()).collect();
        let known = ["store", "outcome", "event", "reason"];
        assert!(
            labels.iter().all(|label| known.contains(label)),
            "{labels:?}"
        );
        recorded.insert(name);
    }
    let guide = include_str!("../../src/guide/events.md");
    for metric in described {
        let name = metric.name;
        assert!(recorded.contains(name), "{name} is never recorded");
        assert!(
            guide.contains(&format!("`{name}`")),
            "{name} is not in the guide"
        );
        let is_counter = format!("{:?}", metric.kind) == "Counter";
        assert_eq!(name.ends_with("_total"), is_counter, "{name}");
        let unit = metric.unit.as_str();
        assert!(
            unit == "count" || name.contains(unit),
            "{name} does not name its unit, {unit}"
        );
    }
}

#[test]
fn a_commit_that_was_merged_with_another_one_is_stored() {
    let _one = ONE.blocking_lock();
    let snapshotter = record(async || {
        let server = test_server(config());
        let mut browser = server.browser();
        browser.visit(async |s| s.put("n", 1).unwrap()).await;
        let [one, other] =
            [(); 2].map(|()| increment(server.sessions.clone(), browser.jar.clone()));
        assert_eq!(tokio::join!(one, other), (200, 200));
        assert_eq!(server.events.with_name("conflict_resolved").len(), 1);
    });
    let stored = "hyper_session_commit_seconds{store=\"TestStore\",outcome=\"stored\"}";
    assert_eq!(values(&snapshotter)[stored], 3.0);
}

#[test]
fn loads_and_commits_are_measured_by_outcome() {
    let _one = ONE.blocking_lock();
    let snapshotter = record(async || {
        let server = test_server(config());
        let mut browser = server.browser();
        browser.visit(async |s| s.put("n", 1).unwrap()).await;
        browser
            .visit(async |s| {
                s.load().await.unwrap();
                s.increment("n").unwrap();
                s.commit().await.unwrap();
            })
            .await;
        browser.pass().await;
        let mut stale = browser.clone();
        browser.visit(async |s| s.destroy().unwrap()).await;
        stale.visit(async |s| drop(s.get::<u8>("n"))).await;
        server.store.fail_always(Call::Read);
        server.store.fail_always(Call::Write);
        let mut browser = stale.clone();
        browser.jar = stale.jar.clone();
        browser.request(async |s| drop(s.load().await)).await;
        let mut new = server.browser();
        new.request(async |s| s.load().await.unwrap().put("n", 1).unwrap())
            .await;
    });
    let mut values = values(&snapshotter);
    values.retain(|name, _| name.contains("seconds"));
    let expected = [
        ("commit", "destroyed", 1.0),
        ("commit", "failed", 1.0),
        ("commit", "stored", 2.0),
        ("load", "failed", 1.0),
        ("load", "found", 2.0),
        ("load", "new", 3.0),
    ];
    let expected: BTreeMap<_, _> = expected
        .into_iter()
        .map(|(kind, outcome, count)| {
            let labels = format!("store=\"TestStore\",outcome={outcome:?}");
            (format!("hyper_session_{kind}_seconds{{{labels}}}"), count)
        })
        .collect();
    assert_eq!(values, expected);
}

/// Opens the queue of a session, lets five more requests join it, and records its length.
async fn measure_queue(server: &TestServer) {
    let mut browser = server.browser();
    browser.visit(async |s| s.put("n", 0).unwrap()).await;
    let conflicting = server.store.hold_nth(Call::Write, 0);
    let batch = server.store.hold_nth(Call::Write, 1);
    let (mut first, mut winner) = (browser.clone(), browser.clone());
    let opening = first.visit(async |s| s.increment("n").unwrap());
    let others = async {
        conflicting.reached().await;
        winner.visit(async |s| s.increment("n").unwrap()).await;
        conflicting.open();
        batch.reached().await;
        let joining = (0..5).map(|_| increment(server.sessions.clone(), browser.jar.clone()));
        let joining = futures_util::future::join_all(joining);
        let opened = async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            server.sessions.record_metrics();
            batch.open();
        };
        tokio::join!(joining, opened);
    };
    tokio::join!(opening, others);
}

#[test]
fn the_queue_of_a_hot_session_has_a_length() {
    let _one = ONE.blocking_lock();
    let values = values(&record(async || {
        measure_queue(&test_server(config())).await
    }));
    assert_eq!(values["hyper_session_queues{}"], 1.0);
    assert_eq!(values["hyper_session_queued_commits{}"], 5.0);
    let server_of_snapshot = record(async || {
        let server = test_server(config());
        measure_queue(&server).await;
        server.sessions.record_metrics();
    });
    let values = self::values(&server_of_snapshot);
    assert_eq!(values["hyper_session_queued_commits{}"], 0.0);
}

#[test]
fn an_outage_of_redis_is_visible_while_it_lasts() {
    let _one = ONE.blocking_lock();
    let events = EventLog::default();
    let outage = record(async || {
        let url = format!("redis://127.0.0.1:{}", free_port());
        let store = RedisStore::builder(&url).build().unwrap();
        let sessions = Sessions::builder(config())
            .store(store)
            .listener(events.listener())
            .build()
            .unwrap();
        let mut browser = Browser::new(&sessions);
        let visit = browser
            .request(async |s| s.load().await.unwrap().put("n", 1).unwrap())
            .await;
        assert_eq!(visit.status, 503);
        sessions.record_metrics();
    });
    let values = values(&outage);
    let store = "{store=\"redis\"}";
    assert_eq!(values[&format!("hyper_session_redis_outages{store}")], 1.0);
    assert_eq!(
        values[&format!("hyper_session_redis_outages_total{store}")],
        1.0
    );
    assert_eq!(
        values[&format!("hyper_session_redis_connections{store}")],
        0.0
    );
    let failed = "hyper_session_events_total{event=\"store_failed\",reason=\"outage\"}";
    assert_eq!(values[failed], 1.0);
}

/// Polls a future once, and drops it.
async fn poll_once(future: impl Future) {
    let mut future = std::pin::pin!(future);
    let first = std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx)));
    assert!(
        first.await.is_pending(),
        "the store does not answer at once"
    );
}

#[test]
fn an_operation_that_is_dropped_is_measured_as_cancelled() {
    let _one = ONE.blocking_lock();
    let snapshotter = record(async || {
        let server = test_server(config());
        let mut browser = server.browser();
        browser.visit(async |s| s.put("n", 1).unwrap()).await;
        let gates = [Call::Read, Call::Write, Call::Write].map(|call| server.store.hold(call));
        let load = browser.clone();
        load.clone()
            .request(async |s| poll_once(s.load()).await)
            .await;
        gates[0].open();
        let explicit = browser.clone();
        explicit
            .clone()
            .request(async |s| {
                s.load().await.unwrap().increment("n").unwrap();
                poll_once(s.commit()).await;
            })
            .await;
        // The commit at the end of a request.
        poll_once(browser.visit(async |s| s.increment("n").unwrap())).await;
        drop(gates);
    });
    let mut values = values(&snapshotter);
    values.retain(|name, _| name.contains("cancelled"));
    let name = |kind: &str| {
        format!("hyper_session_{kind}_seconds{{store=\"TestStore\",outcome=\"cancelled\"}}")
    };
    let expected = [(name("commit"), 2.0), (name("load"), 1.0)];
    assert_eq!(values, BTreeMap::from(expected));
}
