//! CSRF tokens in bodies, which `Forms` reads before the handler.

use http::{Method, StatusCode};
use hyper_session::form::Forms;
use serde_json::json;

use crate::{
    form::support::{FORM, LIMITS, Site, Visitor},
    support::net::Answer,
};

async fn site() -> Site {
    Site::new(&Forms::new().csrf_protection().limits(LIMITS)).await
}

async fn put(visitor: &mut Visitor, lines: &[(&str, &str)], body: &str) -> Answer {
    visitor.post("/put", lines, body).await
}

const MULTIPART: &str = "multipart/form-data; boundary=b";

fn upload(parts: &[&str]) -> String {
    let parts = parts
        .iter()
        .map(|part| format!("--b\r\nContent-Disposition: form-data; {part}\r\n"));
    parts.collect::<String>() + "--b--\r\n"
}

#[tokio::test]
async fn in_a_multipart_form_the_token_comes_before_the_files() {
    let site = site().await;
    let mut visitor = site.visitor();
    let token = visitor.token().await;
    let token = format!("name=\"_csrf\"\r\n\r\n{token}");
    let file = format!("name=\"f\"; filename=\"n\"\r\n\r\n{}", "y".repeat(4000));
    let other = "name=\"a\"\r\n\r\n1";
    let lines = [("content-type", MULTIPART)];
    for path in ["/echo", "/echo?take"] {
        let body = upload(&[other, &token, &file, "name=\"z\"\r\n\r\n2"]);
        let echo = visitor.send(Method::POST, path, &lines, body).await.json();
        assert_eq!(
            (&echo["input"]["a"], &echo["input"]["z"]),
            (&json!("1"), &json!("2"))
        );
        assert_eq!(echo["files"][0][3], 4000);
        assert_eq!(
            echo["taken"].as_str().unwrap().len(),
            if path == "/echo" { 0 } else { 4000 }
        );
    }
    let late = upload(&[&file, &token]);
    let answer = visitor.send(Method::POST, "/echo", &lines, late).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn what_was_read_for_its_token_keeps_the_limits_of_its_handler_too() {
    let site = Site::new(&Forms::new().csrf_protection()).await;
    let mut visitor = site.visitor();
    let token = visitor.token().await;
    let token_part = format!("name=\"_csrf\"\r\n\r\n{token}");
    let long = "y".repeat(5001);
    let file = format!("name=\"f\"; filename=\"n\"\r\n\r\n{long}");
    let long_file = upload(&[&token_part, &file]);
    let long_field = upload(&[&token_part, &format!("name=\"a\"\r\n\r\n{long}")]);
    for (kind, body) in [
        (FORM, format!("_csrf={token}&a={long}")),
        (FORM, format!("_csrf={token}{}", "&a".repeat(20))),
        (MULTIPART, long_file),
        (MULTIPART, long_field.replace("--b--", "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"n\"\r\n\r\n\r\n--b--")),
    ] {
        let lines = [("content-type", kind)];
        let answer = visitor.send(Method::POST, "/echo", &lines, body).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{answer:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_for_its_token_gets_its_own_status() {
    let site = site().await;
    let mut visitor = site.visitor();
    let token = visitor.token().await;
    let long = format!("_csrf={token}&a={}", "x".repeat(3000));
    let broken = format!("_csrf={token}&a=%ff");
    assert_eq!(
        put(&mut visitor, &[], &long).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    assert_eq!(
        put(&mut visitor, &[], &broken).await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(site.setup.events.with_name("csrf_refused"), []);
}
