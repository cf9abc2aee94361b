//! `POST /ops`: a list of session operations as JSON.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_session::{
    Session, SessionError,
    clock::Timestamp,
    document::{IsoDate, KeyPath, Number},
    session::{SessionCollection, Snapshot},
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{Page, with_sources};

const MAX_BODY: usize = 4 << 20;
const MAX_SLEEP: Duration = Duration::from_secs(30);

/// Unparsed JSON text, in which numbers keep all their digits.
type Json = Box<RawValue>;

/// A dot path, or a list of literal keys.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a key is a string or a list of strings")]
enum Key {
    Dotted(String),
    Literal(Vec<String>),
}

impl Key {
    fn to_path(&self) -> KeyPath<'_> {
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
    #[serde(default, deserialize_with = "some_or_null")]
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
    seconds: Option<f64>,
    grace_ms: Option<u64>,
}

/// Reads a field that is present, even if it is null.
fn some_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Json>, D::Error> {
    Json::deserialize(deserializer).map(Some)
}

/// Reads a user id, which is a string or a number.
fn text_or_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text),
        other => Some(other.to_string()),
    })
}

/// Runs the operations of the body in order, and responds with one result for each.
pub(crate) async fn respond(
    request: Request<Incoming>,
    session: &Session,
    collection: &SessionCollection,
) -> Page {
    let body = match Limited::new(request.into_body(), MAX_BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => {
            let message = "cannot read the body: it is incomplete or larger than 4 MiB";
            return error_response(StatusCode::BAD_REQUEST, message);
        }
    };
    let ops: Vec<Op> = match serde_json::from_slice(&body) {
        Ok(ops) => ops,
        Err(error) => {
            return error_response(
                StatusCode::BAD_REQUEST,
                &format!("the body is not a list of operations: {error}"),
            );
        }
    };
    if let Err(error) = session.load().await {
        return error_response(StatusCode::SERVICE_UNAVAILABLE, &error_text(error));
    }
    let mut results = Vec::with_capacity(ops.len());
    for op in &ops {
        results.push(match run(op, session, collection).await {
            Ok(result) => result,
            Err(error) => to_json(&OperationError { error }),
        });
    }
    json_response(StatusCode::OK, &results)
}

#[derive(Serialize)]
struct OperationError {
    error: String,
}

/// Returns a JSON object with the text of an error.
pub(crate) fn error_response(status: StatusCode, error: &str) -> Page {
    json_response(
        status,
        &OperationError {
            error: error.to_owned(),
        },
    )
}

fn json_response(status: StatusCode, value: &impl Serialize) -> Page {
    let mut response = Response::new(Full::new(Bytes::from(to_json(value).get().to_owned())));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn to_json(value: &impl Serialize) -> Json {
    serde_json::value::to_raw_value(value).unwrap_or_default()
}

/// The result of one operation, or an error message.
type OpResult = Result<Json, String>;

async fn run(op: &Op, session: &Session, collection: &SessionCollection) -> OpResult {
    match op.op.as_str() {
        "sleep" => {
            let time = Duration::from_millis(op.ms.ok_or("`ms` is missing")?);
            tokio::time::sleep(time.min(MAX_SLEEP)).await;
            Ok(to_json(&()))
        }
        // A collection reads the store, so commit the changes first.
        "tagged" => {
            session.commit().await.map_err(error_text)?;
            let keys = collection.tagged(user(op)?).await.map_err(error_text)?;
            Ok(to_json(&keys.len()))
        }
        "logout_everywhere" => {
            session.commit().await.map_err(error_text)?;
            let count = collection
                .destroy_tagged(user(op)?, None)
                .await
                .map_err(error_text)?;
            Ok(to_json(&count))
        }
        "devices" => {
            session.commit().await.map_err(error_text)?;
            devices(user(op)?, session, collection).await
        }
        name if name.contains("flash") => flash(name, op, session),
        name if name.contains("intended_url") => intended_url(name, op, session),
        "max_age" | "browser_session" | "reset_max_age" | "created_at" | "last_seen"
        | "expires_at" | "rotate" => lifetime(op, session),
        name => data(name, op, session),
    }
}

fn data(name: &str, op: &Op, session: &Session) -> OpResult {
    let amount = || match &op.by {
        None => Ok(Number::Int(1)),
        Some(by) => by.get().parse().map_err(|error| format!("`by`: {error}")),
    };
    let key = || op.key.as_ref().map(Key::to_path).ok_or("`key` is missing");
    match name {
        "get" => Ok(or_default(
            session
                .snapshot()
                .map_err(error_text)?
                .get(key()?)
                .map_err(error_text)?,
            op,
        )),
        "pull" => Ok(or_default(session.pull(key()?).map_err(error_text)?, op)),
        "has" => value(session.has(key()?)),
        "all" => all(&session.snapshot().map_err(error_text)?),
        "put" => unit(session.put(key()?, required(&op.value, "value")?)),
        "put_if_absent" => value(session.put_if_absent(key()?, required(&op.value, "value")?)),
        "push" => unit(session.push(key()?, required(&op.value, "value")?)),
        "push_unique" => value(session.push_unique(key()?, required(&op.value, "value")?)),
        "remove_value" => value(session.remove_value(key()?, required(&op.value, "value")?)),
        "forget" => unit(session.forget(key()?)),
        "increment" => value(session.increment_by(key()?, amount()?)),
        "decrement" => value(session.decrement_by(key()?, amount()?)),
        "merge" => unit(session.merge(required(&op.values, "values")?)),
        "replace" => unit(session.replace(required(&op.values, "values")?)),
        "clear" => unit(session.clear()),
        "destroy" => unit(session.destroy()),
        "regenerate" => unit(session.regenerate()),
        "id" => value(session.id().map(|id| id.to_string())),
        "fresh" => Ok(to_json(&session.is_fresh())),
        "tag" => unit(session.tag(user(op)?)),
        "untag" => unit(session.untag(user(op)?)),
        _ => Err(format!("unknown operation {name:?}")),
    }
}

fn all(snapshot: &Snapshot) -> OpResult {
    let json = snapshot.as_json().map_err(error_text)?;
    serde_json::from_str(json).map_err(|error| error.to_string())
}

fn flash(name: &str, op: &Op, session: &Session) -> OpResult {
    let key = || op.key.as_ref().map(Key::to_path).ok_or("`key` is missing");
    let keys = || op.keys.as_deref().ok_or("`keys` is missing");
    let input = || required(&op.input, "input");
    let messages = || session.flash_messages().map_err(error_text);
    match name {
        "flash" if op.values.is_some() => unit(session.flash_many(required(&op.values, "values")?)),
        "flash" => unit(session.flash(key()?, required(&op.value, "value")?)),
        "flash_all" => unit(session.flash_all_of(input()?)),
        "flash_errors" => {
            let errors = required(&op.values, "values")?;
            let errors: BTreeMap<String, Json> =
                serde_json::from_str(errors.get()).map_err(|error| error.to_string())?;
            unit(session.flash_errors(errors))
        }
        "flash_only" => unit(session.flash_only_of(input()?, keys()?)),
        "flash_except" => unit(session.flash_except_of(input()?, keys()?)),
        "reflash" => unit(session.reflash()),
        "reflash_only" => unit(session.reflash_only(keys()?)),
        "reflash_except" => unit(session.reflash_except(keys()?)),
        "flash_messages" => all(&messages()?),
        "flash_get" => Ok(or_default(messages()?.get(key()?).map_err(error_text)?, op)),
        "flash_has" => value(messages()?.has(key()?)),
        _ => Err(format!("unknown operation {name:?}")),
    }
}

fn intended_url(name: &str, op: &Op, session: &Session) -> OpResult {
    match name {
        "set_intended_url" => {
            unit(session.set_intended_url(op.url.as_deref().ok_or("`url` is missing")?))
        }
        "intended_url" => value(session.intended_url()),
        "pull_intended_url" => value(session.pull_intended_url()),
        "clear_intended_url" => unit(session.clear_intended_url()),
        _ => Err(format!("unknown operation {name:?}")),
    }
}

fn lifetime(op: &Op, session: &Session) -> OpResult {
    let date = |time: Result<Timestamp, SessionError>| {
        value(time.map(|time| IsoDate::from(SystemTime::from(time))))
    };
    match op.op.as_str() {
        "max_age" => {
            let seconds = op.seconds.ok_or("`seconds` is missing")?;
            let max_age = Duration::try_from_secs_f64(seconds);
            unit(session.set_max_age(max_age.map_err(|error| format!("`seconds`: {error}"))?))
        }
        "browser_session" => unit(session.set_browser_session()),
        "reset_max_age" => unit(session.reset_max_age()),
        "created_at" => date(session.created_at()),
        "last_seen" => date(session.last_seen()),
        "expires_at" => date(session.expires_at()),
        _ => {
            let grace = op.grace_ms.ok_or("`grace_ms` is missing")?;
            unit(session.rotate_id(Duration::from_millis(grace)))
        }
    }
}

/// A session in the list of a user's devices.
#[derive(Serialize)]
struct DeviceEntry {
    created_at: IsoDate,
    last_seen: Option<IsoDate>,
    is_current: bool,
}

async fn devices(user: &str, session: &Session, collection: &SessionCollection) -> OpResult {
    let current = session.store_key().map_err(error_text)?;
    let sessions = collection.list(user, &[]).await.map_err(error_text)?;
    let date = |time: Timestamp| IsoDate::from(SystemTime::from(time));
    let devices = sessions.iter().map(|session| DeviceEntry {
        created_at: date(session.created_at()),
        last_seen: session.last_seen().map(date),
        is_current: *session.key() == current,
    });
    Ok(to_json(&devices.collect::<Vec<_>>()))
}

fn user(op: &Op) -> Result<&str, String> {
    op.user
        .as_deref()
        .ok_or_else(|| "`user` is missing".to_owned())
}

fn required<'a>(field: &'a Option<Json>, name: &str) -> Result<&'a Json, String> {
    field.as_ref().ok_or_else(|| format!("`{name}` is missing"))
}

fn or_default(value: Option<Json>, op: &Op) -> Json {
    value.or_else(|| op.default.clone()).unwrap_or_default()
}

fn value<T: Serialize>(result: Result<T, SessionError>) -> OpResult {
    result.map(|value| to_json(&value)).map_err(error_text)
}

fn unit(result: Result<(), SessionError>) -> OpResult {
    value(result)
}

fn error_text(error: SessionError) -> String {
    with_sources(&error)
}
