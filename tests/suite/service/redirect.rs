//! Redirects: to the intended URL once, back to the previous page, and never to another origin.

use bytes::Bytes;
use http::{
    Method, Request, Response,
    header::{HOST, LOCATION, REFERER},
};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_session::{Session, SessionError, service::Redirect};
use proptest::prelude::*;
use url::Url;

use crate::support::{
    Browser, config,
    net::{Answer, Remote, serve},
    object, test_server,
};

/// URLs that a browser reads as another origin, and texts that are no path.
const ATTACKS: [&str; 26] = [
    "",
    " ",
    "relative",
    "?query",
    "#fragment",
    "https://evil.example/",
    "HTTPS:evil.example",
    "https:/evil.example",
    "javascript:alert(1)",
    "data:text/html,x",
    "//evil.example",
    "///evil.example",
    "////evil.example",
    "//evil.example\\@own.example",
    "//own.example@evil.example",
    "/\\evil.example",
    "/\\/evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    " //evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "\t//evil.example",
    "/a\r\nSet-Cookie: x=1",
    "/\u{0}/evil.example",
    "/a\\..\\\\evil.example",
];

/// Encoded separators do not lead to another origin, because browsers do not decode them.
const ENCODED: [&str; 8] = [
    "/%2Fevil.example",
    "/%2F%2Fevil.example",
    "/%5Cevil.example",
    "/%09/evil.example",
    "/%0D%0ASet-Cookie:%20x=1",
    "/.//evil.example",
    "/..//evil.example",
    "/%2e%2e//evil.example",
];

fn own() -> Url {
    Url::parse("https://own.example/dir/page?x=y").unwrap()
}

/// Returns the URL that a browser requests after the redirect.
fn target(redirect: Redirect) -> Url {
    let response: Response<()> = redirect.into_response();
    assert_eq!(response.status(), 303);
    let location = response.headers()[LOCATION].to_str().unwrap();
    own().join(location).unwrap()
}

#[test]
fn a_target_on_another_origin_is_replaced_by_the_home_page() {
    for attack in ATTACKS {
        assert_eq!(Redirect::to(attack).path(), "/", "{attack:?}");
    }
    for path in ENCODED {
        assert_eq!(Redirect::to(path).path(), path);
        assert_eq!(
            target(Redirect::to(path)).origin(),
            own().origin(),
            "{path}"
        );
    }
}

#[test]
fn the_location_is_escaped() {
    let response: Response<()> = Redirect::to("/é \"<>?ü=|%41#\u{1F600}").into_response();
    assert_eq!(
        response.headers()[LOCATION],
        "/%C3%A9%20%22%3C%3E?%C3%BC=|%41#%F0%9F%98%80"
    );
}

/// Returns texts of pieces that are special in URLs.
fn hostile_url() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "/",
        "\\",
        "//",
        "\\\\",
        "%2F",
        "%2f",
        "%5C",
        "%09",
        "%00",
        "\t",
        "\n",
        "\r",
        "\u{0}",
        " ",
        "\u{a0}",
        "\u{3000}",
        "\u{ff0f}",
        "@",
        ":",
        "?",
        "#",
        ".",
        "..",
        "%2e",
        ";",
        "&",
        "é",
        "a",
        "http:",
        "javascript:",
        "evil.example",
        "[",
        "]",
        "|",
    ]);
    prop::collection::vec(pieces, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_redirects_to_another_origin(text in hostile_url(), other in "\\PC{0,12}") {
        for path in [text.clone(), format!("/{text}"), format!("/{text}{other}"), other] {
            prop_assert_eq!(target(Redirect::to(path.as_str())).origin(), own().origin(), "{:?}", path);
        }
    }
}

/// Returns a request with these header lines.
fn request(method: Method, url: &str, lines: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

async fn remember(browser: &mut Browser, request: &Request<()>) -> Option<String> {
    let redirect = browser
        .visit(async |s| {
            Redirect::to("/sign-in")
                .with_intended_url(s, request)
                .unwrap()
        })
        .await;
    assert_eq!(redirect.path(), "/sign-in");
    browser.visit(async |s| s.intended_url()).await.unwrap()
}

#[tokio::test]
async fn only_pages_are_remembered() {
    let mut browser = test_server(config()).browser();
    let long = format!("/{}", "a".repeat(2048));
    let others = [
        request(Method::POST, "/other", &[]),
        request(Method::HEAD, "/other", &[]),
        request(Method::GET, "/other", &[("accept", "application/json")]),
        request(
            Method::GET,
            "/other",
            &[("x-requested-with", "XMLHttpRequest")],
        ),
        request(Method::GET, "/other", &[("sec-fetch-dest", "empty")]),
        request(Method::GET, "/other", &[("sec-fetch-dest", "image")]),
        request(Method::GET, "/other", &[("sec-fetch-dest", "iframe")]),
        request(
            Method::GET,
            "/other",
            &[("sec-purpose", "prefetch;prerender")],
        ),
        request(Method::GET, "/other", &[("purpose", "prefetch")]),
        request(Method::GET, &long, &[]),
        request(Method::GET, "//evil.example/", &[]),
        request(Method::GET, "/\\evil.example/", &[]),
        request(Method::GET, "https://evil.example//evil.example/", &[]),
    ];
    for request in &others {
        assert_eq!(remember(&mut browser, request).await, None, "{request:?}");
    }
    let html = ("accept", "text/html,*/*;q=0.8");
    let document = ("sec-fetch-dest", "document");
    for (url, stored) in [
        ("/a?tab=2", "/a?tab=2"),
        ("/a//b?next=//x", "/a//b?next=//x"),
        // HTTP/2 and proxies send absolute URLs. Only the path is stored.
        ("https://other.example/b", "/b"),
        ("https://other.example", "/"),
        (&long[1..], "/"),
    ] {
        let url = if url.starts_with('a') { "/" } else { url };
        let page = request(Method::GET, url, &[html, document]);
        assert_eq!(remember(&mut browser, &page).await.as_deref(), Some(stored));
    }
    let page = request(Method::GET, "/kept", &[]);
    remember(&mut browser, &page).await;
    for request in &others {
        let left = remember(&mut browser, request).await;
        assert_eq!(left.as_deref(), Some("/kept"), "{request:?}");
    }
}

#[tokio::test]
async fn the_intended_url_is_used_once_and_is_never_of_another_origin() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| s.set_intended_url("/account?tab=2"))
        .await
        .unwrap();
    for expected in ["/account?tab=2", "/home", "/home"] {
        let redirect = browser
            .visit(async |s| Redirect::to_intended(s, "/home"))
            .await
            .unwrap();
        assert_eq!(redirect.path(), expected);
    }
    for attack in ATTACKS {
        browser
            .visit(async |s| {
                s.put("redirect.intendedUrl", attack).unwrap();
                let redirect = Redirect::to_intended(s, "/home").unwrap();
                assert_eq!(redirect.path(), "/home", "{attack:?}");
                let redirect = Redirect::to_intended(s, attack).unwrap();
                assert_eq!(redirect.path(), "/", "{attack:?}");
                assert_eq!(object(s), serde_json::json!({"redirect": {}}));
            })
            .await;
    }
}

#[tokio::test]
async fn a_redirect_needs_a_loaded_session() {
    let mut browser = test_server(config()).browser();
    browser
        .request(async |s| {
            let page = request(Method::GET, "/a", &[]);
            let results = [
                Redirect::to_intended(&s, "/"),
                Redirect::to("/").with_intended_url(&s, &page),
                Redirect::back(&s, &page, "/"),
            ];
            for result in results {
                assert!(matches!(result, Err(SessionError::NotLoaded)), "{result:?}");
            }
        })
        .await;
}

#[tokio::test]
async fn back_leads_to_the_referer_then_to_the_previous_page_then_to_the_fallback() {
    let mut browser = test_server(config()).browser();
    let back = |url: &str, referer: &str| {
        let lines = [(HOST.as_str(), "own.example"), (REFERER.as_str(), referer)];
        request(Method::GET, url, &lines)
    };
    let own = back("/save", "https://own.example/form?draft=1#top");
    let itself = back("/save?x", "https://own.example/save?x");
    let foreign = [
        "",
        "https://evil.example/form",
        "https://own.example@evil.example/form",
        "https://own.example.evil.example/form",
        "https://own.example//evil.example/",
        "https://own.example/\\evil.example",
        "//own.example/form",
        "/form",
    ]
    .map(|referer| back("/save", referer));
    browser
        .visit(async |s| {
            let path = |request: &Request<()>| {
                let redirect = Redirect::back(s, request, "/fallback").unwrap();
                redirect.path().to_owned()
            };
            assert_eq!(path(&own), "/form?draft=1");
            for request in foreign.iter().chain([&itself]) {
                assert_eq!(path(request), "/fallback", "{request:?}");
            }
            s.set_previous_url("/page?tab=3").unwrap();
            for request in foreign.iter().chain([&itself]) {
                assert_eq!(path(request), "/page?tab=3", "{request:?}");
            }
            s.set_previous_url("/save?x").unwrap();
            assert_eq!(path(&itself), "/fallback", "a redirect must not loop");
            s.put("redirect.previousUrl", "//evil.example").unwrap();
            assert_eq!(path(&itself), "/fallback");
        })
        .await;
}

async fn pages(
    request: Request<Incoming>,
    session: Session,
) -> Result<Response<Full<Bytes>>, SessionError> {
    session.load().await?;
    let is_signed_in = session.has("user")?;
    match (request.method(), request.uri().path()) {
        (&Method::POST, "/sign-in") => {
            session.regenerate()?;
            session.put("user", 7)?;
            Ok(Redirect::to_intended(&session, "/home")?.into_response())
        }
        _ if is_signed_in => Ok(Response::new("a page".into())),
        _ => {
            let redirect = Redirect::to("/sign-in").with_intended_url(&session, &request)?;
            Ok(redirect.into_response())
        }
    }
}

fn location(answer: &Answer) -> &str {
    assert_eq!(answer.status, 303, "{answer:?}");
    answer.headers[LOCATION].to_str().unwrap()
}

#[tokio::test]
async fn a_sign_in_over_the_network_returns_to_the_page_that_required_it() {
    let server = serve(test_server(config()).sessions.wrap_fn(pages)).await;
    for mut client in [Remote::http1(server.address), Remote::http2(server.address)] {
        assert_eq!(location(&client.get("/account?tab=2").await), "/sign-in");
        let token_call = client.post("/cart", "").await;
        assert_eq!(location(&token_call), "/sign-in");
        assert_eq!(
            location(&client.post("/sign-in", "").await),
            "/account?tab=2"
        );
        assert_eq!(client.get("/account?tab=2").await.text(), "a page");
        assert_eq!(location(&client.post("/sign-in", "").await), "/home");
    }
}
