//! A catalogue that replaces every text of this crate leaves no English text in a response.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    num::NonZeroU8,
};

use axum::{Router, routing::post};
use http::{Method, Request};
use hyper::{body::Incoming, service::service_fn};
use hyper_session::{
    Session,
    document::IsoDate,
    form::{FormBody, Forms, Input},
    service::Messages,
};
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use serde_json::Value;

use super::support::{BoxError, FORM, LIMITS, Page, Visitor, page};
use crate::support::{
    config,
    net::{Remote, serve},
    test_server,
};

const JSON: &str = "application/json";
const PARTS: &str = "multipart/form-data; boundary=b";

/// The keys whose texts need a connection that breaks, or an error that the application made.
const OTHERS: [&str; 2] = ["input.body", "no_session.any"];

/// A field of each kind.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(dead_code, reason = "only their types matter")]
struct Order {
    address: Option<Ipv4Addr>,
    boolean: bool,
    character: char,
    #[serde(alias = "number")]
    count: u8,
    date: Option<IsoDate>,
    group: BTreeMap<String, String>,
    list: Vec<u8>,
    nonzero: Option<NonZeroU8>,
    pair: (u8, u8),
    price: f32,
    size: Option<Size>,
    text: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Size {
    Small,
    Large,
}

/// serde reads the members of a flattened struct by its own rules.
#[derive(Debug, Deserialize)]
struct Flat {
    #[serde(flatten)]
    _order: FlatOrder,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "only their types matter")]
struct FlatOrder {
    #[serde(default)]
    group: BTreeMap<String, String>,
    list: Vec<u8>,
}

async fn pages(request: Request<FormBody<Incoming>>, _: Session) -> Result<Page, BoxError> {
    let is_flat = request.uri().path() == "/flat";
    let input = Input::from_request(request, &LIMITS).await?;
    match is_flat {
        true => page(format!("{:?}", input.deserialize::<Flat>()?)),
        false => page(format!("{:?}", input.deserialize::<Order>()?)),
    }
}

/// Replaces each text by its key and its placeholders, without the texts of serde.
fn catalogue() -> Messages {
    Messages::new(Messages::english().map(|(key, english)| {
        let placeholders = english.split('{').skip(1);
        let placeholders = placeholders
            .filter_map(|part| Some(part.split_once('}')?.0))
            .filter(|name| !["type", "text"].contains(name));
        let placeholders: Vec<String> = placeholders.map(|name| format!("{{{name}}}")).collect();
        (key, format!("<{key}>{}", placeholders.join(" ")))
    }))
}

/// Adds the keys in a text to `seen`. Fails if a word of the text is neither a key nor a name of the form.
fn collect_keys(text: &str, seen: &mut BTreeSet<String>) {
    let mut rest = String::new();
    for part in text.split('<') {
        match part.split_once('>') {
            Some((key, after)) => {
                seen.insert(key.to_owned());
                rest.push_str(after);
            }
            None => rest.push_str(part),
        }
        rest.push(' ');
    }
    let names = ["small", "large", "count"];
    let mut words = rest.split(|char: char| !char.is_alphabetic());
    let english = words.find(|word| !word.is_empty() && !names.contains(word));
    assert_eq!(english, None, "{text}");
}

/// The messages of a response in JSON.
fn messages(answer: &Value) -> Vec<&str> {
    let errors = answer["errors"].as_object().into_iter().flatten();
    let errors = errors.flat_map(|(_, messages)| messages.as_array().unwrap());
    let texts = errors.chain([&answer["message"]]);
    texts.map(|text| text.as_str().unwrap()).collect()
}

const CASES: [(&str, &str, &str, &str); 30] = [
    ("/order", JSON, r#"{"boolean": 5}"#, "expected.boolean"),
    (
        "/order",
        JSON,
        r#"{"character": "xx"}"#,
        "expected.character",
    ),
    (
        "/flat",
        JSON,
        r#"{"list": [], "group": 5}"#,
        "expected.group",
    ),
    ("/order", JSON, r#"{"count": 300}"#, "expected.integer"),
    ("/flat", JSON, r#"{"list": 5}"#, "expected.list"),
    ("/order", JSON, r#"{"price": true}"#, "expected.number"),
    ("/order", JSON, r#"{"nonzero": 0}"#, "expected.other"),
    ("/order", JSON, r#"{"text": 5}"#, "expected.text"),
    ("/order", JSON, r#"{"pair": [1]}"#, "validation.length"),
    (
        "/order",
        JSON,
        r#"{"count": 1, "number": 1}"#,
        "validation.duplicate",
    ),
    ("/order", JSON, r#"{"unknown": 1}"#, "validation.unknown"),
    ("/order", FORM, "address=x", "validation.other"),
    ("/order", FORM, "date=x", "validation."),
    ("/order", FORM, "boolean=x", "validation.boolean"),
    ("/order", FORM, "count=x", "validation.number"),
    ("/order", FORM, "size=huge", "validation.choice"),
    ("/order", FORM, "group=x", "validation.group"),
    ("/order", FORM, "list[a]=x", "validation.list"),
    ("/flat", FORM, "", "validation.missing"),
    ("/order", "text/csv", "a", "input.unsupported_type"),
    ("/order", FORM, "a[b][c][d][e]=1", "unit.levels_of_nesting"),
    ("/order", FORM, "a=%ff", "malformed.encoding"),
    ("/order", FORM, "a=1&a[b]=1", "malformed.field_name"),
    ("/order", JSON, "[", "malformed.json"),
    ("/order", JSON, "[1]", "malformed.json_object"),
    ("/order", "multipart/form-data", "x", "malformed.boundary"),
    ("/order", PARTS, "x", "malformed.multipart"),
    (
        "/order",
        PARTS,
        "--b\r\ncontent-disposition: form-data\r\n\r\n1\r\n--b--\r\n",
        "malformed.part_name",
    ),
    ("/protected", FORM, "", "csrf.missing_token"),
    ("/protected", FORM, "_csrf=x", "csrf.invalid_token"),
];

fn file(content: &str) -> String {
    format!(
        "--b\r\ncontent-disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n{content}\r\n"
    )
}

#[tokio::test]
async fn a_catalogue_with_every_key_leaves_no_english_text() {
    let setup = test_server(config());
    let forms = Forms::new()
        .csrf_protection()
        .limits(LIMITS)
        .exempt(|head| head.uri.path() != "/protected")
        .messages(catalogue());
    let server = serve(setup.sessions.wrap_fn(forms.wrap_fn(pages))).await;
    let mut visitor = Visitor(Remote::http1(server.address));
    let mut cases: Vec<(&str, &str, String, &str)> = CASES
        .map(|(path, content_type, body, key)| (path, content_type, body.to_owned(), key))
        .into();
    cases.extend([
        ("/order", FORM, "x".repeat(2001), "unit.bytes"),
        ("/order", FORM, "a=1&".repeat(21), "unit.fields"),
        (
            "/order",
            PARTS,
            file("x").repeat(3) + "--b--\r\n",
            "unit.files",
        ),
        (
            "/order",
            PARTS,
            file(&"x".repeat(5001)) + "--b--\r\n",
            "unit.bytes_of_files",
        ),
    ]);
    let mut seen = BTreeSet::new();
    for (path, content_type, body, key) in cases {
        let lines = [("content-type", content_type), ("accept", JSON)];
        let answer = visitor.send(Method::POST, path, &lines, body).await;
        assert!(answer.status.is_client_error(), "{key}: {answer:?}");
        let texts = answer.json();
        for text in messages(&texts) {
            collect_keys(text, &mut seen);
        }
        assert!(answer.text().contains(&format!("<{key}")), "{key}: {texts}");
    }
    for line in [("sec-fetch-site", "cross-site"), ("origin", "http://a.b")] {
        let answer = visitor
            .send(Method::POST, "/protected", &[line], "".to_owned())
            .await;
        collect_keys(answer.text(), &mut seen);
    }
    let handler = service_fn(async |_: Request<FormBody<Incoming>>| page(String::new()));
    let router = Router::new().route("/", post("page")).layer(forms.layer());
    for server in [
        serve(forms.wrap(handler)).await,
        serve(TowerToHyperService::new(router)).await,
    ] {
        let answer = Remote::http1(server.address).post("/", "").await;
        assert_eq!(answer.status, 500);
        collect_keys(answer.text(), &mut seen);
    }
    let keys = Messages::english().map(|(key, _)| key);
    let unseen: Vec<&str> = keys
        .filter(|key| !seen.contains(*key) && !key.starts_with("status."))
        .collect();
    assert_eq!(unseen, OTHERS);
}
