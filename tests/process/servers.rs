//! The small examples as processes.

use std::process::Command;

use http::{Method, StatusCode, header};

use crate::support::{ServerProcess, example, net::Remote, scratch::Scratch};

/// Starts an example with its default settings, and a folder of its own for files.
fn start(name: &str, scratch: &Scratch) -> ServerProcess {
    let mut command = Command::new(example(name));
    command
        .env_clear()
        .env("ADDR", "127.0.0.1:0")
        .env("APP_KEY", "the application key of a test of the examples")
        .env("TMPDIR", scratch.path());
    ServerProcess::start(&mut command)
}

/// Returns the CSRF token of a page's form.
fn token(page: &str) -> &str {
    let (_, rest) = page.split_once("name=\"_csrf\" value=\"").unwrap();
    rest.split_once('"').unwrap().0
}

/// Sends a form with the token of the page `path`, and returns the path of the redirect.
async fn send(client: &mut Remote, path: &str, fields: &[(&str, &str)]) -> String {
    let page = client.get(path).await;
    let body = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("_csrf", token(page.text()))
        .extend_pairs(fields)
        .finish();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let answer = client.send_with(Method::POST, path, &form, body).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text());
    answer.headers[header::LOCATION]
        .to_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn the_custom_store_counts_visits_and_keeps_them() {
    let scratch = Scratch::new();
    let server = start("custom_store", &scratch);
    let mut client = Remote::http1(server.address);
    for visit in 1..=3 {
        let page = client.get("/").await;
        assert_eq!(page.text(), format!("visit number {visit}\n"));
    }
    drop(server);
    // A new process has the sessions of the former one.
    let server = start("custom_store", &scratch);
    let mut returned = Remote::http1(server.address);
    returned.jar = client.jar;
    assert_eq!(returned.get("/").await.text(), "visit number 4\n");
}

#[tokio::test]
async fn the_askama_page_shows_a_message_once() {
    let scratch = Scratch::new();
    let server = start("askama_page", &scratch);
    let mut client = Remote::http1(server.address);
    assert_eq!(send(&mut client, "/", &[("title", "Tea")]).await, "/");
    assert!(
        client
            .get("/")
            .await
            .text()
            .contains("“Tea” has been saved.")
    );
    assert!(!client.get("/").await.text().contains("has been saved."));
}

#[tokio::test]
async fn the_example_of_tests_signs_a_user_in_and_out() {
    let scratch = Scratch::new();
    let server = start("testing", &scratch);
    let mut client = Remote::http1(server.address);
    assert_eq!(client.get("/").await.headers[header::LOCATION], "/login");
    let email = ("email", "ada@example.com");
    let wrong = [email, ("password", "a guess")];
    send(&mut client, "/login", &wrong).await;
    assert_eq!(client.get("/").await.headers[header::LOCATION], "/login");
    let right = [email, ("password", "analytical engine")];
    assert_eq!(send(&mut client, "/login", &right).await, "/");
    let page = client.get("/").await;
    assert!(page.text().contains("Welcome back.") && page.text().contains("<h1>Ada</h1>"));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let body = format!("_csrf={}", token(page.text()));
    let answer = client.send_with(Method::POST, "/logout", &form, body).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert_eq!(client.get("/").await.headers[header::LOCATION], "/login");
}
