//! The start of a service. It waits for Redis up to a limit, and then fails with a clear error.

use std::{
    thread,
    time::{Duration, Instant},
};

use hyper_session::{
    SessionConfig, Sessions,
    store::{StoreError, redis::RedisStore},
};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::support::{
    playground::{Playground, ops},
    redis_servers::{
        Server, free_port,
        groups::{Cluster, SentinelGroup},
    },
};

/// Builds `Sessions` from this configuration, with the key of the tests.
fn sessions(toml: &str) -> Sessions {
    let config: SessionConfig = toml::from_str(toml).unwrap();
    Sessions::builder(config.app_key(crate::support::KEY))
        .build()
        .unwrap()
}

/// Returns the configuration of a Redis server at `port`, with this startup timeout.
fn redis_config(port: u16, millis: u64) -> String {
    format!("[stores.redis]\nurl = 'redis://127.0.0.1:{port}'\nstartup_timeout = '{millis}ms'")
}

async fn ready_error(toml: &str) -> StoreError {
    sessions(toml).ready().await.unwrap_err()
}

const PAUSE: Duration = Duration::from_millis(700);

/// Starts a server after a pause.
fn start_later(port: u16) -> thread::JoinHandle<Server> {
    thread::spawn(move || {
        thread::sleep(PAUSE);
        Server::start_on(port, &[])
    })
}

#[tokio::test]
async fn a_server_that_starts_later_is_waited_for() {
    let port = free_port();
    let sessions = sessions(&format!("store = 'redis'\n{}", redis_config(port, 10_000)));
    let start = Instant::now();
    let _server = start_later(port);
    sessions.ready().await.unwrap();
    assert!(start.elapsed() >= PAUSE, "the server was not running yet");
    sessions.ready().await.unwrap();
}

/// In every role that a configuration can give to Redis, the service waits for it.
#[tokio::test]
async fn a_server_that_does_not_start_is_an_error_after_the_startup_timeout() {
    let port = free_port();
    for stores in [
        "store = 'redis'",
        "store = 'memory'\nmigrate_from = 'redis'",
        "store = 'memory'\nmigrate_to = 'redis'",
        "store = 'cookie'\n[stores.cookie]\noverflow = 'redis'",
        "store = 'cookie'\n[stores.cookie]\nrevocation = 'redis'",
        "store = 'redis'\nmigrate_from = 'cookie'",
    ] {
        let error = ready_error(&format!("{stores}\n{}", redis_config(port, 400))).await;
        let text = format!("{error:?}");
        let expected = format!(
            "redis: connect failed: no reply from Redis at 127.0.0.1:{port} within 400ms (last attempt: \
             not connected: Connection refused)"
        );
        assert!(text.contains(&expected), "{stores}: {text}");
    }
}

/// The store notices the outage long before the startup timeout.
#[tokio::test]
async fn a_startup_longer_than_an_operation_ends_with_the_startup_timeout() {
    let port = free_port();
    let operation = Duration::from_millis(100);
    let error = RedisStore::builder(&format!("redis://127.0.0.1:{port}"))
        .command_timeout(operation)
        .operation_timeout(operation)
        .startup_timeout(10 * operation)
        .connect()
        .await
        .unwrap_err();
    let expected = format!(
        "no reply from Redis at 127.0.0.1:{port} within 1s (last attempt: not connected: Connection refused)"
    );
    assert!(format!("{error:?}").contains(&expected), "{error:?}");
}

#[tokio::test]
async fn a_server_that_rejects_the_user_is_an_error_at_once() {
    let server = Server::start_with(&["--requirepass", "pa55word"]);
    let start = Instant::now();
    let error = ready_error(&format!(
        "store = 'redis'\n{}",
        redis_config(server.port, 60_000)
    ))
    .await;
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(format!("{error:?}").contains("password"), "{error:?}");
}

/// Returns the error of a start, which must come long before the startup timeout, and its text.
async fn error_at_once(url: &str) -> String {
    let start = Instant::now();
    let toml = format!("store = 'redis'\n[stores.redis]\nurl = '{url}'\nstartup_timeout = '1m'");
    let text = format!("{:?}", ready_error(&toml).await);
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "{:?}: {text}",
        start.elapsed()
    );
    text
}

#[tokio::test]
async fn a_database_that_the_server_does_not_have_is_an_error_at_once() {
    let port = Server::start();
    let text = error_at_once(&format!("{}/99", port.url())).await;
    let reason = format!(
        "127.0.0.1:{}: server rejected the connection (ERR DB index is out",
        port.port
    );
    assert!(text.contains(&reason), "{text}");
}

#[tokio::test]
async fn a_host_that_the_resolver_does_not_know_is_an_error_at_once() {
    let text = error_at_once("redis://no-such-host.invalid:7000").await;
    assert!(
        text.contains("no-such-host.invalid:7000: host is unknown"),
        "{text}"
    );
}

#[tokio::test]
async fn a_port_of_http_is_an_error_at_once() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut request = [0; 1024];
            let _ = client.read(&mut request).await;
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let text = error_at_once(&format!("redis://127.0.0.1:{port}")).await;
    assert!(
        text.contains(&format!("127.0.0.1:{port}: server speaks HTTP")),
        "{text}"
    );
    serving.abort();
}

fn assert_names(text: &str, server: &Server, problem: &str) {
    let expected = format!("127.0.0.1:{}: {problem}", server.port);
    assert!(text.contains(&expected), "{expected}: {text}");
}

#[tokio::test]
async fn a_node_of_a_cluster_under_the_url_of_one_server_is_an_error_at_once() {
    let cluster = Cluster::start_with_replicas(0);
    for node in &cluster.0 {
        let text = error_at_once(&node.url()).await;
        assert_names(
            &text,
            node,
            "server is a node of a cluster; write the scheme `redis-cluster://`",
        );
    }
}

#[tokio::test]
async fn one_server_under_the_url_of_a_cluster_is_an_error_at_once() {
    let server = Server::start();
    let text = error_at_once(&format!("redis-cluster://127.0.0.1:{}", server.port)).await;
    assert_names(
        &text,
        &server,
        "server is not part of a cluster; write the scheme `redis://`",
    );
}

#[tokio::test]
async fn a_sentinel_under_another_url_is_an_error_at_once() {
    let group = SentinelGroup::start();
    let sentinel = &group.sentinels[0];
    for scheme in ["redis", "redis-cluster"] {
        let text = error_at_once(&format!("{scheme}://127.0.0.1:{}", sentinel.port)).await;
        assert_names(
            &text,
            sentinel,
            "server does not run `GET`, like a Sentinel; write the scheme",
        );
    }
}

/// Serves the protocol of Redis on one connection after the other. Rejects `GET` with this error.
async fn reject_get(listener: tokio::net::TcpListener, error: &'static str) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(async move {
            let (from_client, mut to_client) = client.into_split();
            let mut lines = BufReader::new(from_client).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let reply = match &*line {
                    "HELLO 3" => "%1\r\n+proto\r\n:3\r\n",
                    "GET" => error,
                    "PING" | "CLIENT" | "INFO" => "-ERR not supported\r\n",
                    _ => continue,
                };
                let _ = to_client.write_all(reply.as_bytes()).await;
            }
        });
    }
}

#[tokio::test]
async fn only_an_unknown_get_is_that_of_a_server_of_another_kind() {
    for (error, expected) in [
        (
            "-ERR unknown command 'GET', with args beginning with: 'x'\r\n",
            "server does not run `GET`",
        ),
        ("-ERR backend is full\r\n", "rejected the command: ERR"),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = tokio::spawn(reject_get(listener, error));
        let text = error_at_once(&format!("redis://127.0.0.1:{port}")).await;
        assert!(text.contains(expected), "{error}: {text}");
        serving.abort();
    }
}

#[tokio::test]
async fn stores_without_a_server_are_ready_at_once() {
    for store in ["memory", "cookie"] {
        let sessions = sessions(&format!("store = '{store}'"));
        sessions.ready().await.unwrap();
    }
}

fn variables(url: &str) -> [(&str, &str); 2] {
    [("SESSION_DRIVER", "redis"), ("REDIS_URL", url)]
}

#[tokio::test]
async fn the_playground_starts_once_its_server_runs() {
    let port = free_port();
    let server = start_later(port);
    let url = format!("redis://127.0.0.1:{port}");
    let playground = Playground::start_with(&variables(&url));
    let _server = server.join().unwrap();
    let mut client = playground.client();
    let increment = json!([{"op": "increment", "key": "n"}]);
    for n in 1..=2 {
        assert_eq!(ops(&mut client, increment.clone()).await, json!([n]));
    }
}

/// Runs a playground that must fail; returns its error output and its run time.
fn run_to_failure(url: &str) -> (String, Duration) {
    let mut command = Playground::command(&variables(url));
    let start = Instant::now();
    let output = command.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let listening = String::from_utf8(output.stdout).unwrap();
    assert!(!listening.contains("listening"), "{listening}");
    (errors, start.elapsed())
}

#[test]
fn the_playground_without_its_server_fails_after_ten_seconds_with_the_reason() {
    let port = free_port();
    let (errors, took) = run_to_failure(&format!("redis://127.0.0.1:{port}"));
    assert!(took >= Duration::from_secs(9), "it waits: {took:?}");
    assert!(took < Duration::from_secs(60), "{took:?}");
    let error = format!(
        "error: session store redis: connect failed: no reply from Redis at 127.0.0.1:{port} within 10s \
         (last attempt: not connected: Connection refused)"
    );
    assert!(errors.contains(&error), "{errors}");
}

#[test]
fn the_playground_whose_server_rejects_it_fails_at_once_with_the_reason() {
    let server = Server::start_with(&["--requirepass", "pa55word"]);
    let (errors, _) = run_to_failure(&server.url());
    assert!(
        errors.contains("error: session store redis: connect failed"),
        "{errors}"
    );
    assert!(errors.contains("password"), "{errors}");
}
