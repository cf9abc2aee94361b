//! Each kind of event is emitted once, with its fields.

use std::time::Duration;

use hyper_session::{Event, Listener, Session, Sessions, store::MemoryStore};

use crate::support::{Browser, Call, TestServer, config, test_server};

async fn visitor(server: &TestServer) -> Browser {
    let mut browser = server.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    server.events.clear();
    browser
}

#[tokio::test]
async fn initiated_says_whether_the_session_holds_anything_yet() {
    let server = test_server(config());
    let mut browser = server.browser();
    let key = browser
        .visit(async |s| {
            s.put("n", 1).unwrap();
            s.store_key().unwrap()
        })
        .await;
    browser.visit(async |s| s.has("n")).await.unwrap();
    let initiated = server.events.with_name("initiated");
    assert_eq!(initiated.len(), 2);
    assert_eq!(
        (&*initiated[0].text, &*initiated[1].text),
        ("fresh=true", "fresh=false")
    );
    assert!(initiated.iter().all(|event| event.keys == [key]));
}

#[tokio::test]
async fn committed_is_emitted_where_changes_were_stored() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    let key = browser
        .visit(async |s| {
            s.put("n", 2).unwrap();
            s.store_key().unwrap()
        })
        .await;
    assert_eq!(server.events.names(), ["initiated", "committed"]);
    assert_eq!(server.events.with_name("committed")[0].keys, [key]);
}

#[tokio::test]
async fn a_request_that_only_reads_commits_nothing() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    browser.visit(async |s| s.has("n")).await.unwrap();
    assert_eq!(server.events.names(), ["initiated"]);
}

#[tokio::test]
async fn migrated_names_both_keys() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    let from = browser
        .clone()
        .visit(async |s| s.store_key())
        .await
        .unwrap();
    server.events.clear();
    let to = browser
        .visit(async |s| {
            s.regenerate().unwrap();
            s.store_key().unwrap()
        })
        .await;
    assert_eq!(
        server.events.names(),
        ["initiated", "migrated", "committed"]
    );
    assert_eq!(server.events.with_name("migrated")[0].keys, [from, to]);
}

#[tokio::test]
async fn destroyed_is_emitted_by_the_handle_and_by_the_collection() {
    let server = test_server(config());
    for by_key in [false, true] {
        let mut browser = visitor(&server).await;
        let key = browser
            .clone()
            .visit(async |s| s.store_key())
            .await
            .unwrap();
        server.events.clear();
        if by_key {
            server.sessions.collection().destroy(&key).await.unwrap();
        } else {
            browser.visit(async |s| s.destroy()).await.unwrap();
        }
        let destroyed = server.events.with_name("destroyed");
        assert_eq!(destroyed.len(), 1, "by key: {by_key}");
        assert_eq!(destroyed[0].keys, [key]);
    }
}

#[tokio::test]
async fn conflict_resolved_says_how_often_it_was_tried_again() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    let mut other = browser.clone();
    browser
        .visit(async |s| {
            other.visit(async |s| s.increment("n")).await.unwrap();
            s.increment("n").unwrap();
        })
        .await;
    let resolved = server.events.with_name("conflict_resolved");
    assert_eq!((resolved.len(), &*resolved[0].text), (1, "1"));
}

#[tokio::test]
async fn write_dropped_gives_the_reason() {
    type End = fn(&Session);
    let ends: [(End, &str); 2] = [
        (
            |s| s.destroy().unwrap(),
            "the session was destroyed, expired or evicted",
        ),
        (
            |s| s.regenerate().unwrap(),
            "the session was given a new id",
        ),
    ];
    for (end, reason) in ends {
        let server = test_server(config());
        let mut browser = visitor(&server).await;
        let mut other = browser.clone();
        browser
            .visit(async |s| {
                other.visit(async |s| end(s)).await;
                s.put("late", 1).unwrap();
            })
            .await;
        let dropped = server.events.with_name("write_dropped");
        assert_eq!((dropped.len(), &*dropped[0].text), (1, reason));
    }
}

#[tokio::test]
async fn cookie_rejected_gives_a_reason_and_nothing_of_the_cookie() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser.pass().await;
    let good = browser.cookie().unwrap().to_owned();
    for bad in [
        "",
        "brief",
        &good[..good.len() - 1],
        &good.replace(&good[40..44], "!!!!"),
    ] {
        server.events.clear();
        browser.jar.set("session", bad);
        browser.visit(async |_| ()).await;
        let rejected = server.events.with_name("cookie_rejected");
        assert_eq!(rejected.len(), 1, "{bad:?}");
        let reason = &rejected[0].text;
        assert!(!reason.is_empty() && reason.len() < 40, "{reason}");
        let parts = bad.as_bytes().windows(8);
        let parts = parts.map(|part| std::str::from_utf8(part).unwrap());
        for part in parts.chain((!bad.is_empty()).then_some(bad)) {
            assert!(!reason.contains(part), "{reason} contains {part}");
        }
    }
}

#[tokio::test]
async fn store_failed_is_emitted_once_a_failure() {
    for call in [Call::Read, Call::Write] {
        let server = test_server(config());
        let mut browser = visitor(&server).await;
        server.store.fail(call);
        browser
            .request(async |s| {
                if s.load().await.is_ok() {
                    s.put("n", 2).unwrap();
                    s.tag("ada").unwrap();
                }
            })
            .await;
        let failed = server.events.with_name("store_failed");
        assert_eq!(failed.len(), 1, "{call:?}");
        assert!(failed[0].text.contains("test"), "it names the store");
    }
}

#[tokio::test]
async fn config_adjusted_is_emitted_when_an_age_is_longer_than_browsers_keep_a_cookie() {
    let events = crate::support::EventLog::default();
    let build = |days: u64| {
        let age = Duration::from_secs(days * 24 * 3_600);
        let sessions = Sessions::builder(config().age(age).store("memory"));
        sessions.listener(events.listener()).build()
    };
    build(400).unwrap();
    assert_eq!(events.names(), [""; 0]);
    let sessions = build(401);
    assert_eq!(events.names(), ["config_adjusted"]);
    assert!(events.all()[0].text.contains("400 days"));
    let visit = Browser::new(&sessions.unwrap()).pass().await;
    assert!(visit.cookie().contains("Max-Age=34560000;"));
}

#[tokio::test]
async fn several_listeners_get_the_same_events_and_none_is_needed() {
    let (one, two) = (
        crate::support::EventLog::default(),
        crate::support::EventLog::default(),
    );
    let sessions = Sessions::builder(config().store("memory"))
        .listener(one.listener())
        .listener(two.listener())
        .build()
        .unwrap();
    let mut browser = Browser::new(&sessions);
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    assert_eq!(one.all(), two.all());
    assert_eq!(one.names(), ["initiated", "committed"]);

    let silent = Sessions::new(config(), MemoryStore::new()).unwrap();
    let mut browser = Browser::new(&silent);
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    assert_eq!(browser.visit(async |s| s.get("n")).await.unwrap(), Some(1));
}

#[tokio::test]
async fn a_panic_of_a_listener_affects_neither_the_request_nor_other_listeners() {
    let events = crate::support::EventLog::default();
    struct PanickingListener;
    impl Listener for PanickingListener {
        fn on_event(&self, event: &Event<'_>) {
            panic!("{}", event.name());
        }

        fn wants_routine_events(&self) -> bool {
            panic!("the listener is asked for the events it wants");
        }
    }
    let sessions = Sessions::builder(config().store("memory"))
        .listener(PanickingListener)
        .listener(events.listener())
        .build()
        .unwrap();
    let mut browser = Browser::new(&sessions);
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    assert_eq!(browser.visit(async |s| s.get("n")).await.unwrap(), Some(1));
    assert_eq!(events.names(), ["initiated", "committed", "initiated"]);
}

#[tokio::test]
async fn a_request_that_leaves_its_session_alone_emits_nothing() {
    let server = test_server(config());
    let mut browser = visitor(&server).await;
    browser.pass().await;
    assert_eq!(server.events.names(), [""; 0]);
}
