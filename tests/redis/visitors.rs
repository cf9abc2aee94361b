//! Visitors of a service with a Redis store whose data is lost or damaged.

use std::time::Duration;

use hyper_session::{
    Sessions,
    clock::{Clock, Timestamp},
};
use serde_json::json;

use crate::support::{
    Browser, EventLog, config, object,
    redis_servers::{Server, sessions::connect},
};

async fn service(server: &Server, clock: &Clock) -> Sessions {
    service_with(server, clock, &EventLog::default()).await
}

async fn service_with(server: &Server, clock: &Clock, events: &EventLog) -> Sessions {
    Sessions::builder(config())
        .store(connect(server).await)
        .clock(clock.clone())
        .listener(events.listener())
        .build()
        .unwrap()
}

fn clock() -> Clock {
    Clock::manual(Timestamp::from_millis(1_800_000_000_000))
}

#[tokio::test]
async fn a_first_cookie_replayed_on_an_emptied_server_opens_nothing_for_the_victim() {
    let server = Server::start();
    let clock = clock();
    let sessions = service(&server, &clock).await;
    let mut victim = Browser::new(&sessions);
    victim.pass().await;
    let mut attacker = victim.clone();
    victim
        .visit(async |s| s.put("user", "victim"))
        .await
        .unwrap();
    server.send(&["FLUSHALL"]);
    clock.advance(Duration::from_secs(1));
    let put = async |s: &hyper_session::Session| s.put("user", "attacker");
    attacker.visit(put).await.unwrap();
    assert_eq!(victim.visit(async |s| object(s)).await, json!({}));
    let data = attacker.visit(async |s| object(s)).await;
    assert_eq!(data, json!({"user": "attacker"}));
}

#[tokio::test]
async fn a_value_of_another_type_is_a_new_session_and_can_be_destroyed() {
    let server = Server::start();
    let sessions = service(&server, &clock()).await;
    let mut browser = Browser::new(&sessions);
    let key = browser
        .visit(async |s| {
            s.put("n", 1).unwrap();
            s.store_key().unwrap()
        })
        .await;
    let name = format!("session:{key}");
    server.send(&["DEL", &name]);
    server.send(&["RPUSH", &name, "x"]);
    let new = browser
        .visit(async |s| {
            assert_eq!(object(s), json!({}));
            s.put("n", 2).unwrap();
            s.store_key().unwrap()
        })
        .await;
    assert_ne!(new, key);
    assert_eq!(browser.visit(async |s| object(s)).await, json!({"n": 2}));
    assert!(server.send(&["LRANGE", &name, "0", "-1"]).contains('x'));
    sessions.collection().destroy(&key).await.unwrap();
    assert!(
        server.send(&["TYPE", &name]).contains("string"),
        "a tombstone"
    );
}

#[tokio::test]
async fn the_event_of_a_record_that_cannot_be_read_names_its_key() {
    let server = Server::start();
    let events = EventLog::default();
    let sessions = service_with(&server, &clock(), &events).await;
    let mut browser = Browser::new(&sessions);
    let key = browser
        .visit(async |s| {
            s.put("n", 1).unwrap();
            s.store_key().unwrap()
        })
        .await;
    let name = format!("session:{key}");
    server.set(&name, b"hs9R of a newer release");
    let load = async |s: hyper_session::Session| s.load().await.map(drop);
    assert_eq!(browser.clone().request(load).await.status, 503);
    let [failed] = &events.with_name("store_failed")[..] else {
        panic!("{:?}", events.all());
    };
    assert_eq!(failed.keys, [key], "an operator finds {name}");
    server.set(&name, b"of another program");
    assert_eq!(browser.request(load).await.status, 200);
    let [unreadable] = &events.with_name("record_unreadable")[..] else {
        panic!("{:?}", events.all());
    };
    assert_eq!(unreadable.keys, [key]);
}
