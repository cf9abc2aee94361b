//! Each method that changes a session, called by a handler of hyper and by one of axum.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    extract::Path,
    routing::{get, post},
};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header::SET_COOKIE};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_session::{
    Session, SessionError, Sessions, Typed,
    testing::{TestClient, TestResponse},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::support::{config, test_server};

/// The data of the session before each call.
fn first_data() -> Value {
    json!({"list": ["a", "b"], "n": 1, "user": {"name": "ada"}})
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct UserSession {
    n: u32,
    user: User,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct User {
    name: String,
    city: Option<String>,
}

fn change_fields(all: &mut UserSession) {
    all.n += 1;
    all.user.city = Some("x".to_owned());
}

type Call = fn(&Session) -> Result<(), SessionError>;

/// A call, and the session afterwards.
struct Feature {
    name: &'static str,
    call: Call,
    /// The members that differ from [`first_data`]. Null stands for a member that is missing.
    changed: Value,
}

fn feature(name: &'static str, call: Call, changed: Value) -> Feature {
    Feature {
        name,
        call,
        changed,
    }
}

fn features() -> Vec<Feature> {
    let none = || json!({});
    vec![
        feature("put", |s| s.put("m", 2), json!({"m": 2})),
        feature(
            "merge",
            |s| s.merge(json!({"list": ["z"]})),
            json!({"list": ["z", "b"]}),
        ),
        feature("forget", |s| s.forget("n").map(drop), json!({"n": null})),
        feature("pull", |s| s.pull::<u32>("n").map(drop), json!({"n": null})),
        feature("pull_or", |s| s.pull_or("m", 5).map(drop), none()),
        feature("increment", |s| s.increment("n").map(drop), json!({"n": 2})),
        feature(
            "increment_by",
            |s| s.increment_by("n", 0.5).map(drop),
            json!({"n": 1.5}),
        ),
        feature("decrement", |s| s.decrement("n").map(drop), json!({"n": 0})),
        feature(
            "push",
            |s| s.push("list", "b"),
            json!({"list": ["a", "b", "b"]}),
        ),
        feature(
            "push_unique",
            |s| {
                assert!(!s.push_unique("list", "b")?);
                assert!(s.push_unique("list", "c")?);
                Ok(())
            },
            json!({"list": ["a", "b", "c"]}),
        ),
        feature(
            "remove_value",
            |s| {
                assert!(s.remove_value("list", "a")?);
                assert!(!s.remove_value("list", "a")?);
                Ok(())
            },
            json!({"list": ["b"]}),
        ),
        feature(
            "put_if_absent",
            |s| {
                assert!(!s.put_if_absent("n", 2)?);
                assert!(s.put_if_absent("m", 2)?);
                Ok(())
            },
            json!({"m": 2}),
        ),
        feature(
            "update",
            |s| {
                s.update("list", |list: &mut Vec<String>| list.reverse())
                    .map(drop)
            },
            json!({"list": ["b", "a"]}),
        ),
        feature(
            "update_all",
            |s| s.update_all(change_fields).map(drop),
            json!({"n": 2, "user": {"name": "ada", "city": "x"}}),
        ),
        feature(
            "replace",
            |s| s.replace(json!({"n": 9})),
            json!({"n": 9, "list": null, "user": null}),
        ),
        feature(
            "clear",
            Session::clear,
            json!({"n": null, "list": null, "user": null}),
        ),
        feature("flash", |s| s.flash("notice", "hello"), none()),
        feature("tag", |s| s.tag("user-7"), none()),
        feature(
            "set_max_age",
            |s| s.set_max_age(Duration::from_secs(86_400)),
            none(),
        ),
        feature("set_browser_session", Session::set_browser_session, none()),
        feature(
            "reset_max_age",
            |s| {
                s.set_browser_session()?;
                s.reset_max_age()
            },
            none(),
        ),
        feature("regenerate", Session::regenerate, none()),
        feature(
            "rotate_id",
            |s| s.rotate_id(Duration::from_secs(30)),
            none(),
        ),
        feature(
            "destroy",
            Session::destroy,
            json!({"n": null, "list": null, "user": null}),
        ),
    ]
}

fn call(session: &Session, name: &str) -> Result<(), SessionError> {
    let features = features();
    let feature = features.iter().find(|feature| feature.name == name);
    (feature.expect("a name of the table").call)(session)
}

/// Returns the session's data after the changes of `changed`.
fn after(changed: &Value) -> Value {
    let mut data = first_data();
    for (name, value) in changed.as_object().unwrap() {
        match value {
            Value::Null => drop(data.as_object_mut().unwrap().remove(name)),
            value => data[name] = value.clone(),
        }
    }
    data
}

/// Returns the `Max-Age` of the cookie that a call leads to.
fn expected_max_age(name: &str) -> Option<&'static str> {
    match name {
        "set_browser_session" => None,
        "set_max_age" => Some("Max-Age=86400"),
        "destroy" => Some("Max-Age=0"),
        _ => Some("Max-Age=7200"),
    }
}

fn max_age(response: &TestResponse) -> Option<&str> {
    let cookie = response.headers()[SET_COOKIE].to_str().unwrap();
    cookie.split("; ").find(|it| it.starts_with("Max-Age="))
}

/// Calls each method in a session of its own, through the service of `client`.
macro_rules! check_features {
    ($client:expr) => {
        let client = $client;
        for feature in features() {
            let name = feature.name;
            let client = client.new_visitor();
            client.with_session(|s| s.merge(first_data())).await;
            let id = client.cookie("session");
            let response = client.post(&format!("/{name}")).send().await;
            assert_eq!(response.status(), StatusCode::OK, "{name}");
            assert_eq!(max_age(&response), expected_max_age(name), "{name}");
            let has_new_id = matches!(name, "regenerate" | "rotate_id");
            if has_new_id {
                assert_ne!(client.cookie("session"), id, "{name}");
            }
            if name == "tag" {
                response.assert_tag("user-7");
            }
            if name == "flash" {
                response.assert_flash("notice", "hello");
            }
            let data: Value = client.get("/all").send().await.json();
            assert_eq!(data, after(&feature.changed), "{name}");
        }
        let client = client.new_visitor();
        client.with_session(|s| s.merge(first_data())).await;
        assert_eq!(client.post("/typed").send().await.text(), "ada 2");
        let data: Value = client.get("/all").send().await.json();
        let expected = json!({"n": 2, "user": {"name": "ada", "city": "x"}});
        assert_eq!(data, after(&expected));
    };
}

/// A handler of `Typed`, the same for both frameworks.
fn change_typed(mut all: Typed<UserSession>) -> Result<String, SessionError> {
    all.update(change_fields)?;
    Ok(format!("{} {}", all.user.name, all.n))
}

async fn hyper_handler(
    request: Request<Incoming>,
    session: Session,
) -> Result<Response<Full<Bytes>>, SessionError> {
    let text = match request.uri().path() {
        "/typed" => change_typed(Typed::load(&session).await?)?,
        "/all" => session.load().await?.all::<Value>()?.to_string(),
        path => {
            call(session.load().await?, path.trim_start_matches('/'))?;
            String::new()
        }
    };
    Ok(Response::new(Full::from(text)))
}

#[tokio::test]
async fn every_feature_works_in_a_handler_of_hyper() {
    let server = test_server(config());
    let service = server
        .sessions
        .wrap_fn(async |request: Request<Incoming>, session: Session| {
            Ok::<_, Infallible>(hyper_handler(request, session).await.unwrap())
        });
    check_features!(TestClient::new(&server.sessions, service));
}

fn router(sessions: &Sessions) -> Router {
    let change = async |session: Session, Path(name): Path<String>| call(&session, &name);
    let all = async |session: Session| Ok::<_, SessionError>(session.all::<Value>()?.to_string());
    Router::new()
        .route("/{name}", post(change))
        .route(
            "/typed",
            post(async |all: Typed<UserSession>| change_typed(all)),
        )
        .route("/all", get(all))
        .layer(sessions.layer())
}

#[tokio::test]
async fn every_feature_works_in_a_handler_of_axum() {
    let server = test_server(config());
    check_features!(TestClient::tower(
        &server.sessions,
        router(&server.sessions)
    ));
}
