//! The start of a service: it waits for its Redis up to a limit, and then says clearly that it is
//! not there.

use std::{
    thread,
    time::{Duration, Instant},
};

use hyper_session::{SessionConfig, Sessions, store::StoreError};
use serde_json::json;

use crate::support::{
    playground::{Playground, ops},
    redis_servers::{Server, free_port},
};

/// Sessions after this configuration, with the key of the tests.
fn sessions(toml: &str) -> Sessions {
    let config: SessionConfig = toml::from_str(toml).unwrap();
    Sessions::builder(config.app_key(crate::support::KEY))
        .build()
        .unwrap()
}

/// The section of a Redis at `port`, which is waited for so many milliseconds.
fn redis(port: u16, millis: u64) -> String {
    format!("[stores.redis]\nurl = 'redis://127.0.0.1:{port}'\nstartup_timeout = '{millis}ms'")
}

async fn failure(toml: &str) -> StoreError {
    sessions(toml).ready().await.unwrap_err()
}

const PAUSE: Duration = Duration::from_millis(700);

/// A server that is there a while later.
fn later(port: u16) -> thread::JoinHandle<Server> {
    thread::spawn(move || {
        thread::sleep(PAUSE);
        Server::start_on(port, &[])
    })
}

#[tokio::test]
async fn a_server_that_starts_later_is_waited_for() {
    let port = free_port();
    let sessions = sessions(&format!("store = 'redis'\n{}", redis(port, 10_000)));
    let start = Instant::now();
    let _server = later(port);
    sessions.ready().await.unwrap();
    assert!(start.elapsed() >= PAUSE, "it was not there yet");
    sessions.ready().await.unwrap();
}

/// Wherever Redis stands in the configuration, it is waited for.
#[tokio::test]
async fn a_server_that_does_not_come_is_an_error_after_the_time_that_was_set() {
    let port = free_port();
    for stores in [
        "store = 'redis'",
        "store = 'memory'\nmigrate_from = 'redis'",
        "store = 'memory'\nmigrate_to = 'redis'",
        "store = 'cookie'\n[stores.cookie]\noverflow = 'redis'",
        "store = 'cookie'\n[stores.cookie]\nrevocation = 'redis'",
        "store = 'redis'\nmigrate_from = 'cookie'",
    ] {
        let start = Instant::now();
        let text = failure(&format!("{stores}\n{}", redis(port, 400)))
            .await
            .to_string();
        let took = start.elapsed();
        assert!(took < Duration::from_secs(3), "{stores}: {took:?}");
        for word in ["redis: connect failed", "400ms", "not connected"] {
            assert!(text.contains(word), "{stores}: {text}");
        }
    }
}

#[tokio::test]
async fn a_server_that_refuses_the_user_is_an_error_at_once() {
    let server = Server::start_with(&["--requirepass", "pa55word"]);
    let start = Instant::now();
    let error = failure(&format!("store = 'redis'\n{}", redis(server.port, 60_000))).await;
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(format!("{error:?}").contains("password"), "{error:?}");
}

#[tokio::test]
async fn stores_of_this_process_are_ready_as_they_are() {
    for store in ["memory", "cookie"] {
        let sessions = sessions(&format!("store = '{store}'"));
        sessions.ready().await.unwrap();
    }
}

fn variables(url: &str) -> [(&str, &str); 2] {
    [("SESSION_DRIVER", "redis"), ("REDIS_URL", url)]
}

#[tokio::test]
async fn the_playground_starts_once_its_server_is_there() {
    let port = free_port();
    let server = later(port);
    let url = format!("redis://127.0.0.1:{port}");
    let playground = Playground::start_with(&variables(&url));
    let _server = server.join().unwrap();
    let mut client = playground.client();
    let increment = json!([{"op": "increment", "key": "n"}]);
    for n in 1..=2 {
        assert_eq!(ops(&mut client, increment.clone()).await, json!([n]));
    }
}

/// What the playground says on its way out, and after how long.
fn refused(url: &str) -> (String, Duration) {
    let mut command = Playground::command(&variables(url));
    let start = Instant::now();
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let listening = String::from_utf8(output.stdout).unwrap();
    assert!(!listening.contains("listening"), "{listening}");
    (said, start.elapsed())
}

#[test]
fn the_playground_without_its_server_ends_after_ten_seconds_and_says_why() {
    let (said, took) = refused(&format!("redis://127.0.0.1:{}", free_port()));
    assert!(took >= Duration::from_secs(9), "it waits: {took:?}");
    assert!(took < Duration::from_secs(60), "{took:?}");
    let error = "error: session store redis: connect failed: no answer from Redis within 10s";
    assert!(said.contains(error), "{said}");
}

#[test]
fn the_playground_whose_server_refuses_it_ends_at_once_and_says_why() {
    let server = Server::start_with(&["--requirepass", "pa55word"]);
    let (said, _) = refused(&server.url());
    assert!(
        said.contains("error: session store redis: connect failed"),
        "{said}"
    );
    assert!(said.contains("password"), "{said}");
}
