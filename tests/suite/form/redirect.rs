//! Responses to an invalid form: a redirect to a path on this origin, or JSON.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_session::{
    Session,
    form::{FormBody, Forms, ValidationErrors},
};
use serde_json::json;

use crate::{
    form::support::{BoxError, FORM, Page, Site, Visitor, location},
    support::{
        TestServer, config,
        net::{Remote, Server, serve},
        test_server,
    },
};

/// Starts a site that responds to every request with these errors.
async fn site_with_errors(errors: ValidationErrors) -> (TestServer, Server, Visitor) {
    let setup = test_server(config());
    let forms = Forms::new().wrap_fn(move |_: Request<FormBody<Incoming>>, _: Session| {
        let errors = errors.clone();
        async move { Err::<Page, BoxError>(errors.into()) }
    });
    let server = serve(setup.sessions.wrap_fn(forms)).await;
    let visitor = Visitor(Remote::http1(server.address));
    (setup, server, visitor)
}

async fn redirect_path(visitor: &mut Visitor, referer: &str) -> String {
    let answer = visitor
        .post("/contact", &[("referer", referer)], "title=")
        .await;
    location(&answer).to_owned()
}

/// Returns hostile values of `Referer` for a site at `host:port`.
fn attacks(host: &str, port: u16) -> Vec<String> {
    let own = format!("{host}:{port}");
    vec![
        String::new(),
        "about:client".into(),
        "null".into(),
        "/contact".into(),
        "contact".into(),
        format!("//{own}/x"),
        "https://evil.example/".into(),
        format!("http://evil.example:{port}/"),
        format!("http://{host}/no-port"),
        format!("http://{host}:{}/", port ^ 1),
        format!("http://{host}:99999/"),
        format!("http://x{own}/"),
        format!("http://{own}.evil.example/"),
        format!("http://{own}@evil.example/"),
        format!("http://evil.example@{own}/"),
        format!("http://user:word@{own}/"),
        format!("http://evil.example\\@{own}/"),
        format!("http://evil.example/\t@{own}/"),
        format!("http://evil.example#@{own}/"),
        format!("http://evil.example?@{own}/"),
        format!("http://{own}//evil.example"),
        format!("http://{own}/\\evil.example"),
        format!("http://{own}/a\\..\\\\evil.example"),
        format!("http://{own}/\t/evil.example"),
        format!("http://{own}/ /evil.example"),
        format!("http:{own}/x"),
        format!("http:///{own}/x"),
        format!("http:\\\\{own}/x"),
        format!("ftp://{own}/x"),
        format!("javascript://{own}/%0aalert(1)"),
        "javascript:alert(1)".into(),
        "data:text/html,x".into(),
        format!("blob:http://{own}/x"),
        format!("view-source:http://{own}/x"),
    ]
}

#[tokio::test]
async fn a_referer_that_is_not_on_this_origin_leads_home() {
    let site = Site::new(&Forms::new()).await;
    let port = site.server.address.port();
    for mut visitor in [site.visitor(), site.http2_visitor()] {
        for attack in attacks("127.0.0.1", port) {
            assert_eq!(
                redirect_path(&mut visitor, &attack).await,
                "/",
                "{attack:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_referer_on_this_origin_leads_to_its_path_and_query() {
    let site = Site::new(&Forms::new()).await;
    let port = site.server.address.port();
    for mut visitor in [site.visitor(), site.http2_visitor()] {
        for (referer, expected) in [
            (format!("http://127.0.0.1:{port}"), "/"),
            (format!("http://127.0.0.1:{port}/?"), "/?"),
            (
                format!("HTTP://127.0.0.1:{port}/a/b?c=d&next=//x"),
                "/a/b?c=d&next=//x",
            ),
            // A proxy may terminate TLS.
            (format!("https://127.0.0.1:{port}/a"), "/a"),
        ] {
            assert_eq!(
                redirect_path(&mut visitor, &referer).await,
                expected,
                "{referer}"
            );
        }
    }
}

#[tokio::test]
async fn default_ports_are_not_written_and_hosts_have_no_case() {
    let site = Site::new(&Forms::new()).await;
    let mut visitor = site.visitor();
    for (host, referer, expected) in [
        ("www.example.com", "https://www.example.com/a", "/a"),
        ("www.example.com", "http://www.example.com/a", "/a"),
        ("WWW.example.com:443", "https://www.EXAMPLE.com/a", "/a"),
        ("www.example.com:80", "https://www.example.com/a", "/"),
        ("www.example.com:443", "http://www.example.com/a", "/"),
        ("www.example.com:8443", "https://www.example.com/a", "/"),
        ("[::1]:8080", "http://[::1]:8080/a", "/a"),
        ("a@www.example.com", "https://www.example.com/a", "/"),
        ("", "https://www.example.com/a", "/"),
    ] {
        let lines = [("host", host), ("referer", referer)];
        let answer = visitor.post("/contact", &lines, "title=").await;
        assert_eq!(location(&answer), expected, "{host} {referer}");
    }
}

#[tokio::test]
async fn behind_a_proxy_the_named_origins_are_those_that_count() {
    let forms = Forms::new().origin("https://www.example.com").unwrap();
    let forms = forms.origin("http://localhost:3000/").unwrap();
    let site = Site::new(&forms).await;
    let mut visitor = site.visitor();
    for (referer, expected) in [
        ("https://www.example.com/a", "/a"),
        ("https://www.example.com:443/a", "/a"),
        ("http://localhost:3000/a?b", "/a?b"),
        ("http://www.example.com/a", "/"),
        ("https://localhost:3000/a", "/"),
        ("https://example.com/a", "/"),
        (&site.url("/a"), "/"),
    ] {
        assert_eq!(
            redirect_path(&mut visitor, referer).await,
            expected,
            "{referer}"
        );
    }
}

#[test]
fn an_invalid_origin_is_refused() {
    for text in [
        "",
        "*",
        "null",
        "www.example.com",
        "https://",
        "https://a/b",
        "https://a?b",
        "https://a@b",
        "ftp://a",
        "//a",
        "https://a:99999",
    ] {
        assert!(Forms::new().origin(text).is_err(), "{text}");
    }
}

#[tokio::test]
async fn without_a_referer_the_form_is_where_the_session_remembers() {
    let site = Site::new(&Forms::new()).await;
    let mut visitor = site.visitor();
    visitor.get("/form?draft=1").await;
    let answer = visitor.post("/contact", &[], "title=").await;
    assert_eq!(location(&answer), "/form?draft=1");
    assert_eq!(
        redirect_path(&mut visitor, "https://evil.example/").await,
        "/form?draft=1"
    );
    let referer = site.url("/other");
    assert_eq!(
        redirect_path(&mut visitor, &referer).await,
        "/other",
        "`Referer` takes precedence"
    );
}

#[tokio::test]
async fn a_page_that_is_shown_again_costs_no_second_write() {
    let site = Site::new(&Forms::new()).await;
    let mut visitor = site.visitor();
    visitor.get("/form").await;
    site.setup.store.calls();
    visitor.get("/form").await;
    let calls = site.setup.store.calls();
    assert!(!calls.contains(&crate::support::Call::Write), "{calls:?}");
    visitor.get("/form?other").await;
    assert!(
        site.setup
            .store
            .calls()
            .contains(&crate::support::Call::Write)
    );
}

#[tokio::test]
async fn errors_may_name_a_path_of_their_own_and_nothing_else() {
    for (named, expected) in [
        ("/sign-in?next=/a#form", "/sign-in?next=/a#form"),
        ("/é?ü", "/%C3%A9?%C3%BC"),
        ("https://evil.example/", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("\\\\evil.example", "/"),
        ("/\n/evil.example", "/"),
        ("/a\r\nSet-Cookie: x=1", "/"),
        ("javascript:alert(1)", "/"),
        ("data:text/html,x", "/"),
        ("\t/x", "/"),
        ("", "/"),
    ] {
        let (_house, _server, mut visitor) =
            site_with_errors(ValidationErrors::new().redirect_to(named)).await;
        assert_eq!(redirect_path(&mut visitor, "").await, expected, "{named:?}");
    }
}

#[tokio::test]
async fn a_page_is_not_asked_for_again_and_again() {
    let (_house, server, mut visitor) =
        site_with_errors(ValidationErrors::new().with_error("q", "no")).await;
    let own = format!("http://{}/search?q=x", server.address);
    let lines = [("referer", &*own)];
    let answer = visitor.send(Method::GET, "/search?q=x", &lines, "").await;
    assert_eq!(location(&answer), "/");
    let answer = visitor.send(Method::GET, "/", &[], "").await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text().ends_with("\nq: no"), "{answer:?}");
    let answer = visitor.post("/", &[], "").await;
    assert_eq!(location(&answer), "/", "a redirect does not repeat a POST");
}

async fn wants_json(visitor: &mut Visitor, lines: &[(&str, &str)]) -> bool {
    let mut all = vec![("content-type", FORM)];
    all.extend(lines);
    all.retain(|(_, value)| !value.is_empty());
    let answer = visitor.send(Method::POST, "/", &all, "").await;
    if answer.status == StatusCode::SEE_OTHER {
        return false;
    }
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.headers["content-type"], "application/json");
    true
}

#[tokio::test]
async fn accept_chooses_between_the_page_and_json() {
    let (_house, _server, mut visitor) = site_with_errors(ValidationErrors::new()).await;
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
    for (accept, with, expected) in [
        ("", "", false),
        ("*/*", "", false),
        (browser, "", false),
        (browser, "XMLHttpRequest", false),
        ("", "XMLHttpRequest", true),
        ("*/*", "xmlhttprequest", true),
        ("*/*", "com.example.app", false),
        ("application/json", "", true),
        ("Application/JSON ; q=0.1", "", true),
        ("application/json, text/plain, */*", "", true),
        ("application/problem+json", "", true),
        ("text/html, application/json", "", false),
        ("text/html;q=0.8, application/json", "", true),
        ("text/html;q=0.8, application/json;q=0.9", "", true),
        ("text/html, application/json;q=0.9", "", false),
        ("application/json;q=0, */*", "XMLHttpRequest", false),
        ("text/html;q=0, application/json;q=0.001", "", true),
        ("application/json;q=nonsense", "", false),
        ("text/json", "", false),
    ] {
        let lines = [("accept", accept), ("x-requested-with", with)];
        let json = wants_json(&mut visitor, &lines).await;
        assert_eq!(json, expected, "{accept:?} {with:?}");
    }
    let lines = ["text/html;q=0.5", "application/json"].map(|line| ("accept", line));
    assert!(
        wants_json(&mut visitor, &lines).await,
        "several lines form one list"
    );
}

#[tokio::test]
async fn a_request_with_json_gets_json_unless_it_accepts_html() {
    let (_house, _server, mut visitor) = site_with_errors(ValidationErrors::new()).await;
    for (accept, expected) in [
        ("*/*", StatusCode::UNPROCESSABLE_ENTITY),
        ("text/html", StatusCode::SEE_OTHER),
    ] {
        let lines = [
            ("content-type", "application/json; charset=utf-8"),
            ("accept", accept),
        ];
        let answer = visitor.send(Method::POST, "/", &lines, "{}").await;
        assert_eq!(answer.status, expected, "{accept}");
    }
}

#[tokio::test]
async fn the_choice_can_be_made_by_the_handler() {
    let json = ("accept", "application/json");
    let (_house, _server, mut visitor) =
        site_with_errors(ValidationErrors::new().respond_with_page()).await;
    assert!(!wants_json(&mut visitor, &[json]).await);
    let (_house, _server, mut visitor) =
        site_with_errors(ValidationErrors::new().respond_with_json()).await;
    assert!(wants_json(&mut visitor, &[("accept", "text/html")]).await);
}

#[tokio::test]
async fn json_has_the_errors_and_nothing_is_flashed() {
    let site = Site::new(&Forms::new()).await;
    let mut visitor = site.visitor();
    visitor.get("/put").await;
    let lines = [("accept", "application/json")];
    let answer = visitor.post("/contact", &lines, "title=&body=x").await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let expected = json!({
        "code": "E_VALIDATION_ERROR",
        "message": "The form could not be saved. Please check the errors below.",
        "errors": {"title": ["Give it a title."], "items.0.name": ["Name it."]},
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(visitor.flashed().await, json!({}));
}

#[tokio::test]
async fn refused_input_flashes_nothing_and_says_so_in_the_right_form() {
    let site = Site::new(&Forms::new()).await;
    let mut visitor = site.visitor();
    let long = format!("title={}", "x".repeat(3000));
    for (kind, body, status) in [
        (FORM, &*long, StatusCode::PAYLOAD_TOO_LARGE),
        (FORM, "a=1&a[b]=1", StatusCode::BAD_REQUEST),
        ("application/json", "{", StatusCode::BAD_REQUEST),
        ("text/plain", "title=x", StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ] {
        for (accept, content_type) in [
            ("text/html", "text/plain; charset=utf-8"),
            ("application/json", "application/json"),
        ] {
            let lines = [("content-type", kind), ("accept", accept)];
            let answer = visitor
                .send(Method::POST, "/contact", &lines, body.to_owned())
                .await;
            assert_eq!(answer.status, status, "{kind} {body}");
            assert_eq!(answer.headers["content-type"], content_type);
            assert!(answer.text().contains("The request was rejected: "));
        }
    }
    assert_eq!(visitor.flashed().await, json!({}));
}

#[tokio::test]
async fn errors_without_forms_around_are_json() {
    let errors = ValidationErrors::new().with_error("a", "b");
    let response = errors.into_response::<Full<Bytes>>();
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(response.headers()["content-type"], "application/json");
}

#[tokio::test]
async fn a_session_that_cannot_be_opened_is_503() {
    let (setup, _server, mut visitor) = site_with_errors(ValidationErrors::new()).await;
    visitor.post("/", &[], "").await;
    setup.store.fail_always(crate::support::Call::Read);
    let answer = visitor.post("/", &[], "").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn errors_may_leave_the_input_out() {
    let site = Site::new(&Forms::new()).await;
    let setup = &site.setup;
    let mut browser = setup.browser();
    browser
        .visit(async |s| {
            s.set_form_input(json!({"title": "x"}));
            let errors = ValidationErrors::new().code("E_A.B").summary("No.");
            errors.without_input().flash(s)
        })
        .await
        .unwrap();
    let flashed = browser.visit(async |s| s.flash_messages().unwrap()).await;
    let flashed: serde_json::Value = flashed.all().unwrap();
    let expected = json!({"errors": {}, "inputErrorsBag": {}, "errorsBag": {"E_A.B": "No."}});
    assert_eq!(flashed, expected);
}
