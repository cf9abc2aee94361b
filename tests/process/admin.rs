//! The example with a job and an administration API.

use std::{collections::BTreeSet, process::Command};

use http::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::support::{
    ServerProcess, example,
    net::{Answer, Remote},
    scratch::Scratch,
};

const TOKEN: &str = "a-token-of-this-test";

fn command(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(example("admin"));
    command
        .env_clear()
        .env("ADDR", "127.0.0.1:0")
        .env("ADMIN_TOKEN", TOKEN)
        .env("JOB_INTERVAL", "1")
        .envs(variables.iter().copied());
    command
}

fn start(variables: &[(&str, &str)]) -> ServerProcess {
    ServerProcess::start(&mut command(variables))
}

async fn call(app: &ServerProcess, token: &str, method: Method, path: &str) -> Answer {
    let authorization = format!("Bearer {token}");
    let lines = [("authorization", &*authorization)];
    let mut client = Remote::http1(app.address);
    client.send_with(method, path, &lines, "").await
}

/// Calls the administration API.
async fn admin(app: &ServerProcess, method: Method, path: &str) -> Value {
    let answer = call(app, TOKEN, method, path).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    answer.json()
}

async fn sign_in(app: &ServerProcess, name: &str) -> Remote {
    let mut client = Remote::http1(app.address);
    let page = client.post(&format!("/sign-in/{name}"), "").await;
    assert_eq!(page.json()["name"], name);
    client
}

fn tags(sessions: &Value) -> Vec<Value> {
    let sessions = sessions.as_array().unwrap();
    sessions.iter().map(|one| one["tags"].clone()).collect()
}

/// Adds prices of 1 until the job has changed the cart thirty times. Returns the number of prices.
async fn shop(mut client: Remote) -> u64 {
    let mut totals = BTreeSet::new();
    let mut added = 0;
    while totals.len() < 30 {
        let page = client.post("/cart/1", "").await;
        assert_eq!(page.status, StatusCode::OK);
        added += 1;
        let total = page.json()["cart"]["total"].as_u64().unwrap();
        totals.extend((total > 0).then_some(total));
    }
    added
}

#[tokio::test]
async fn a_job_and_requests_change_a_session_and_lose_nothing() {
    let scratch = Scratch::new();
    let folder = scratch.path().to_str().unwrap();
    let file_store = [
        ("SESSION_DRIVER", "file"),
        ("SESSION_FILE_LOCATION", folder),
    ];
    for variables in [&[][..], &file_store] {
        let app = start(variables);
        let mut ada = sign_in(&app, "ada").await;
        let shopping = [ada.clone(), ada.clone(), ada.clone()].map(|one| tokio::spawn(shop(one)));
        let mut added = 0;
        for shopping in shopping {
            added += shopping.await.unwrap();
        }
        loop {
            let page = ada.get("/").await.json();
            assert_eq!(
                page["cart"]["prices"].as_array().unwrap().len() as u64,
                added
            );
            if page["cart"]["total"] == added {
                assert_eq!(page["name"], "ada");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_visitor_removes_the_last_price() {
    let app = start(&[]);
    let mut ada = sign_in(&app, "ada").await;
    for price in [5, 7] {
        ada.post(&format!("/cart/{price}"), "").await;
    }
    for prices in [json!([5]), json!([]), json!([])] {
        let page = ada.send_with(Method::DELETE, "/cart/last", &[], "").await;
        assert_eq!(page.json()["cart"]["prices"], prices);
    }
    while ada.get("/").await.json()["cart"]["total"] != 0 {}
}

#[tokio::test]
async fn an_administrator_lists_sessions_and_signs_a_user_out() {
    let app = start(&[]);
    let mut ada = sign_in(&app, "ada").await;
    let mut phone = sign_in(&app, "ada").await;
    let mut bob = sign_in(&app, "bob").await;
    Remote::http1(app.address).post("/cart/5", "").await;

    let all = admin(&app, Method::GET, "/admin/sessions").await;
    assert_eq!(all["max_count"], 4);
    let listed: BTreeSet<_> = tags(&all["sessions"])
        .iter()
        .map(Value::to_string)
        .collect();
    assert_eq!(all["sessions"].as_array().unwrap().len(), 4);
    let expected = ["[\"user-ada\"]", "[\"user-bob\"]", "[]"];
    assert_eq!(listed, expected.map(str::to_owned).into());
    for session in all["sessions"].as_array().unwrap() {
        for time in ["created", "last_seen"] {
            assert!(session[time].as_str().unwrap().ends_with('Z'), "{session}");
        }
    }
    let own = admin(&app, Method::GET, "/admin/users/ada").await;
    assert_eq!(tags(&own), [json!(["user-ada"]), json!(["user-ada"])]);

    let ended = admin(&app, Method::DELETE, "/admin/users/ada").await;
    assert_eq!(ended, json!({ "destroyed": 2 }));
    for client in [&mut ada, &mut phone] {
        assert_eq!(client.get("/").await.json()["name"], Value::Null);
    }
    assert_eq!(bob.get("/").await.json()["name"], "bob");
    assert_eq!(
        admin(&app, Method::GET, "/admin/users/ada").await,
        json!([])
    );
}

#[tokio::test]
async fn another_user_gets_no_cart_and_no_tag_of_the_former_user() {
    let app = start(&[]);
    let mut client = Remote::http1(app.address);
    client.post("/cart/5", "").await;
    for name in ["ada", "ada"] {
        let page = client.post(&format!("/sign-in/{name}"), "").await.json();
        assert_eq!(page["name"], name);
        assert_eq!(page["cart"]["prices"], json!([5]), "the visitor's own cart");
    }
    let page = client.post("/sign-in/bob", "").await.json();
    assert_eq!(
        (&page["name"], &page["cart"]["prices"]),
        (&json!("bob"), &json!([]))
    );
    let page = client.get("/").await.json();
    assert_eq!(
        (&page["name"], &page["cart"]["prices"]),
        (&json!("bob"), &json!([]))
    );
    for (name, expected) in [("ada", json!([])), ("bob", json!([["user-bob"]]))] {
        let sessions = admin(&app, Method::GET, &format!("/admin/users/{name}")).await;
        assert_eq!(json!(tags(&sessions)), expected);
    }
}

#[tokio::test]
async fn the_administration_needs_its_token_and_creates_no_session() {
    let app = start(&[]);
    let mut ada = sign_in(&app, "ada").await;
    let nearly = &TOKEN[..TOKEN.len() - 1];
    for path in ["/admin/users/ada", "/admin/unknown", "/admin/"] {
        for token in ["", nearly] {
            let refused = call(&app, token, Method::DELETE, path).await;
            assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
            assert_eq!(refused.headers[header::WWW_AUTHENTICATE], "Bearer");
        }
        assert_eq!(ada.get(path).await.status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(ada.get("/").await.json()["name"], "ada");
    let listed = call(&app, TOKEN, Method::GET, "/admin/sessions").await;
    assert_eq!(listed.headers.get(header::SET_COOKIE), None);
    assert_eq!(listed.json()["max_count"], 1);
    for path in [
        "/sign-in/a%20b",
        "/sign-in/",
        "/cart/-1",
        "/cart/",
        "/admin",
    ] {
        assert_eq!(
            ada.post(path, "").await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
}

#[test]
fn wrong_settings_stop_the_program() {
    for (variable, value, reason) in [
        ("ADMIN_TOKEN", "short", "ADMIN_TOKEN: shorter than"),
        ("SESSION_DRIVER", "cookie", "ScanUnsupported"),
    ] {
        let refused = command(&[(variable, value)]).output().unwrap();
        assert!(!refused.status.success());
        let stderr = String::from_utf8(refused.stderr).unwrap();
        assert!(stderr.contains(reason), "{stderr}");
    }
}
