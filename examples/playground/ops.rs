//! `POST /ops`: any sequence of session operations, as JSON.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_session::{
    Session, SessionError,
    document::{KeyPath, Number},
    session::{SessionCollection, Snapshot},
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::Page;

const MAX_BODY: usize = 4 << 20;
const MAX_SLEEP: Duration = Duration::from_secs(30);

/// JSON text as it came: numbers keep all their digits.
type Json = Box<RawValue>;

/// A dot path, or a list of literal keys.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a key is text, or a list of texts")]
enum Key {
    Dotted(String),
    Literal(Vec<String>),
}

impl Key {
    fn path(&self) -> KeyPath<'_> {
        match self {
            Self::Dotted(text) => KeyPath::from(text),
            Self::Literal(keys) => KeyPath::from_keys(keys),
        }
    }
}

#[derive(Deserialize)]
struct Op {
    op: String,
    key: Option<Key>,
    #[serde(default, deserialize_with = "null_too")]
    value: Option<Json>,
    default: Option<Json>,
    by: Option<Json>,
    values: Option<Json>,
    input: Option<Json>,
    keys: Option<Vec<String>>,
    #[serde(default, deserialize_with = "text_or_number")]
    user: Option<String>,
    url: Option<String>,
    ms: Option<u64>,
}

/// A field that is there, be it null.
fn null_too<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

/// User ids are text or numbers.
fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text),
        other => Some(other.to_string()),
    })
}

/// Runs the operations of the body in order, and answers with one result for each.
pub(crate) async fn answer(
    request: Request<Incoming>,
    session: &Session,
    all: &SessionCollection,
) -> Page {
    let body = match Limited::new(request.into_body(), MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return refuse(StatusCode::BAD_REQUEST, "the body is broken or over 4 MiB"),
    };
    let ops: Vec<Op> = match serde_json::from_slice(&body) {
        Ok(ops) => ops,
        Err(error) => {
            return refuse(
                StatusCode::BAD_REQUEST,
                &format!("not a list of operations: {error}"),
            );
        }
    };
    if let Err(error) = session.load().await {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, &error.to_string());
    }
    let mut results = Vec::with_capacity(ops.len());
    for op in &ops {
        results.push(match run(op, session, all).await {
            Ok(result) => result,
            Err(error) => json(&Failed { error }),
        });
    }
    respond(StatusCode::OK, &results)
}

#[derive(Serialize)]
struct Failed {
    error: String,
}

fn refuse(status: StatusCode, error: &str) -> Page {
    respond(
        status,
        &Failed {
            error: error.to_owned(),
        },
    )
}

fn respond(status: StatusCode, value: &impl Serialize) -> Page {
    let mut response = Response::new(Full::new(Bytes::from(json(value).get().to_owned())));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn json(value: &impl Serialize) -> Json {
    serde_json::value::to_raw_value(value).unwrap_or_default()
}

/// The result of one operation, or its failure in words.
type Outcome = Result<Json, String>;

async fn run(op: &Op, session: &Session, all: &SessionCollection) -> Outcome {
    match op.op.as_str() {
        "sleep" => {
            let time = Duration::from_millis(op.ms.ok_or("`ms` is missing")?);
            tokio::time::sleep(time.min(MAX_SLEEP)).await;
            Ok(json(&()))
        }
        // Collections see what is stored, so what was done so far is.
        "tagged" => {
            session.commit().await.map_err(text)?;
            let keys = all.tagged(user(op)?).await.map_err(text)?;
            Ok(json(&keys.len()))
        }
        "logout_everywhere" => {
            session.commit().await.map_err(text)?;
            let ended = all.destroy_tagged(user(op)?, None).await.map_err(text)?;
            Ok(json(&ended))
        }
        name if name.contains("flash") => flash(name, op, session),
        name if name.contains("intended_url") => intended(name, op, session),
        name => data(name, op, session),
    }
}

fn data(name: &str, op: &Op, session: &Session) -> Outcome {
    let by = || {
        op.by
            .as_ref()
            .map_or(Ok(Number::Int(1)), |by| by.get().parse())
    };
    let by = || by().map_err(|error| format!("`by` is {error}"));
    let key = || op.key.as_ref().map(Key::path).ok_or("`key` is missing");
    match name {
        "get" => Ok(or_default(
            session
                .snapshot()
                .map_err(text)?
                .get(key()?)
                .map_err(text)?,
            op,
        )),
        "pull" => Ok(or_default(pull(session, key()?)?, op)),
        "has" => value(session.has(key()?)),
        "all" => everything(&session.snapshot().map_err(text)?),
        "put" => done(session.put(key()?, given(&op.value, "value")?)),
        "forget" => done(session.forget(key()?)),
        "increment" => value(session.increment_by(key()?, by()?)),
        "decrement" => value(session.decrement_by(key()?, by()?)),
        "merge" => done(session.merge(given(&op.values, "values")?)),
        "clear" => done(session.clear()),
        "destroy" => done(session.destroy()),
        "regenerate" => done(session.regenerate()),
        "id" => value(session.id().map(|id| id.to_string())),
        "fresh" => Ok(json(&session.is_fresh())),
        "tag" => done(session.tag(user(op)?)),
        "untag" => done(session.untag(user(op)?)),
        _ => Err(format!("there is no operation called {name:?}")),
    }
}

fn pull(session: &Session, key: KeyPath<'_>) -> Result<Option<Json>, String> {
    let before: Snapshot = session.snapshot().map_err(text)?;
    let found = before.get(key.clone()).map_err(text)?;
    session.forget(key).map_err(text)?;
    Ok(found)
}

fn everything(snapshot: &Snapshot) -> Outcome {
    let json = snapshot.as_json().map_err(text)?;
    serde_json::from_str(json).map_err(|error| error.to_string())
}

fn flash(name: &str, op: &Op, session: &Session) -> Outcome {
    let key = || op.key.as_ref().map(Key::path).ok_or("`key` is missing");
    let keys = || op.keys.as_deref().ok_or("`keys` is missing");
    let input = || given(&op.input, "input");
    let messages = || session.flash_messages().map_err(text);
    match name {
        "flash" if op.values.is_some() => done(session.flash_many(given(&op.values, "values")?)),
        "flash" => done(session.flash(key()?, given(&op.value, "value")?)),
        "flash_all" => done(session.flash_all_of(input()?)),
        "flash_only" => done(session.flash_only_of(input()?, keys()?)),
        "flash_except" => done(session.flash_except_of(input()?, keys()?)),
        "reflash" => done(session.reflash()),
        "reflash_only" => done(session.reflash_only(keys()?)),
        "reflash_except" => done(session.reflash_except(keys()?)),
        "flash_messages" => everything(&messages()?),
        "flash_get" => Ok(or_default(messages()?.get(key()?).map_err(text)?, op)),
        "flash_has" => value(messages()?.has(key()?)),
        _ => Err(format!("there is no operation called {name:?}")),
    }
}

fn intended(name: &str, op: &Op, session: &Session) -> Outcome {
    match name {
        "set_intended_url" => {
            done(session.set_intended_url(op.url.as_deref().ok_or("`url` is missing")?))
        }
        "intended_url" => value(session.intended_url()),
        "pull_intended_url" => value(session.pull_intended_url()),
        "clear_intended_url" => done(session.clear_intended_url()),
        _ => Err(format!("there is no operation called {name:?}")),
    }
}

fn user(op: &Op) -> Result<&str, String> {
    op.user
        .as_deref()
        .ok_or_else(|| "`user` is missing".to_owned())
}

fn given<'a>(field: &'a Option<Json>, name: &str) -> Result<&'a Json, String> {
    field.as_ref().ok_or_else(|| format!("`{name}` is missing"))
}

fn or_default(found: Option<Json>, op: &Op) -> Json {
    found.or_else(|| op.default.clone()).unwrap_or_default()
}

fn value<T: Serialize>(result: Result<T, SessionError>) -> Outcome {
    result.map(|value| json(&value)).map_err(text)
}

fn done(result: Result<(), SessionError>) -> Outcome {
    value(result)
}

fn text(error: SessionError) -> String {
    error.to_string()
}
