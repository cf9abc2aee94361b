//! Redirects, languages and errors without a field in axum.

use axum::{
    Router,
    extract::Request,
    response::{IntoResponse, Response, Result},
    routing::{get, post},
};
use hyper_session::{
    Session, SessionError,
    form::{Forms, Input},
    service::{Messages, Redirect},
    testing::TestClient,
};
use serde_json::json;

use crate::support::{config, test_server};

async fn account(session: Session, request: Request) -> Result<Response, SessionError> {
    if session.has("user")? {
        return Ok("an account".into_response());
    }
    let redirect = Redirect::to("/sign-in").with_intended_url(&session, &request)?;
    Ok(redirect.into_response())
}

async fn sign_in(session: Session) -> Result<Redirect, SessionError> {
    session.regenerate()?;
    session.put("user", 7)?;
    Redirect::to_intended(&session, "/home")
}

async fn like(session: Session, request: Request) -> Result<Redirect, SessionError> {
    session.flash_errors([("E_LIKED", "You like it already.")])?;
    let step = session.pull_or("step", 1)?;
    session.put("last_step", step)?;
    Redirect::back(&session, &request, "/home")
}

#[derive(serde::Deserialize)]
struct Order {
    count: u8,
}

async fn order(input: Input) -> Result<String> {
    let order: Order = input.deserialize()?;
    Ok(order.count.to_string())
}

#[tokio::test]
async fn handlers_redirect_flash_errors_and_answer_in_the_language_of_the_request() {
    let setup = test_server(config().secret_fields(["card"]));
    let german = Messages::new([("validation.number", "muss eine Zahl sein")]);
    let forms = Forms::new().select_messages(move |request, _| {
        match request.preferred_language(&["en", "de"]) {
            Some("de") => german.clone(),
            _ => Messages::default(),
        }
    });
    let app = Router::new()
        .route("/account", get(account))
        .route("/sign-in", post(sign_in))
        .route("/like", post(like))
        .route("/order", post(order))
        .layer(forms.layer())
        .layer(setup.sessions.layer());
    let client = TestClient::tower(&setup.sessions, app);

    let sent = client.get("/account?tab=2").send().await;
    sent.assert_status(303).assert_redirect("/sign-in");
    let signed_in = client.post("/sign-in").send().await;
    signed_in.assert_redirect("/account?tab=2");
    assert_eq!(client.follow(&signed_in).send().await.text(), "an account");
    client
        .post("/sign-in")
        .send()
        .await
        .assert_redirect("/home");

    let liked = client.post("/like").send().await;
    // The client sends the page that it shows as `Referer`.
    liked
        .assert_redirect("/account?tab=2")
        .assert_session("last_step", 1);
    liked.assert_flash(["errorsBag", "E_LIKED"], "You like it already.");

    let fields = [("count", "x"), ("card", "4711"), ("title", "Tea")];
    for (language, message) in [
        ("de", "muss eine Zahl sein"),
        ("fr", "must be a valid number"),
    ] {
        let request = client.post("/order").header("accept-language", language);
        let answer = request.form(fields).send().await;
        answer
            .assert_redirect("/account?tab=2")
            .assert_validation_error("count", message);
        answer
            .assert_flash("title", "Tea")
            .assert_flash_missing("card");
        let request = client.post("/order").header("accept-language", language);
        let answer = request
            .header("accept", "application/json")
            .form(fields)
            .send()
            .await;
        answer.assert_status(422);
        let errors: serde_json::Value = answer.json();
        assert_eq!(errors["errors"], json!({ "count": [message] }));
    }
}
