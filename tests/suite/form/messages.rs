//! The catalogue of texts: languages, placeholders, and the choice for each request.

use std::collections::BTreeSet;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper_session::{
    Session,
    form::{FormBody, Forms, Input, ValidationErrors},
    service::{Messages, RequestHead, RequestInfo},
};
use serde_json::{Value, json};

use super::support::{BoxError, FORM, LIMITS, Page, Visitor, location, page};
use crate::support::{
    TestServer, config,
    net::{Remote, Server, serve},
    test_server,
};

/// The catalogue of the example.
const GERMAN: &str = include_str!("../../../examples/site/messages/german.toml");

fn german() -> Messages {
    toml::from_str(GERMAN).unwrap()
}

/// Returns the names between braces.
fn placeholders(text: &str) -> BTreeSet<&str> {
    let parts = text.split('{').skip(1);
    parts
        .filter_map(|part| Some(part.split_once('}')?.0))
        .collect()
}

#[test]
fn the_german_catalogue_has_every_key_and_its_placeholders() {
    let german = german();
    let mut keys = 0;
    for (key, english) in Messages::english() {
        let text = german.text(key);
        assert!(text != english, "{key} is not translated");
        let known = placeholders(english);
        assert!(placeholders(text).is_subset(&known), "{key}: {text}");
        keys += 1;
    }
    assert_eq!(keys, Messages::english().count());
    assert!(Messages::english().is_sorted());
    assert!(keys > 25);
}

#[test]
fn placeholders_are_replaced_once_and_unknown_ones_stay() {
    let messages = Messages::new([
        ("a", "{x} {y} {z} {x"),
        ("b", "}{}{{x}}"),
        ("validation.list", "eine Liste"),
    ]);
    assert_eq!(
        messages.format("a", &[("x", &"{y}"), ("y", &7)]),
        "{y} 7 {z} {x"
    );
    assert_eq!(messages.format("b", &[("x", &"é")]), "}{}{é}");
    assert_eq!(messages.format("no.key {x}", &[("x", &1)]), "no.key 1");
    assert_eq!(messages.text("validation.list"), "eine Liste");
    assert_eq!(messages.text("validation.missing"), "is missing");
    assert_eq!(messages.text("none"), "none");
}

fn preferred(accept: &[&str], available: &[&'static str]) -> Option<&'static str> {
    let mut request = Request::builder().method(Method::GET).uri("/");
    for line in accept {
        request = request.header("accept-language", *line);
    }
    let request = request.body(()).unwrap();
    let info = RequestInfo::new(&request);
    assert_eq!(info.uri(), RequestHead::uri(&request));
    info.preferred_language(available)
}

#[test]
fn the_language_is_the_one_that_the_client_prefers() {
    for (accept, expected) in [
        (&["de"][..], Some("de")),
        (&["de-AT"], Some("de")),
        (&["DE-Latn-at"], Some("de")),
        (&["fr, de;q=0.5, en;q=0.7"], Some("en")),
        (&["fr", "de"], Some("de")),
        (&["en, de"], Some("en")),
        (&["de;q=0, en;q=0.1"], Some("en")),
        (&["fr"], None),
        (&["de;q=0"], None),
        (&["*"], Some("en")),
        (&["fr, *;q=0.1, de;q=0.2"], Some("de")),
        (&[""], None),
        (&["d", "-", "de-"], Some("de")),
        (&[], None),
    ] {
        assert_eq!(preferred(accept, &["en", "de"]), expected, "{accept:?}");
    }
    assert_eq!(preferred(&["de"], &["de-CH"]), None);
    assert_eq!(preferred(&["*"], &[]), None);
}

/// A site whose language is in the session, else in `Accept-Language`.
async fn site() -> (TestServer, Server) {
    let setup = test_server(config().secret_fields(["card"]));
    let german = german();
    let forms = Forms::new()
        .csrf_protection()
        .limits(LIMITS)
        .exempt(|head| head.uri.path() != "/protected")
        .select_messages(move |request, session| {
            let chosen: Option<String> = session.get("language").ok().flatten();
            let chosen = chosen
                .as_deref()
                .or(request.preferred_language(&["en", "de"]));
            if chosen == Some("de") {
                german.clone()
            } else {
                Messages::default()
            }
        });
    let server = serve(setup.sessions.wrap_fn(forms.wrap_fn(pages))).await;
    (setup, server)
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only their types matter")]
struct Order {
    count: u8,
    #[serde(default)]
    gift: bool,
    #[serde(default)]
    size: Option<Size>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Size {
    Small,
    Large,
}

async fn pages(request: Request<FormBody<Incoming>>, session: Session) -> Result<Page, BoxError> {
    session.load().await?;
    let path = request.uri().path().to_owned();
    match &*path {
        "/flash" => return page(session.flash_messages()?.as_json()?.to_owned()),
        "/german" => {
            session.put("language", "de")?;
            return page(String::new());
        }
        _ => {}
    }
    let input = Input::from_request(request, &LIMITS).await?;
    if path == "/own" {
        let mut errors = ValidationErrors::new().with_error("name", "as is {min}");
        errors.add_message("password", "too_short", &[("min", &8)]);
        errors.add_message("password", "validation.missing", &[]);
        return Err(errors.summary("My summary.").into());
    }
    let order: Order = input.deserialize()?;
    page(format!("{order:?}"))
}

const JSON: (&str, &str) = ("accept", "application/json");
const DE: (&str, &str) = ("accept-language", "de-DE, en;q=0.5");

async fn errors(visitor: &mut Visitor, lines: &[(&str, &str)], path: &str, body: &str) -> Value {
    let answer = visitor.post(path, lines, body).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    answer.json()
}

#[tokio::test]
async fn validation_messages_are_in_the_language_of_the_request() {
    let (_setup, server) = site().await;
    let mut visitor = Visitor(Remote::http1(server.address));
    let summary = json!("The form could not be saved. Please check the errors below.");
    let zusammenfassung = json!(german().text("validation.summary"));
    for (body, field, english, german) in [
        (
            "count=x",
            "count",
            "must be a valid number",
            "muss eine gültige Zahl sein",
        ),
        ("", "count", "is missing", "fehlt"),
        (
            "count=1&gift=2",
            "gift",
            "must be yes or no",
            "muss Ja oder Nein sein",
        ),
        (
            "count=1&size=huge",
            "size",
            "must be one of: small, large",
            "muss eines davon sein: small, large",
        ),
        (
            "count=1&other=2",
            "other",
            "is not a known field",
            "ist kein bekanntes Feld",
        ),
    ] {
        let answer = errors(&mut visitor, &[JSON], "/order", body).await;
        assert_eq!(answer["errors"], json!({ field: [english] }));
        assert_eq!(answer["message"], summary);
        let answer = errors(&mut visitor, &[JSON, DE], "/order", body).await;
        assert_eq!(answer["errors"], json!({ field: [german] }));
        assert_eq!(answer["message"], zusammenfassung);
    }
}

#[tokio::test]
async fn messages_of_the_application_have_keys_labels_and_values() {
    let (_setup, server) = site().await;
    let mut visitor = Visitor(Remote::http1(server.address));
    let answer = errors(&mut visitor, &[JSON, DE], "/own", "").await;
    let password = ["Passwort: mindestens 8 Zeichen.", "fehlt"];
    let expected = json!({"name": ["as is {min}"], "password": password});
    assert_eq!(answer["errors"], expected);
    assert_eq!(answer["message"], "My summary.");
    let answer = errors(&mut visitor, &[JSON], "/own", "").await;
    assert_eq!(
        answer["errors"]["password"],
        json!(["too_short", "is missing"])
    );
}

#[tokio::test]
async fn a_redirect_flashes_the_language_of_the_session() {
    let (_setup, server) = site().await;
    let mut visitor = Visitor(Remote::http1(server.address));
    visitor.get("/german").await;
    let body = "count=x&card=4711&password=p&title=t";
    let answer = visitor.post("/order", &[], body).await;
    assert_eq!(location(&answer), "/");
    let fields = json!({"card": ["ist kein bekanntes Feld"]});
    let summary = json!({"E_VALIDATION_ERROR": german().text("validation.summary")});
    let expected = json!({
        "count": "x", "title": "t",
        "errors": fields, "inputErrorsBag": fields, "errorsBag": summary,
    });
    assert_eq!(visitor.flashed().await, expected);
}

#[tokio::test]
async fn rejected_input_is_answered_in_the_language_of_the_request() {
    let (setup, server) = site().await;
    let mut visitor = Visitor(Remote::http1(server.address));
    let large = "x".repeat(2001);
    for (path, content_type, body, status, english, german) in [
        (
            "/protected",
            FORM,
            "",
            403,
            "CSRF check failed: the token is missing.",
            "Die CSRF-Prüfung ist fehlgeschlagen: Das Token fehlt.",
        ),
        (
            "/order",
            FORM,
            &*large,
            413,
            "input exceeds the limit of 2000 bytes.",
            "Die Eingabe überschreitet die Grenze von 2000 Bytes.",
        ),
        (
            "/order",
            "application/json",
            "[",
            400,
            "malformed input: the body is not valid JSON.",
            "Die Eingabe ist fehlerhaft (kein gültiges JSON).",
        ),
        (
            "/order",
            "text/csv",
            "a",
            415,
            "unsupported content type; send application/x-www-form-urlencoded, multipart/form-data or \
             application/json, in UTF-8.",
            "Das Format wird nicht unterstützt. Erlaubt sind application/x-www-form-urlencoded, \
             multipart/form-data und application/json, in UTF-8.",
        ),
    ] {
        let kind = ("content-type", content_type);
        let text = ("accept", "text/html");
        let english = format!("The request was rejected: {english}");
        let german = format!("Die Anfrage wurde abgelehnt. {german}");
        for (lines, expected) in [
            (vec![kind, text], &english),
            (vec![kind, text, DE], &german),
        ] {
            let answer = visitor
                .send(Method::POST, path, &lines, body.to_owned())
                .await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.text(), expected);
        }
        let lines = [kind, JSON, DE];
        let answer = visitor
            .send(Method::POST, path, &lines, body.to_owned())
            .await;
        assert_eq!(answer.json(), json!({ "message": german }));
    }
    assert_eq!(
        setup.events.with_name("csrf_refused")[0].text,
        "the token is missing"
    );
}

#[tokio::test]
async fn one_catalogue_is_for_all_requests() {
    let setup = test_server(config());
    let forms = Forms::new().csrf_protection().messages(german());
    let server = serve(setup.sessions.wrap_fn(forms.wrap_fn(pages))).await;
    let mut visitor = Visitor(Remote::http1(server.address));
    let answer = visitor.post("/order", &[], "").await;
    assert!(
        answer.text().starts_with("Die Anfrage wurde abgelehnt."),
        "{answer:?}"
    );
    let cross = [
        ("sec-fetch-site", "cross-site"),
        ("origin", "https://evil.example"),
    ];
    let answer = visitor.post("/order", &cross, "").await;
    assert!(
        answer
            .text()
            .ends_with("Sie kommt von einer anderen Website."),
        "{answer:?}"
    );
}
