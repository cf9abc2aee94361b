//! The secrets of a test: what clients and servers exchange, and no program may print.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    net::SocketAddr,
    sync::Mutex,
};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, SET_COOKIE},
};
use hyper_session::{SessionConfig, Sessions, store::MemoryStore};
use serde_json::Value;

use super::Browser;

/// Shorter texts, such as `ada`, are also parts of other words.
const MIN_LENGTH: usize = 6;

/// Length of a part of a cookie, a token, an id or a key that is a secret too: 64 bits in hexadecimal digits.
const PART: usize = 16;

/// The variables that contain secrets.
pub const VARIABLES: [&str; 2] = ["APP_KEY", "ADMIN_TOKEN"];

/// The secrets of each server.
static SECRETS: Mutex<BTreeMap<SocketAddr, BTreeSet<String>>> = Mutex::new(BTreeMap::new());

/// Records a secret of a server and its clients.
pub fn record(server: SocketAddr, secret: &str) {
    if secret.len() >= MIN_LENGTH {
        let mut secrets = SECRETS.lock().unwrap();
        let own = secrets.entry(server).or_default();
        if !own.contains(secret) {
            own.insert(secret.to_owned());
        }
    }
}

/// Records the cookies, tokens and values of a request.
pub fn record_request(server: SocketAddr, headers: &HeaderMap, body: &[u8]) {
    let text = |name| headers.get(name).and_then(|it| it.to_str().ok());
    for line in headers.get_all(COOKIE) {
        let pairs = line.to_str().unwrap().split("; ");
        pairs.for_each(|pair| record(server, value(pair)));
    }
    let token = text(AUTHORIZATION).and_then(|it| it.split_once(' '));
    token.into_iter().for_each(|(_, it)| record(server, it));
    let token = text(HeaderName::from_static("x-csrf-token"));
    token.into_iter().for_each(|it| record(server, it));
    if let Ok(json) = serde_json::from_slice(body) {
        record_json(server, &json);
    } else if text(CONTENT_TYPE) == Some("application/x-www-form-urlencoded") {
        for (_, value) in url::form_urlencoded::parse(body) {
            record(server, &value);
        }
    }
}

/// Records the texts of JSON, except the names of operations and keys.
fn record_json(server: SocketAddr, json: &Value) {
    match json {
        Value::String(text) => record(server, text),
        Value::Array(items) => items.iter().for_each(|item| record_json(server, item)),
        Value::Object(members) => {
            let values = members
                .iter()
                .filter(|(name, _)| *name != "op" && *name != "key");
            values.for_each(|(_, value)| record_json(server, value));
        }
        _ => {}
    }
}

/// Records the cookies of a response.
pub fn record_response(server: SocketAddr, headers: &HeaderMap) {
    let lines = headers.get_all(SET_COOKIE).into_iter();
    let lines = lines.map(HeaderValue::to_str).map_while(Result::ok);
    lines.for_each(|line| record(server, value(line.split(';').next().unwrap_or(line))));
}

/// Returns the value of a cookie.
fn value(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(_, value)| value)
}

/// Returns the secrets of a server, with the ids in its cookies that this application key has sealed.
fn all(server: SocketAddr, app_key: Option<&str>) -> BTreeSet<String> {
    let mut secrets = SECRETS
        .lock()
        .unwrap()
        .get(&server)
        .cloned()
        .unwrap_or_default();
    if let Some(app_key) = app_key {
        let ids = ids(&secrets, app_key);
        secrets.extend(ids);
    }
    secrets
}

/// Returns the ids in the cookies of these texts, as text and as hexadecimal digits.
fn ids(texts: &BTreeSet<String>, app_key: &str) -> Vec<String> {
    let config = SessionConfig::default().secure(false).app_key(app_key);
    let Ok(sessions) = Sessions::new(config, MemoryStore::new()) else {
        return Vec::new();
    };
    let open = async |text: &str| {
        let mut browser = Browser::new(&sessions);
        browser.jar.set("session", text);
        let visit = browser.request(async |session| session.id().unwrap()).await;
        visit.value.unwrap()
    };
    // The caller may be a task of a runtime, so the ids are opened in a thread of their own.
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.unwrap();
        let cookies = texts
            .iter()
            .filter(|text| HeaderValue::from_str(text).is_ok());
        let ids = cookies.map(|text| runtime.block_on(open(text)));
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        ids.flat_map(|id| [id.to_string(), hex(id.as_bytes())])
            .collect()
    };
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}

/// Returns the place of a secret in a text, or of 16 characters of one in a row. A secret with characters that are
/// not in base64 or hexadecimal digits is only found as a whole.
pub fn find<'s>(text: &str, secrets: impl IntoIterator<Item = &'s str>) -> Option<usize> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut parts = HashSet::new();
    for secret in secrets {
        if secret.len() >= PART && secret.chars().all(is_word) {
            parts.extend(secret.as_bytes().windows(PART));
        } else if let Some(at) = text.find(secret) {
            return Some(at);
        }
    }
    let words = text.split(|c| !is_word(c)).filter(|it| it.len() >= PART);
    words.map(str::as_bytes).find_map(|word| {
        let at = word.windows(PART).position(|it| parts.contains(it))?;
        Some(word.as_ptr().addr() - text.as_ptr().addr() + at)
    })
}

/// Returns the line of a text around a place.
pub fn line(text: &str, at: usize) -> &str {
    let start = text[..at].rfind('\n').map_or(0, |at| at + 1);
    text[start..].lines().next().unwrap_or_default()
}

/// Checks that a text contains no secret of a server.
///
/// # Panics
/// If it does.
#[track_caller]
pub fn check(server: SocketAddr, app_key: Option<&str>, text: &str) {
    let secrets = all(server, app_key);
    if let Some(at) = find(text, secrets.iter().map(String::as_str)) {
        panic!("a secret is printed: {}", line(text, at));
    }
}
