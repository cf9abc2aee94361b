//! CSRF checks of headers and of bodies, which `Forms` reads before the handler.

use std::time::Duration;

use http::{Method, StatusCode};
use hyper_session::form::Forms;
use serde_json::json;

use crate::{
    form::support::{FORM, LIMITS, Site, Visitor, location},
    support::{Browser, Call, config, data, net::Answer, test_server},
};

async fn site() -> Site {
    Site::new(&Forms::new().csrf_protection().limits(LIMITS)).await
}

async fn put(visitor: &mut Visitor, lines: &[(&str, &str)], body: &str) -> Answer {
    visitor.post("/put", lines, body).await
}

fn field(token: &str) -> String {
    format!("a=1&_csrf={token}")
}

#[tokio::test]
async fn a_token_in_the_form_is_accepted_and_the_input_is_read_once() {
    let site = site().await;
    for mut visitor in [site.visitor(), site.http2_visitor()] {
        let token = visitor.token().await;
        let answer = visitor.post("/echo", &[], &field(&token)).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.json()["input"], json!({"a": "1"}));
        let answer = visitor.post("/contact", &[], &field(&token)).await;
        assert_eq!(
            location(&answer),
            "/",
            "the form is invalid, but its token is valid"
        );
        assert_eq!(visitor.flashed().await["a"], "1");
    }
}

#[tokio::test]
async fn a_token_in_a_header_is_accepted_for_any_body() {
    let site = site().await;
    let mut visitor = site.visitor();
    let token = visitor.token().await;
    for name in ["x-csrf-token", "X-XSRF-TOKEN"] {
        for (kind, body) in [(FORM, "a=1"), ("application/json", "{\"a\":\"1\"}")] {
            let lines = [("content-type", kind), (name, &*token)];
            let answer = visitor.send(Method::POST, "/echo", &lines, body).await;
            assert_eq!(answer.json()["input"], json!({"a": "1"}));
        }
        for method in [Method::PUT, Method::PATCH, Method::DELETE] {
            let answer = visitor.send(method, "/put", &[(name, &token)], "").await;
            assert_eq!(answer.status, StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn tokens_have_different_masks_and_all_are_valid() {
    let site = site().await;
    let mut visitor = site.visitor();
    let (first, second) = (visitor.token().await, visitor.token().await);
    assert_ne!(first, second);
    for token in [first, second] {
        assert_eq!(
            put(&mut visitor, &[], &field(&token)).await.status,
            StatusCode::OK
        );
    }
}

#[tokio::test]
async fn a_wrong_token_is_refused_before_the_handler_runs() {
    let site = site().await;
    let mut visitor = site.visitor();
    let mut other = site.visitor();
    let good = visitor.token().await;
    let others = other.token().await;
    let mut forged = good.clone().into_bytes();
    forged[30] = if forged[30] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    let long = format!("{good}A");
    for wrong in [
        &*others,
        &forged,
        &good[1..],
        &good[..42],
        &long,
        "",
        "x",
        "é",
        &"A".repeat(43),
    ] {
        let answer = put(&mut visitor, &[], &field(wrong)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{wrong:?}");
        if wrong.is_ascii() && !wrong.is_empty() {
            let lines = [("x-csrf-token", wrong)];
            let answer = put(&mut visitor, &lines, &field(&good)).await;
            assert_eq!(
                answer.status,
                StatusCode::FORBIDDEN,
                "the header takes precedence: {wrong:?}"
            );
        }
    }
    let calls = site.setup.store.calls();
    assert!(calls.is_empty(), "no handler ran: {calls:?}");
}

#[tokio::test]
async fn a_missing_token_is_refused_wherever_it_could_have_been() {
    let site = site().await;
    let mut visitor = site.visitor();
    let token = visitor.token().await;
    let in_url = format!("/put?_csrf={token}");
    let json = format!("{{\"a\":{{\"_csrf\":\"{token}\"}}}}");
    for (path, kind, body) in [
        ("/put", FORM, ""),
        ("/put", FORM, "a=1"),
        (&*in_url, FORM, "a=1"),
        ("/put", "application/json", &*json),
        ("/put", "text/plain", &*field(&token)),
        ("/put", "", ""),
    ] {
        let mut lines = vec![("content-type", kind)];
        lines.retain(|(_, value)| !value.is_empty());
        let answer = visitor
            .send(Method::POST, path, &lines, body.to_owned())
            .await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {kind} {body}");
        let answer = visitor
            .send(Method::DELETE, path, &lines, body.to_owned())
            .await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {kind} {body}");
    }
    let calls = site.setup.store.calls();
    assert!(calls.is_empty(), "no handler ran: {calls:?}");
}

#[tokio::test]
async fn a_checked_form_must_fit_the_limits_of_the_handler_too() {
    let site = site().await;
    let mut visitor = site.visitor();
    let token = visitor.token().await;
    let long = "a".repeat(101);
    let json = |value: &str| format!("{{\"_csrf\":\"{token}\",\"a\":{value}}}");
    let json_type = "application/json";
    for (path, kind, body, fits) in [
        ("/strict", FORM, field(&token), true),
        ("/strict?b=1", json_type, json("1"), true),
        (
            "/strict",
            FORM,
            format!("{}&c[b][d]=1", field(&token)),
            false,
        ),
        ("/strict?a[b]=1", FORM, field(&token), false),
        (&*format!("/strict?{long}"), FORM, field(&token), false),
        (
            "/strict",
            FORM,
            format!("{}&b={long}", field(&token)),
            false,
        ),
        ("/strict", json_type, json("[1]"), false),
    ] {
        let lines = [("content-type", kind)];
        let answer = visitor.send(Method::POST, path, &lines, body.clone()).await;
        let expected = if fits { 200 } else { 413 };
        assert_eq!(answer.status, expected, "{path} {body}");
    }
}

#[tokio::test]
async fn a_visitor_without_a_session_has_no_token() {
    let site = site().await;
    let token = site.visitor().token().await;
    let answer = put(&mut site.visitor(), &[], &field(&token)).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn safe_methods_need_no_token() {
    let site = site().await;
    let mut visitor = site.visitor();
    let lines = [("sec-fetch-site", "cross-site"), ("origin", "null")];
    for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
        let answer = visitor.send(method.clone(), "/flash", &lines, "").await;
        assert_eq!(answer.status, StatusCode::OK, "{method}");
    }
}

#[tokio::test]
async fn regenerate_and_destroy_make_tokens_worthless() {
    let site = site().await;
    let mut visitor = site.visitor();
    let token = visitor.token().await;
    put(&mut visitor, &[], &field(&token)).await;
    for how in ["/regenerate", "/destroy"] {
        let old = visitor.token().await;
        assert_eq!(
            put(&mut visitor, &[], &field(&old)).await.status,
            StatusCode::OK
        );
        visitor.get(how).await;
        let answer = put(&mut visitor, &[], &field(&old)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{how}");
        let new = visitor.token().await;
        assert_eq!(
            put(&mut visitor, &[], &field(&new)).await.status,
            StatusCode::OK
        );
    }
}

#[tokio::test]
async fn another_site_is_refused_whatever_token_it_has() {
    let site = site().await;
    let mut visitor = site.visitor();
    let token = visitor.token().await;
    let own = site.url("");
    let sibling = format!("http://localhost:{}", site.server.address.port());
    for (fetch_site, origin, passes) in [
        ("same-origin", "", true),
        ("same-origin", &*own, true),
        ("same-origin", "null", true),
        ("none", "", true),
        ("", "", true),
        ("", &own, true),
        ("cross-site", "", false),
        ("cross-site", &own, false),
        ("same-site", &own, false),
        ("Same-Origin", &own, false),
        ("", "null", false),
        ("", "https://evil.example", false),
        ("", &sibling, false),
        ("", "http://127.0.0.1", false),
        ("", "nonsense", false),
    ] {
        let mut lines = vec![("sec-fetch-site", fetch_site), ("origin", origin)];
        lines.retain(|(_, value)| !value.is_empty());
        let expected = if passes {
            StatusCode::OK
        } else {
            StatusCode::FORBIDDEN
        };
        let answer = put(&mut visitor, &lines, &field(&token)).await;
        assert_eq!(answer.status, expected, "{fetch_site:?} {origin:?}");
    }
}

#[tokio::test]
async fn named_origins_may_send_forms_and_no_others() {
    let forms = Forms::new().csrf_protection();
    let forms = forms.origin("https://www.example.com").unwrap();
    let site = Site::new(&forms.origin("https://app.example.com").unwrap()).await;
    let mut visitor = site.visitor();
    let token = visitor.token().await;
    for (fetch_site, origin, passes) in [
        ("same-site", "https://app.example.com", true),
        ("", "https://www.example.com", true),
        ("same-site", "https://other.example.com", false),
        ("same-site", "", false),
        ("", "http://www.example.com", false),
        ("", &*site.url(""), false),
    ] {
        let mut lines = vec![("sec-fetch-site", fetch_site), ("origin", origin)];
        lines.retain(|(_, value)| !value.is_empty());
        let expected = if passes {
            StatusCode::OK
        } else {
            StatusCode::FORBIDDEN
        };
        let answer = put(&mut visitor, &lines, &field(&token)).await;
        assert_eq!(answer.status, expected, "{fetch_site:?} {origin:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_an_event_asks_no_store_and_flashes_nothing() {
    let site = site().await;
    let mut visitor = site.visitor();
    let token = visitor.token().await;
    visitor
        .post("/contact", &[], &format!("title=x&_csrf={token}"))
        .await;
    site.setup.store.calls();
    let lines = [("accept", "application/json")];
    let answer = put(&mut visitor, &lines, "a=1").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.json()["message"].is_string());
    put(&mut visitor, &[("x-csrf-token", "x")], "").await;
    put(&mut visitor, &[("sec-fetch-site", "cross-site")], "").await;
    assert_eq!(site.setup.store.calls(), []);
    let events = site.setup.events.with_name("csrf_refused");
    let reasons: Vec<&str> = events.iter().map(|event| &*event.text).collect();
    assert_eq!(
        reasons,
        [
            "the token is missing",
            "the token is not valid for this session",
            "the request comes from another origin"
        ]
    );
    let flashed = visitor.flashed().await;
    assert_eq!(
        flashed["notification"]["type"], "success",
        "the earlier flash message remains"
    );
    assert_eq!(flashed.as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn with_several_session_cookies_only_a_token_makes_the_check_query_the_store() {
    let site = site().await;
    let mut visitor = site.visitor();
    let mut dead = site.visitor();
    let (_, stale) = dead.token_with_cookie().await;
    dead.get("/destroy").await;
    let (token, _) = visitor.token_with_cookie().await;
    visitor.0.jar.plant("session", &stale);
    site.setup.store.calls();
    for (lines, body) in [
        (&[("sec-fetch-site", "cross-site")][..], &*field(&token)),
        (&[("origin", "https://evil.example")], &field(&token)),
        (
            &[("origin", "https://evil.example"), ("x-csrf-token", &token)],
            "",
        ),
        (&[("content-type", "text/plain")], "a=1"),
        (&[], "a=1"),
        (&[], ""),
    ] {
        let kind = [("content-type", FORM)];
        let kind = if lines.iter().any(|it| it.0 == "content-type") {
            &[][..]
        } else {
            &kind
        };
        let lines = [lines, kind].concat();
        let answer = visitor
            .send(Method::POST, "/put", &lines, body.to_owned())
            .await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{lines:?} {body:?}");
        assert_eq!(site.setup.store.calls(), [], "{lines:?} {body:?}");
    }
    for (name, body) in [("x-csrf-token", ""), ("x-other", &*field(&token))] {
        let answer = put(&mut visitor, &[(name, &token)], body).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}");
        assert_eq!(site.setup.store.calls()[..2], [Call::Read, Call::Read]);
    }
}

#[tokio::test]
async fn a_token_costs_no_store_and_reaches_quiet_visitors_too() {
    let quiet = config().cookie_policy(hyper_session::session::CookiePolicy::WhenUsed);
    let setup = test_server(quiet);
    let mut browser = setup.browser();
    let visit = browser.request(async |s| s.csrf_token().unwrap()).await;
    let (token, cookie) = (visit.value.as_ref().unwrap(), visit.cookie());
    assert!(cookie.starts_with("session="), "{cookie}");
    let good = browser.request(async |s| s.verify_csrf_token(token)).await;
    assert_eq!(good.value, Some(true));
    let good = browser.visit(async |s| s.verify_csrf_token(token)).await;
    assert!(good, "the token is also valid in a loaded session");
    let calls = setup.store.calls();
    assert_eq!(
        calls,
        [crate::support::Call::Read],
        "only the second visit reads the store"
    );
}

#[tokio::test]
async fn the_field_is_ready_for_the_page() {
    let mut browser = test_server(config()).browser();
    let field = browser.visit(async |s| s.csrf_field().unwrap()).await;
    let token = field
        .strip_prefix(r#"<input type="hidden" name="_csrf" value=""#)
        .and_then(|rest| rest.strip_suffix(r#"">"#))
        .unwrap();
    assert!(
        token
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    );
    assert!(browser.visit(async |s| s.verify_csrf_token(token)).await);
}

#[tokio::test]
async fn exempt_requests_are_left_alone() {
    let forms = Forms::new().csrf_protection();
    let forms = forms.exempt(|head| head.uri.path() == "/put");
    let site = Site::new(&forms.exempt(|head| head.headers.contains_key("x-hook"))).await;
    let mut visitor = site.visitor();
    let cross = ("sec-fetch-site", "cross-site");
    assert_eq!(put(&mut visitor, &[cross], "").await.status, StatusCode::OK);
    let answer = visitor.post("/echo", &[("x-hook", "1")], "a=1").await;
    assert_eq!(answer.status, StatusCode::OK);
    let answer = visitor.post("/echo", &[], "a=1").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn without_protection_no_token_is_needed() {
    let site = Site::new(&Forms::new()).await;
    let mut visitor = site.visitor();
    let lines = [("sec-fetch-site", "cross-site")];
    assert_eq!(put(&mut visitor, &lines, "").await.status, StatusCode::OK);
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
async fn a_body_read_for_its_token_keeps_the_limits_of_its_handler() {
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
        (MULTIPART, long_field.clone()),
        (MULTIPART, long_field.replace("--b--", "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"n\"\r\n\r\n\r\n--b--")),
    ] {
        let lines = [("content-type", kind)];
        let answer = visitor.send(Method::POST, "/echo", &lines, body).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{answer:?}");
    }
}

#[tokio::test]
async fn an_unreadable_body_gets_its_own_status() {
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

#[tokio::test]
async fn the_token_of_the_living_session_is_accepted_behind_a_stale_cookie() {
    for (name, value) in [("x-csrf-token", true), ("x-unrelated", false)] {
        let site = site().await;
        let (mut stale, mut visitor) = (site.visitor(), site.visitor());
        for visitor in [&mut stale, &mut visitor] {
            let token = visitor.token().await;
            put(visitor, &[], &field(&token)).await;
        }
        let (stale_token, token) = (stale.token().await, visitor.token().await);
        let cookie = stale.0.jar.get("session").unwrap().to_owned();
        stale.get("/destroy").await;
        visitor.0.jar.plant("session", &cookie);
        let (lines, body) = match value {
            true => ([(name, &*token)], "a=1".to_owned()),
            false => ([(name, "1")], field(&token)),
        };
        let answer = visitor.post("/put", &lines, &body).await;
        assert_eq!(answer.status, StatusCode::OK);
        let answer = visitor.post("/put", &[], &field(&stale_token)).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
}

/// The check of the token renews the session before the handler loads it.
#[tokio::test]
async fn a_renewal_of_a_checked_form_that_a_cacheable_response_omits_is_sent_by_the_next_one() {
    let site = site().await;
    let (mut stale, mut visitor, mut other) = (site.visitor(), site.visitor(), site.visitor());
    for visitor in [&mut stale, &mut visitor] {
        let token = visitor.token().await;
        put(visitor, &[], &field(&token)).await;
    }
    let token = visitor.token().await;
    let own = visitor.0.jar.get("session").unwrap().to_owned();
    other.0.jar.set("session", &own);
    let cookie = stale.0.jar.get("session").unwrap().to_owned();
    stale.get("/destroy").await;
    visitor.0.jar.plant("session", &cookie);
    site.setup.advance(Duration::from_secs(120));
    let answer = visitor.post("/cached", &[], &field(&token)).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers.get("set-cookie"), None);
    assert!(other.get("/").await.headers.contains_key("set-cookie"));
}

/// Sends a form with the cookies of two living sessions, and the token of the first one. `meanwhile`
/// changes the first one after its token was checked, before the handler loads it.
async fn post_of_two_sessions(
    site: &Site,
    path: &str,
    meanwhile: impl AsyncFnOnce(&mut Browser),
) -> (Answer, Browser) {
    let (mut first, mut second) = (site.setup.browser(), site.setup.browser());
    first.visit(async |s| s.flash("shown", 1)).await.unwrap();
    second.visit(async |s| s.put("second", 1)).await.unwrap();
    let token = first.request(async |s| s.csrf_token().unwrap()).await;
    let mut visitor = site.visitor();
    for browser in [&first, &second] {
        let cookie = browser.cookie().unwrap();
        visitor.0.jar.plant("session", cookie);
    }
    let load = site.setup.store.hold_nth(Call::Read, 1);
    let input = field(&token.value.unwrap());
    let (answer, ()) = tokio::join!(visitor.post(path, &[], &input), async {
        load.reached().await;
        meanwhile(&mut first).await;
        load.open();
    });
    assert_eq!(answer.status, StatusCode::OK);
    (answer, second)
}

#[tokio::test]
async fn a_handler_loads_no_other_session_than_the_one_of_the_token() {
    let site = site().await;
    let destroy = async |first: &mut Browser| first.visit(async |s| s.destroy()).await.unwrap();
    let (_, mut second) = post_of_two_sessions(&site, "/put", destroy).await;
    assert_eq!(data(&mut second).await, json!({"second": 1}));
}

#[tokio::test]
async fn messages_that_were_shown_after_the_check_of_a_token_are_not_shown_again() {
    let site = site().await;
    let show = async |first: &mut Browser| {
        let is_shown = first.visit(async |s| s.flash_messages().unwrap().has("shown").unwrap());
        assert!(is_shown.await);
    };
    let (answer, _) = post_of_two_sessions(&site, "/flash", show).await;
    assert_eq!(answer.json(), json!({}));
}
