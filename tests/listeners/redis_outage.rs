//! Log lines of an outage of Redis: one when it begins and one when it ends, with any listeners or none.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use http::StatusCode;
use hyper_session::{
    SessionConfig, Sessions,
    service::{SessionsBuilder, TracingListener},
    store::{RedisStore, Store},
};
use tokio::task::LocalSet;

use crate::{
    log::{Log, ONE},
    support::{
        Browser, EventLog, config,
        redis_servers::{Server, free_port, sessions::key},
    },
};

/// Returns the builder of sessions in the Redis server at `url`.
fn builder(url: &str) -> SessionsBuilder {
    let config = config().with_variables(|name| {
        Ok(match name {
            "SESSION_DRIVER" => Some("redis".to_owned()),
            "REDIS_URL" => Some(url.to_owned()),
            _ => None,
        })
    });
    Sessions::builder(config.unwrap())
}

/// Builds sessions from environment variables, with these listeners.
fn sessions(url: &str, events: &EventLog) -> Sessions {
    let builder = builder(url).listener(TracingListener);
    builder.listener(events.listener()).build().unwrap()
}

/// Returns the lines of a log without those of a start.
fn lines_after_start(log: &Log) -> Vec<String> {
    let is_later = |line: &&str| !line.contains("event=\"started\"");
    let text = log.text();
    text.lines().filter(is_later).map(str::to_owned).collect()
}

fn log_to(log: &Log) -> tracing::subscriber::DefaultGuard {
    let subscriber = tracing_subscriber::fmt().with_ansi(false);
    tracing::subscriber::set_default(subscriber.with_writer(log.clone()).finish())
}

/// The store logs it, whether a configuration opened it or the program.
#[tokio::test]
async fn an_outage_is_logged_without_any_listener() {
    let _one = ONE.lock().await;
    let url = format!("redis://127.0.0.1:{}", free_port());
    let (log, own_log) = (Log::default(), Log::default());
    let here = log_to(&log);
    let mut browser = Browser::new(&builder(&url).build().unwrap());
    let visit = browser.request(async |s| s.load().await.map(|s| s.increment("n").unwrap()));
    let visit = visit.await;
    assert_eq!(visit.status, StatusCode::SERVICE_UNAVAILABLE);
    drop(here);
    let _here = log_to(&own_log);
    let own = RedisStore::builder(&url).operation_timeout(Duration::from_secs(1));
    let error = own.build().unwrap().read(&key(), None).await.unwrap_err();
    assert!(error.is_outage(), "the log has it: {error}");
    for log in [log, own_log] {
        let lines = lines_after_start(&log);
        let [text] = &lines[..] else {
            panic!("not one line: {lines:#?}");
        };
        let address = url.strip_prefix("redis://").unwrap();
        let line = format!("event=\"store_away\" store=\"redis\" server={address} reason=");
        assert!(text.contains(&line), "{text}");
        assert!(text.contains("Connection refused"), "{text}");
    }
}

/// Another application uses the same prefix.
#[tokio::test]
async fn a_shared_prefix_is_logged_without_any_listener() {
    let _one = ONE.lock().await;
    let server = Server::start();
    builder(&server.url())
        .build()
        .unwrap()
        .ready()
        .await
        .unwrap();
    let log = Log::default();
    let _here = log_to(&log);
    let url = server.url();
    let other: SessionConfig =
        toml::from_str(&format!("store = 'redis'\n[stores.redis]\nurl = '{url}'")).unwrap();
    let other = other.app_key("the key of another application, with enough characters");
    Sessions::builder(other)
        .build()
        .unwrap()
        .ready()
        .await
        .unwrap();
    let lines = lines_after_start(&log);
    let [line] = &lines[..] else {
        panic!("not one line: {lines:#?}");
    };
    let expected = "event=\"prefix_shared\" store=\"redis\" prefix=\"session:\" other_started=20";
    assert!(line.contains("WARN") && line.contains(expected), "{line}");
}

/// The first start fails after it has found the other application.
#[tokio::test]
async fn a_start_that_is_tried_again_reports_a_shared_prefix_once() {
    let _one = ONE.lock().await;
    let server = Server::start();
    let other = "hs-application-1 1000 00";
    server.set("session:application", other.as_bytes());
    // All keys of the store except that of the application.
    let user = ["ACL", "SETUSER", "u", "on", ">p", "+@all"];
    let keys = ["~session:[0-9a-f][0-9a-f]*", "~session:t*"];
    let read = ["%R~session:application"];
    let created = server.send(&[&user[..], &keys, &read].concat());
    if created != "+OK\r\n" {
        // Redis 6.2 has no permissions to read a key only.
        return;
    }
    let log = Log::default();
    let _here = log_to(&log);
    let url = server.url().replace("://", "://u:p@");
    let sessions = builder(&url).build().unwrap();
    sessions.ready().await.unwrap_err();
    server.send(&["ACL", "SETUSER", "u", "~session:*"]);
    sessions.ready().await.unwrap();
    let lines = lines_after_start(&log);
    let shared = lines.iter().filter(|line| line.contains("prefix_shared"));
    assert_eq!(shared.count(), 1, "{lines:#?}");
}

/// Counts the responses to a group of visitors.
#[derive(Default)]
struct Visits {
    stop: Cell<bool>,
    answered: Cell<usize>,
    refused: Cell<usize>,
}

async fn visit(mut browser: Browser, visits: Rc<Visits>) {
    while !visits.stop.get() {
        let visit = browser
            .request(async |session| session.load().await.map(|s| s.increment("n").unwrap()))
            .await;
        let count = match visit.status {
            StatusCode::OK => &visits.answered,
            StatusCode::SERVICE_UNAVAILABLE => &visits.refused,
            other => panic!("{other}"),
        };
        count.set(count.get() + 1);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until `count` has grown by `by`.
async fn wait_for_growth(count: &Cell<usize>, by: usize) {
    let (goal, start) = (count.get() + by, Instant::now());
    while count.get() < goal {
        assert!(start.elapsed() < Duration::from_secs(30));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn an_outage_is_one_line_when_it_begins_and_one_when_it_ends_with_its_count() {
    const VISITORS: usize = 16;
    let _one = ONE.lock().await;
    let log = Log::default();
    let _here = log_to(&log);
    let mut server = Server::start();
    let events = EventLog::default();
    let sessions = sessions(&server.url(), &events);
    let visits = Rc::new(Visits::default());
    let here = LocalSet::new();
    let visitors: Vec<_> = (0..VISITORS)
        .map(|_| here.spawn_local(visit(Browser::new(&sessions), visits.clone())))
        .collect();
    here.run_until(async {
        wait_for_growth(&visits.answered, 10 * VISITORS).await;
        server.kill();
        // All visitors wait equally long, so none is late when the server is back.
        wait_for_growth(&visits.refused, VISITORS).await;
        server.restart();
        wait_for_growth(&visits.answered, 10 * VISITORS).await;
        visits.stop.set(true);
        for visitor in visitors {
            visitor.await.unwrap();
        }
    })
    .await;
    let lines = lines_after_start(&log);
    let [away, back] = &lines[..] else {
        panic!("not one line for each end: {lines:#?}");
    };
    assert!(away.contains("WARN") && back.contains("WARN"));
    assert!(
        away.contains("event=\"store_away\" store=\"redis\" server=127.0.0.1:"),
        "{away}"
    );
    assert!(
        back.contains("event=\"store_back\" store=\"redis\" server=127.0.0.1:"),
        "{back}"
    );
    let failed = visits.refused.get();
    assert!(
        back.ends_with(&format!("failed={failed}")),
        "{failed}: {back}"
    );
    assert_eq!(
        events.with_name("store_away").len(),
        1,
        "another listener gets the event, too"
    );
    assert_eq!(events.with_name("store_back").len(), 1);
    assert_eq!(
        events.with_name("store_failed").len(),
        failed,
        "and counters have them all"
    );
}
