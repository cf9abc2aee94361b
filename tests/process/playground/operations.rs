//! The playground as a process: every operation over HTTP, settings, and a graceful stop.

use std::time::Duration;

use hyper_session::document::IsoDate;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    net::Remote,
    playground::{Playground, ops},
};

#[tokio::test]
async fn every_operation_on_data_answers() {
    let playground = Playground::start();
    let mut client = playground.client();
    let results = ops(
        &mut client,
        json!([
            {"op": "put", "key": "user.name", "value": "ada"},
            {"op": "put", "key": ["a.b", "c"], "value": null},
            {"op": "get", "key": "user"},
            {"op": "get", "key": "none"},
            {"op": "get", "key": "none", "default": [1]},
            {"op": "has", "key": "user.name"},
            {"op": "has", "key": ["a.b", "c"]},
            {"op": "increment", "key": "n"},
            {"op": "increment", "key": "n", "by": 4},
            {"op": "decrement", "key": "n"},
            {"op": "decrement", "key": "n", "by": 2.5},
            {"op": "merge", "values": {"user": {"id": 1}}},
            {"op": "replace", "values": {"n": 1.5}},
            {"op": "all"},
            {"op": "replace", "values": [1]},
            {"op": "merge", "values": {"user": {"id": 1, "name": "ada"}, "a.b": {"c": null}}},
            {"op": "pull", "key": "n"},
            {"op": "pull", "key": "n", "default": "gone"},
            {"op": "forget", "key": "user.name"},
            {"op": "all"},
            {"op": "sleep", "ms": 1},
            {"op": "clear"},
            {"op": "all"},
        ]),
    )
    .await;
    let expected = json!([
        null, null, {"name": "ada"}, null, [1], true, false, 1, 5, 4, 1.5, null, null, {"n": 1.5},
        {"error": "cannot merge or replace: the values are not an object; pass a map or a struct"},
        null, 1.5, "gone", null,
        {"user": {"id": 1}, "a.b": {"c": null}}, null, null, {}
    ]);
    assert_eq!(results, expected);
}

#[tokio::test]
async fn a_pull_that_finds_nothing_keeps_the_put_of_a_parallel_request() {
    let playground = Playground::start();
    let mut client = playground.client();
    ops(&mut client, json!([{"op": "put", "key": "n", "value": 1}])).await;
    let (mut slow, mut fast) = (client.clone(), client.clone());
    let pulling = async {
        let pull = json!([
            {"op": "pull", "key": "note"},
            {"op": "put", "key": "n", "value": 2},
            {"op": "sleep", "ms": 500},
        ]);
        ops(&mut slow, pull).await
    };
    let putting = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let put = json!([{"op": "put", "key": "note", "value": "b"}]);
        ops(&mut fast, put).await;
    };
    let (pulled, ()) = tokio::join!(pulling, putting);
    // On a slow machine, the put may come first.
    let expected = match pulled[0].is_null() {
        true => json!("b"),
        false => json!(null),
    };
    let read = json!([{"op": "get", "key": "note"}, {"op": "get", "key": "n"}]);
    assert_eq!(ops(&mut client, read).await, json!([expected, 2]));
}

#[tokio::test]
async fn the_lifetime_of_a_session_is_read_and_set() {
    let playground = Playground::start();
    let mut client = playground.client();
    let set = json!([
        {"op": "put", "key": "n", "value": 1},
        {"op": "max_age", "seconds": 2_592_000},
        {"op": "max_age", "seconds": 0},
        {"op": "max_age", "seconds": -1},
        {"op": "max_age"},
    ]);
    let results = ops(&mut client, set).await;
    assert_eq!((&results[0], &results[1]), (&json!(null), &json!(null)));
    let errors: Vec<&str> = (2..5)
        .map(|at| results[at]["error"].as_str().unwrap())
        .collect();
    assert_eq!(
        errors[0],
        "session max age is zero; call `destroy` to end the session"
    );
    assert!(errors[1].starts_with("`seconds`: "), "{errors:?}");
    assert_eq!(errors[2], "`seconds` is missing");
    let read = json!([{"op": "created_at"}, {"op": "last_seen"}, {"op": "expires_at"}]);
    let dates = ops(&mut client, read).await;
    let time = |at: usize| -> std::time::SystemTime {
        let date: IsoDate = serde_json::from_value(dates[at].clone()).unwrap();
        date.into()
    };
    let age = time(2).duration_since(time(1)).unwrap();
    assert_eq!(age, Duration::from_secs(2_592_000));
    assert!(time(0) <= time(1), "{dates}");
    let reset = json!([{"op": "browser_session"}, {"op": "reset_max_age"}, {"op": "expires_at"}]);
    let results = ops(&mut client, reset).await;
    assert_eq!((&results[0], &results[1]), (&json!(null), &json!(null)));
    assert!(results[2].as_str() < dates[2].as_str(), "{results}");
    // The old id forwards to the new one for the grace window.
    let mut old = client.clone();
    let rotate = json!([{"op": "rotate", "grace_ms": 60_000}, {"op": "rotate"}]);
    let results = ops(&mut client, rotate).await;
    assert_eq!(results, json!([null, {"error": "`grace_ms` is missing"}]));
    let read = json!([{"op": "get", "key": "n"}]);
    assert_eq!(ops(&mut client, read.clone()).await, json!([1]));
    assert_eq!(ops(&mut old, read).await, json!([1]));
}

#[tokio::test]
async fn the_devices_of_a_user_are_listed_with_their_times() {
    let playground = Playground::start();
    let (mut phone, mut laptop) = (playground.client(), playground.client());
    let sign_in = json!([{"op": "tag", "user": 7}]);
    ops(&mut phone, sign_in.clone()).await;
    ops(&mut laptop, sign_in).await;
    let results = ops(
        &mut phone,
        json!([{"op": "devices", "user": 7}, {"op": "created_at"}, {"op": "devices", "user": 8}]),
    )
    .await;
    let devices = results[0].as_array().unwrap();
    assert_eq!(devices.len(), 2);
    let is_current = |device: &&serde_json::Value| device["is_current"] == json!(true);
    let current = devices.iter().filter(is_current).collect::<Vec<_>>();
    assert_eq!(current.len(), 1);
    assert_eq!(current[0]["created_at"], results[1]);
    assert!(current[0]["last_seen"].as_str() >= results[1].as_str());
    assert_eq!(results[2], json!([]));
}

#[tokio::test]
async fn operations_on_lists_answer() {
    let playground = Playground::start();
    let results = ops(
        &mut playground.client(),
        json!([
            {"op": "push", "key": "list", "value": 1},
            {"op": "push", "key": "list", "value": 1},
            {"op": "push_unique", "key": "list", "value": {"a": 2, "b": 3}},
            {"op": "push_unique", "key": "list", "value": {"b": 3, "a": 2}},
            {"op": "remove_value", "key": "list", "value": 1},
            {"op": "remove_value", "key": "list", "value": 1},
            {"op": "put_if_absent", "key": "first", "value": "a"},
            {"op": "put_if_absent", "key": "first", "value": "b"},
            {"op": "increment", "key": "sum", "by": 0.5},
            {"op": "increment", "key": "sum", "by": 0.25},
            {"op": "all"},
        ]),
    )
    .await;
    let list = json!({"list": [{"a": 2, "b": 3}], "first": "a", "sum": 0.75});
    let expected = json!([
        null, null, true, false, true, false, true, false, 0.5, 0.75, list
    ]);
    assert_eq!(results, expected);
}

#[tokio::test]
async fn one_operation_that_fails_does_not_stop_the_others() {
    let playground = Playground::start();
    let results = ops(
        &mut playground.client(),
        json!([
            {"op": "put", "key": "t", "value": "text"},
            {"op": "increment", "key": "t"},
            {"op": "no_such_thing"},
            {"op": "put", "key": "x"},
            {"op": "get"},
            {"op": "set_intended_url", "url": "//evil.example"},
            {"op": "get", "key": "t"},
        ]),
    )
    .await;
    let results = results.as_array().unwrap();
    for failed in &results[1..6] {
        assert!(
            failed["error"].as_str().is_some_and(|text| text.len() > 5),
            "{failed}"
        );
    }
    assert_eq!((&results[0], &results[6]), (&json!(null), &json!("text")));
}

#[tokio::test]
async fn flash_messages_live_for_one_request() {
    let playground = Playground::start();
    let mut client = playground.client();
    let form = json!({"name": "ada", "password": "x"});
    ops(
        &mut client,
        json!([
            {"op": "flash", "key": "a.b", "value": 0},
            {"op": "flash", "values": {"c": 1}},
            {"op": "flash_errors", "values": {"E_A": "one", "b.c": "two"}},
            {"op": "flash_all", "input": form},
            {"op": "flash_only", "input": form, "keys": ["name"]},
            {"op": "flash_except", "input": form, "keys": ["password"]},
            {"op": "flash_messages"},
        ]),
    )
    .await;
    let results = ops(
        &mut client,
        json!([
            {"op": "flash_messages"},
            {"op": "flash_get", "key": "a.b"},
            {"op": "flash_has", "key": "password"},
            {"op": "reflash"},
            {"op": "reflash_except", "keys": ["a", "errorsBag"]},
        ]),
    )
    .await;
    let errors = json!({"E_A": "one", "b.c": "two"});
    let expected = json!({"name": "ada", "a": {"b": 0}, "c": 1, "errorsBag": errors});
    assert_eq!(results[0], expected);
    assert_eq!((&results[1], &results[2]), (&json!(0), &json!(false)));
    let results = ops(
        &mut client,
        json!([
            {"op": "flash_messages"}, {"op": "reflash_only", "keys": ["c"]}
        ]),
    )
    .await;
    assert_eq!(results[0], json!({"name": "ada", "c": 1}));
    let read = json!([{"op": "flash_messages"}]);
    assert_eq!(ops(&mut client, read.clone()).await, json!([{"c": 1}]));
    assert_eq!(ops(&mut client, read).await, json!([{}]));
}

#[tokio::test]
async fn sign_in_two_devices_and_log_out_everywhere() {
    let playground = Playground::start();
    let (mut phone, mut laptop) = (playground.client(), Remote::http2(playground.address));
    let before = ops(&mut phone, json!([{"op": "id"}, {"op": "fresh"}])).await;
    assert_eq!(before[1], json!(true));
    let mut old = phone.clone();
    let sign_in = json!([
        {"op": "regenerate"}, {"op": "put", "key": "user", "value": 7}, {"op": "tag", "user": 7},
        {"op": "id"}, {"op": "set_intended_url", "url": "/a?b=1"}
    ]);
    let after = ops(&mut phone, sign_in.clone()).await;
    assert_ne!(before[0], after[3]);
    ops(&mut laptop, sign_in).await;
    assert_eq!(
        ops(&mut old, json!([{"op": "get", "key": "user"}])).await,
        json!([null])
    );
    let read = json!([
        {"op": "tagged", "user": 7}, {"op": "intended_url"}, {"op": "pull_intended_url"},
        {"op": "clear_intended_url"}, {"op": "intended_url"}
    ]);
    let expected = json!([2, "/a?b=1", "/a?b=1", null, null]);
    assert_eq!(ops(&mut phone, read).await, expected);
    ops(&mut laptop, json!([{"op": "untag", "user": 7}])).await;
    let everywhere = json!([{"op": "logout_everywhere", "user": 7}]);
    assert_eq!(ops(&mut laptop, everywhere).await, json!([1]));
    let user = json!([{"op": "get", "key": "user"}]);
    assert_eq!(ops(&mut phone, user.clone()).await, json!([null]));
    assert_eq!(
        ops(&mut laptop, json!([{"op": "destroy"}])).await,
        json!([null])
    );
    assert_eq!(laptop.jar.get("session"), None);
    assert_eq!(ops(&mut laptop, user).await, json!([null]));
}

#[tokio::test]
async fn the_cookie_store_is_one_word_away_and_outlives_the_process() {
    let playground = Playground::start_with(&[("SESSION_DRIVER", "cookie")]);
    let mut client = playground.client();
    for visits in 1..=3 {
        let done = ops(&mut client, json!([{"op": "increment", "key": "visits"}])).await;
        assert_eq!(done, json!([visits]));
    }
    let jar = client.jar.clone();
    assert_eq!(jar.names(), ["session", "session-data"]);
    drop(playground);
    let another = Playground::start_with(&[("SESSION_DRIVER", "cookie")]);
    let mut client = another.client();
    client.jar = jar;
    let got = ops(&mut client, json!([{"op": "get", "key": "visits"}])).await;
    assert_eq!(got, json!([3]));
}

#[tokio::test]
async fn a_malformed_body_is_a_400_with_a_json_error() {
    let playground = Playground::start();
    let mut client = playground.client();
    // One byte over the limit, so the server reads all of it before it responds.
    let long = format!("[\"{}\"]", "x".repeat((4 << 20) - 3));
    for body in [
        "",
        "{",
        "null",
        "{}",
        "[1]",
        "[{}]",
        "[{\"op\":1}]",
        "[[\"op\"]]",
        "\u{0}",
        &long,
    ] {
        let answer = client.post("/ops", body.to_owned()).await;
        assert_eq!(answer.status, 400, "{:?}", &body[..body.len().min(20)]);
        assert!(answer.json()["error"].is_string());
    }
    assert_eq!(client.get("/raw").await.text(), "raw");
    assert_eq!(client.get("/nowhere").await.status, 404);
    assert_eq!(client.get("/").await.status, 200);
}

#[tokio::test]
async fn two_hundred_parallel_increments_are_two_hundred() {
    let playground = Playground::start();
    let mut client = playground.client();
    let add = json!([{"op": "increment", "key": "n"}, {"op": "sleep", "ms": 5}]);
    ops(&mut client, add.clone()).await;
    let requests = (0..199).map(|_| {
        let (mut client, add) = (client.clone(), add.clone());
        tokio::spawn(async move { ops(&mut client, add).await })
    });
    for request in requests.collect::<Vec<_>>() {
        request.await.unwrap();
    }
    assert_eq!(
        ops(&mut client, json!([{"op": "get", "key": "n"}])).await,
        json!([200])
    );
}

#[tokio::test]
async fn a_stop_answers_what_is_running_and_then_ends_the_process() {
    let playground = Playground::start();
    let mut client = playground.client();
    ops(&mut client, json!([{"op": "increment", "key": "n"}])).await;
    // The server asks for the body when the handler reads it.
    let body = json!([{"op": "increment", "key": "n"}]).to_string();
    let head = format!(
        "POST /ops HTTP/1.1\r\nhost: x\r\ncookie: {}\r\nconnection: close\r\n\
         expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        client.jar.line().unwrap().to_str().unwrap(),
        body.len()
    );
    let mut running = TcpStream::connect(playground.address).await.unwrap();
    running.write_all(head.as_bytes()).await.unwrap();
    let mut asked = *b"HTTP/1.1 100 Continue\r\n\r\n";
    let expected = asked;
    running.read_exact(&mut asked).await.unwrap();
    assert_eq!(asked, expected);
    playground.stop();
    while TcpStream::connect(playground.address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    running.read_to_string(&mut answer).await.unwrap();
    assert!(
        answer.ends_with("\r\n\r\n[2]"),
        "the running request was answered: {answer}"
    );
    drop(client);
    let exited = tokio::task::spawn_blocking(move || playground.wait());
    assert!(exited.await.unwrap(), "the process exits with success");
}

#[tokio::test]
async fn the_environment_says_how_long_sessions_live_and_what_their_cookie_is_called() {
    let settings = [("SESSION_AGE", "90 minutes"), ("SESSION_COOKIE", "sid")];
    let playground = Playground::start_with(&settings);
    let answer = playground.client().get("/").await;
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("sid="), "{cookie}");
    assert!(cookie.contains("; Max-Age=5400"), "{cookie}");
    assert!(
        !cookie.contains("Secure"),
        "plain HTTP on loopback: {cookie}"
    );
}

#[cfg(feature = "file")]
#[tokio::test]
async fn the_environment_says_where_sessions_are_kept() {
    let folder = std::env::temp_dir().join(format!("playground-{}", std::process::id()));
    let settings = [
        ("SESSION_DRIVER", "file"),
        ("SESSION_FILE_LOCATION", folder.to_str().unwrap()),
        ("SESSION_FILE_DURABILITY", "always"),
    ];
    let increment = json!([{"op": "increment", "key": "visits"}]);
    let mut cookie = None;
    for visits in 1..=2 {
        let playground = Playground::start_with(&settings);
        let mut client = playground.client();
        client.jar = cookie.take().unwrap_or_default();
        assert_eq!(ops(&mut client, increment.clone()).await, json!([visits]));
        cookie = Some(client.jar.clone());
        playground.stop();
        assert!(playground.wait());
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_wrong_setting_stops_the_program_with_a_line_that_names_it() {
    for (variable, value, hint) in [
        ("SESSION_DRIVER", "fiel", "file, memory, redis"),
        ("SESSION_AGE", "0", "1s to"),
        ("SESSION_AGE", "1 month", "no fixed length"),
        ("SESSION_COOKIE", "a b", "a b"),
        ("APP_KEY", "changeme", "32"),
        ("APP_KEY_PREVIOUS", "changeme", "key 1 of 1"),
    ] {
        let stopped = Playground::command(&[(variable, value)]).output().unwrap();
        assert!(!stopped.status.success(), "{variable}={value}");
        let stderr = String::from_utf8(stopped.stderr).unwrap();
        assert!(
            stderr.contains(variable) && stderr.contains(hint),
            "{stderr}"
        );
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}
