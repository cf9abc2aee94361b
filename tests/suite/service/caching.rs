//! Cacheable responses: no cookie for an unchanged session, no caching for a changed one.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Empty;
use hyper_session::{Session, SessionConfig, Sessions, session::CookiePolicy, store::CookieStore};

use crate::support::{Browser, Visit, config, test_server};

type Lines = &'static [(&'static str, &'static str)];

const CACHEABLE: &[Lines] = &[
    &[("cache-control", "public")],
    &[("cache-control", "PUBLIC, Max-Age=0")],
    &[("cache-control", "s-maxage=60")],
    &[("cache-control", "S-MaxAge=\"60\", max-age=0")],
    &[("cache-control", "immutable")],
    &[("cache-control", "max-age=1")],
    &[("cache-control", "no-transform,MAX-AGE = \"0060\" ")],
    &[("cache-control", "max-age=99999999999999999999999")],
    &[
        ("cache-control", "no-transform"),
        ("cache-control", "public"),
    ],
    &[("cache-control", "max-age=0, max-age=60")],
    // Only the named fields are private. The rest of the response may be stored.
    &[("cache-control", "public, private=\"x-user\"")],
    &[("cache-control", "public, no-cache=\"set-cookie, no-store\"")],
    // The directives are inside a quoted value.
    &[("cache-control", "public, x=\"no-store, \\\", private\"")],
    &[("cdn-cache-control", "max-age=60")],
    &[("Cloudflare-CDN-Cache-Control", "max-age=60")],
    &[
        ("cache-control", "no-store"),
        ("cdn-cache-control", "max-age=60"),
    ],
    &[
        ("cache-control", "private"),
        ("surrogate-control", "max-age=60"),
    ],
    &[
        ("cdn-cache-control", "no-store"),
        ("x-cdn-cache-control", "public"),
    ],
    &[("expires", "Fri, 31 Dec 9999 23:59:59 GMT")],
    &[
        ("cache-control", "no-transform"),
        ("expires", "Fri, 31 Dec 9999 23:59:59 GMT"),
    ],
    // The response was fresh when it was made.
    &[
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("expires", "Sun, 06 Nov 1994 08:49:38 GMT"),
    ],
];

const NOT_CACHEABLE: &[Lines] = &[
    &[],
    &[("cache-control", "max-age=0, must-revalidate")],
    &[("cache-control", "private, max-age=60")],
    &[("cache-control", "max-age=\"0\"")],
    &[("cache-control", "public, max-age=60, private")],
    &[("cache-control", "public"), ("cache-control", "No-Store")],
    &[("cache-control", "max-age=60, no-cache")],
    &[("cache-control", "x=\"public, max-age=60\"")],
    &[("cache-control", "x-public, publicity")],
    &[("x-surrogate-control", "max-age=60")],
    &[("cdn-cache-control-debug", "max-age=60")],
    &[
        ("cache-control", "private"),
        ("cdn-cache-control", "no-store"),
    ],
    &[("expires", "Sun, 06 Nov 1994 08:49:37 GMT")],
    &[("expires", "0")],
    &[
        ("date", "Fri, 31 Dec 9999 23:59:59 GMT"),
        ("expires", "Fri, 31 Dec 9999 23:59:59 GMT"),
    ],
    // A maximum age replaces `Expires`.
    &[
        ("cache-control", "max-age=0"),
        ("expires", "Fri, 31 Dec 9999 23:59:59 GMT"),
    ],
    &[
        ("cache-control", "private"),
        ("expires", "Fri, 31 Dec 9999 23:59:59 GMT"),
    ],
];

fn response(lines: Lines) -> Response<Empty<Bytes>> {
    let mut response = Response::new(Empty::new());
    for (name, value) in lines {
        let name: HeaderName = name.parse().unwrap();
        let value = HeaderValue::from_static(value);
        response.headers_mut().append(name, value);
    }
    response
}

fn headers(lines: Lines) -> HeaderMap {
    response(lines).headers().clone()
}

/// Returns the headers of a visit without those of the cookie.
fn without_cookie<T>(visit: &Visit<T>) -> HeaderMap {
    let mut headers = visit.headers.clone();
    headers.remove("set-cookie");
    headers.remove("vary");
    headers
}

async fn known_browser(settings: SessionConfig) -> Browser {
    let mut browser = test_server(settings).browser();
    browser
        .visit(async |s| {
            s.put("n", 1).unwrap();
            s.flash("note", "saved").unwrap();
        })
        .await;
    browser
}

#[tokio::test]
async fn a_cacheable_response_gets_no_cookie_of_an_unchanged_session() {
    for lines in CACHEABLE {
        let mut stranger = test_server(config()).browser();
        let visit = stranger.request_with(response(lines), async |_| ()).await;
        assert_eq!(visit.headers, headers(lines), "not used: {lines:?}");

        let mut known = known_browser(config()).await;
        for mut browser in [stranger, known.clone()] {
            let visit = browser
                .request_with(response(lines), async |s| {
                    s.load_read_only().await.unwrap().has("n").unwrap()
                })
                .await;
            assert_eq!(visit.cookies(), [""; 0], "read: {lines:?}");
            assert_eq!(visit.headers["vary"], "cookie");
            assert_eq!(without_cookie(&visit), headers(lines));
        }
        known.visit(async |_| ()).await;
        let visit = known
            .request_with(response(lines), async |s| {
                let id = s.id().unwrap();
                assert!(s.load().await.unwrap().has("n").unwrap());
                assert!(s.id().unwrap() == id);
            })
            .await;
        assert_eq!(visit.cookies(), [""; 0], "the id is known: {lines:?}");
    }
}

#[tokio::test]
async fn other_responses_get_the_cookie_and_keep_their_headers() {
    for lines in NOT_CACHEABLE {
        let mut browser = test_server(config()).browser();
        let visit = browser.request_with(response(lines), async |_| ()).await;
        assert!(visit.cookie().starts_with("session="), "{lines:?}");
        let mut expected = headers(lines);
        if !expected.contains_key("cache-control") {
            expected.insert("cache-control", HeaderValue::from_static("no-store"));
        }
        assert_eq!(without_cookie(&visit), expected);
    }
}

async fn change(session: &Session, change: &str) {
    match change {
        "destroy unloaded" => return session.destroy().unwrap(),
        "token unloaded" => return drop(session.csrf_token().unwrap()),
        _ => {}
    }
    session.load().await.unwrap();
    match change {
        "put" => session.put("m", 1).unwrap(),
        "put and commit" => {
            session.put("m", 1).unwrap();
            session.commit().await.unwrap();
        }
        "flash" => session.flash("note", "sent").unwrap(),
        "consumed flash" => {}
        "regenerate" => session.regenerate().unwrap(),
        "destroy" => session.destroy().unwrap(),
        "token" => drop(session.csrf_field().unwrap()),
        "tag" => session.tag("user 1").unwrap(),
        "id" => drop(session.id().unwrap()),
        "key" => drop(session.store_key().unwrap()),
        _ => unreachable!("{change}"),
    }
}

const CHANGES_OF_KNOWN: [&str; 10] = [
    "put",
    "put and commit",
    "flash",
    "consumed flash",
    "regenerate",
    "destroy",
    "destroy unloaded",
    "token",
    "token unloaded",
    "tag",
];

const CHANGES_OF_NEW: [&str; 8] = [
    "put",
    "put and commit",
    "flash",
    "regenerate",
    "token",
    "tag",
    "id",
    "key",
];

#[tokio::test]
async fn a_changed_session_replaces_the_caching_of_the_response() {
    const LINES: Lines = &[
        ("cache-control", "public"),
        ("cache-control", "max-age=60"),
        ("expires", "Fri, 27 Nov 2099 10:00:00 GMT"),
        ("surrogate-control", "max-age=60"),
        ("cdn-cache-control", "max-age=60"),
        ("x-cdn-cache-control", "max-age=60"),
        ("x-cdn-cache-control", "public"),
        ("etag", "\"1\""),
    ];
    const EXPECTED: Lines = &[("cache-control", "no-store"), ("etag", "\"1\"")];
    for policy in [CookiePolicy::Rolling, CookiePolicy::WhenUsed] {
        let settings = || config().cookie_policy(policy);
        let of_known = CHANGES_OF_KNOWN.map(|name| (true, name));
        let of_new = CHANGES_OF_NEW.map(|name| (false, name));
        for (is_known, name) in of_known.into_iter().chain(of_new) {
            let mut browser = match is_known {
                true => known_browser(settings()).await,
                false => test_server(settings()).browser(),
            };
            let visit = browser
                .request_with(response(LINES), async |s| change(&s, name).await)
                .await;
            assert_eq!(without_cookie(&visit), headers(EXPECTED), "{name}");
            assert_eq!(visit.headers["vary"], "cookie");
            // Without a load, nothing has confirmed the id of the request.
            if policy == CookiePolicy::Rolling && !(is_known && name == "token unloaded") {
                assert!(visit.cookie().starts_with("session="), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn every_kind_of_cacheable_response_is_replaced() {
    for lines in CACHEABLE {
        let visit = test_server(config())
            .browser()
            .request_with(response(lines), async |s| change(&s, "put").await)
            .await;
        let mut left = without_cookie(&visit);
        left.remove("date");
        assert_eq!(left, headers(&[("cache-control", "no-store")]), "{lines:?}");
        assert!(visit.cookie().starts_with("session="));
    }
}

#[tokio::test]
async fn a_304_gets_a_cookie_only_of_a_changed_session() {
    let not_modified = || {
        let mut response = response(&[("etag", "\"1\"")]);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    };
    let mut browser = known_browser(config()).await;
    let visit = browser.request_with(not_modified(), async |_| ()).await;
    assert_eq!(visit.headers, headers(&[("etag", "\"1\"")]));
    let visit = browser
        .request_with(not_modified(), async |s| {
            s.load_read_only().await.map(drop).unwrap();
        })
        .await;
    assert_eq!(visit.headers["vary"], "cookie");
    assert_eq!(without_cookie(&visit), headers(&[("etag", "\"1\"")]));
    let visit = browser
        .request_with(not_modified(), async |s| change(&s, "put").await)
        .await;
    assert!(visit.cookie().starts_with("session="));
    assert_eq!(visit.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn a_renewal_that_a_cacheable_response_omits_is_sent_by_the_next_one() {
    let setup = test_server(config().touch_interval(Duration::from_secs(60)));
    let mut browser = setup.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    let before = browser.cookie().unwrap().to_owned();
    setup.advance(Duration::from_secs(60));
    let cacheable = response(&[("cache-control", "public")]);
    let visit = browser.request_with(cacheable, async |_| ()).await;
    assert_eq!(visit.cookies(), [""; 0]);
    browser.pass().await;
    assert_ne!(browser.cookie(), Some(&*before));
    let n: Option<i32> = browser.visit(async |s| s.get("n")).await.unwrap();
    assert_eq!(n, Some(1));
}

#[tokio::test]
async fn the_cookies_of_a_client_side_store_follow_the_same_rule() {
    let sessions = Sessions::new(config(), CookieStore::new()).unwrap();
    let mut browser = Browser::new(&sessions);
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    let read = browser
        .request_with(response(&[("cache-control", "public")]), async |s| {
            s.load().await.unwrap().has("n").unwrap()
        })
        .await;
    assert_eq!(read.value, Some(true));
    assert_eq!(read.cookies(), [""; 0]);
    let written = browser
        .request_with(response(&[("cache-control", "public")]), async |s| {
            change(&s, "put").await;
        })
        .await;
    assert_eq!(written.cookies().len(), 2);
    assert_eq!(written.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn a_disabled_session_changes_no_header() {
    let mut browser = test_server(config().enabled(false)).browser();
    let lines: Lines = &[("cache-control", "public")];
    let visit = browser
        .request_with(response(lines), async |s| change(&s, "token").await)
        .await;
    assert_eq!(visit.headers, headers(lines));
}
