//! Events as logs, spans and counters.

use std::time::Duration;

use hyper_session::{
    Sessions,
    id::StoreKey,
    service::TracingListener,
    store::{MemoryStore, ReadOutcome, Store, StoreError, StoreFuture, WriteOutcome, WriteRequest},
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use tracing_subscriber::fmt::format::FmtSpan;

use crate::{
    log::{Log, ONE},
    support::{Browser, KEY, config},
};

/// Builds sessions. Their listeners are on by default, and adding one again changes nothing.
fn sessions_with_listeners() -> Sessions {
    Sessions::builder(config())
        .store(MemoryStore::new())
        .listener(TracingListener)
        .build()
        .unwrap()
}

#[tokio::test]
async fn events_are_logged_by_the_hash_of_the_id_and_loads_and_commits_are_spans() {
    let _one = ONE.lock().await;
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::CLOSE)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _here = tracing::subscriber::set_default(subscriber);
    let mut browser = Browser::new(&sessions_with_listeners());
    let (key, id) = browser
        .visit(async |s| {
            s.put("secret", "of the session").unwrap();
            (s.store_key().unwrap(), s.id().unwrap())
        })
        .await;
    browser.visit(async |s| s.destroy()).await.unwrap();
    let text = log.text();
    assert_eq!(text.matches("event=\"initiated\"").count(), 2, "{text}");
    for event in ["event=\"committed\"", "event=\"destroyed\""] {
        assert_eq!(text.matches(event).count(), 1, "{event}: {text}");
    }
    for span in [
        "session.load{store=\"memory\" outcome=\"new\" attempts=0 bytes=2}",
        "session.commit{store=\"memory\" outcome=\"stored\" attempts=1 bytes=27}",
        "session.load{store=\"memory\" outcome=\"found\" attempts=1 bytes=27}",
        "session.commit{store=\"memory\" outcome=\"destroyed\" attempts=1 bytes=2}",
    ] {
        assert!(text.contains(span), "{span}: {text}");
    }
    assert!(text.contains(&key.to_string()), "{text}");
    assert!(
        text.contains("hyper_session") && text.contains("close"),
        "{text}"
    );
    assert!(
        !text.contains(&id.to_string()) && !text.contains("of the session"),
        "{text}"
    );
}

#[test]
fn a_start_is_one_line_without_a_secret() {
    let _one = ONE.blocking_lock();
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_ansi(false);
    let _here = tracing::subscriber::set_default(subscriber.with_writer(log.clone()).finish());
    let config = config().host_cookie().age(Duration::from_secs(600));
    drop(Sessions::new(config, MemoryStore::new()).unwrap());
    let text = log.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    for part in [
        " INFO hyper_session: ",
        "event=\"started\" store=\"memory\" cookie=\"__Host-session\"",
        "age=600s",
        "cookie_policy=Rolling",
        "on_store_failure=Unavailable",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(KEY), "{text}");
}

/// A store that always fails.
struct FailingStore;

impl Store for FailingStore {
    fn read(&self, _: &StoreKey, _: Option<Duration>) -> StoreFuture<ReadOutcome> {
        failed()
    }

    fn write(&self, _: WriteRequest) -> StoreFuture<WriteOutcome> {
        failed()
    }

    fn destroy(&self, _: &StoreKey) -> StoreFuture<()> {
        failed()
    }

    fn touch(&self, _: &StoreKey, _: Duration) -> StoreFuture<bool> {
        failed()
    }
}

fn failed<T: Send + 'static>() -> StoreFuture<T> {
    StoreFuture::ready(Err(StoreError::new("away", "ask", "no reply")))
}

#[tokio::test]
async fn an_outage_does_not_fill_the_log() {
    let _one = ONE.lock().await;
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).finish();
    let _here = tracing::subscriber::set_default(subscriber);
    let sessions = Sessions::builder(config())
        .store(FailingStore)
        .build()
        .unwrap();
    for _ in 0..100 {
        let mut browser = Browser::new(&sessions);
        let visit = browser
            .request(async |s| s.load().await.unwrap().put("n", 1).unwrap())
            .await;
        assert_eq!(visit.status, 503);
    }
    let text = log.text();
    assert_eq!(text.matches("no reply").count(), 1, "{text}");
}

#[test]
fn events_are_counted_with_their_reasons() {
    let _one = ONE.blocking_lock();
    let recorder = DebuggingRecorder::new();
    let counted = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let mut browser = Browser::new(&sessions_with_listeners());
            browser.visit(async |s| s.put("n", 1)).await.unwrap();
            browser.visit(async |s| s.put("n", 2)).await.unwrap();
            browser
                .visit(async |s| s.report_csrf_failure("no token"))
                .await;
            let mut forger = Browser::new(&sessions_with_listeners());
            forger.jar.set("session", "forged-by-a-client");
            forger.visit(async |_| ()).await;
        });
    });
    let mut counters: Vec<String> = counted
        .snapshot()
        .into_vec()
        .into_iter()
        .filter_map(|(key, _, _, value)| {
            let DebugValue::Counter(count) = value else {
                return None;
            };
            let labels: Vec<_> = key.key().labels().map(|it| it.value().to_owned()).collect();
            Some(format!(
                "{} {} {count}",
                key.key().name(),
                labels.join(": ")
            ))
        })
        .collect();
    counters.sort();
    assert_eq!(
        counters,
        [
            "hyper_session_events_total committed 2",
            "hyper_session_events_total cookie_rejected: too_short 1",
            "hyper_session_events_total csrf_refused: no token 1",
            "hyper_session_events_total initiated 4",
        ]
    );
}

#[cfg(all(unix, feature = "file"))]
#[test]
fn a_problem_of_a_file_store_is_logged_and_counted() {
    use std::fs;

    use hyper_session::store::{Expected, FileStore};

    use crate::support::scratch::{Scratch, key};

    let _one = ONE.blocking_lock();
    let scratch = Scratch::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = FileStore::open(scratch.path()).unwrap();
        for number in 0..3 {
            let life = Duration::from_secs(3600);
            let request = WriteRequest::new(&key(number), vec![7; 500], life, Expected::Any);
            store.write(request).await.unwrap();
        }
        store.close().await.unwrap();
    });
    let segment = scratch.path().join("0000000001.log");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[500] ^= 1;
    fs::write(&segment, bytes).unwrap();
    fs::remove_file(segment.with_extension("hint")).unwrap();
    let mut config = config().store("file");
    config.stores.file.location = scratch.path().into();
    config.stores.file.on_damage = Some("drop_uncertain".into());

    let (log, recorder) = (Log::default(), DebuggingRecorder::new());
    let subscriber = tracing_subscriber::fmt().with_ansi(false);
    let _here = tracing::subscriber::set_default(subscriber.with_writer(log.clone()).finish());
    metrics::with_local_recorder(&recorder, || {
        drop(Sessions::builder(config).build().unwrap())
    });
    let text = log.text();
    let warnings: Vec<_> = text.lines().filter(|line| line.contains("WARN")).collect();
    let [warning] = warnings[..] else {
        panic!("{text}");
    };
    let expected = "event=\"store_problem\" store=\"file\" problem=\"damaged\" /";
    assert!(warning.contains(expected), "{warning}");
    let counted = recorder.snapshotter().snapshot().into_vec();
    let labels = counted.iter().map(|(key, ..)| {
        let labels = key.key().labels();
        labels.map(|label| label.value()).collect::<Vec<_>>()
    });
    let labels: Vec<_> = labels
        .filter(|labels| labels.contains(&"store_problem"))
        .collect();
    assert_eq!(labels, [["store_problem", "damaged"]]);
}
