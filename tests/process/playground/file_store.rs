//! The playground with the file store. Sessions survive when the process is killed.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{
    net::Remote,
    playground::{Playground, ops},
    scratch::Scratch,
};

fn start(directory: &Path, durability: &str) -> Playground {
    Playground::start_with(&[
        ("SESSION_DRIVER", "file"),
        ("SESSION_FILE_LOCATION", directory.to_str().unwrap()),
        ("SESSION_FILE_DURABILITY", durability),
    ])
}

/// Returns a client with the visitor's cookies for a restarted process.
fn reconnect(playground: &Playground, visitor: &Remote) -> Remote {
    let mut client = playground.client();
    client.jar = visitor.jar.clone();
    client
}

async fn number(client: &mut Remote) -> u64 {
    let results = ops(client, json!([{"op": "get", "key": "n"}])).await;
    results[0].as_u64().unwrap()
}

fn increment() -> Value {
    json!([{"op": "increment", "key": "n"}])
}

#[tokio::test]
async fn a_session_goes_on_after_each_kill_and_two_hundred_increments_are_two_hundred() {
    for durability in ["always", "200ms", "os"] {
        let scratch = Scratch::new();
        let directory = scratch.path().join("sessions");
        let playground = start(&directory, durability);
        let mut client = playground.client();
        let put = json!([{"op": "put", "key": "name", "value": "ada"}, {"op": "tag", "user": 7}]);
        ops(&mut client, put).await;
        // Dropping sends SIGKILL.
        drop(playground);
        let playground = start(&directory, durability);
        let client = reconnect(&playground, &client);
        let requests = (0..200).map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { ops(&mut client, increment()).await })
        });
        for request in requests.collect::<Vec<_>>() {
            request.await.unwrap();
        }
        drop(playground);
        let playground = start(&directory, durability);
        let mut client = reconnect(&playground, &client);
        assert_eq!(number(&mut client).await, 200, "with {durability}");
        let read = json!([{"op": "get", "key": "name"}, {"op": "tagged", "user": 7}]);
        assert_eq!(ops(&mut client, read).await, json!(["ada", 1]));
    }
}

#[tokio::test]
async fn an_acknowledged_change_survives_a_kill_under_load() {
    let scratch = Scratch::new();
    let mut playground = start(scratch.path(), "always");
    let mut client = playground.client();
    ops(&mut client, increment()).await;
    let mut answered = 1;
    for _ in 0..5 {
        let clients = (0..8).map(|_| {
            let mut client = reconnect(&playground, &client);
            tokio::spawn(async move {
                let mut answered = 0;
                while client.try_post("/ops", increment().to_string()).await {
                    answered += 1;
                }
                answered
            })
        });
        let clients: Vec<_> = clients.collect();
        while number(&mut client).await < answered + 20 {}
        drop(playground);
        for client in clients {
            answered += client.await.unwrap();
        }
        playground = start(scratch.path(), "always");
        client = reconnect(&playground, &client);
        let stored = number(&mut client).await;
        // Each of the eight clients may have one stored increment without a response.
        assert!(
            (answered..=answered + 8).contains(&stored),
            "{answered} acknowledged, {stored} stored"
        );
        answered = stored;
    }
}
