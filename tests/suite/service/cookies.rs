//! The session's cookie: policies, headers, keys and forgeries.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header::COOKIE, header::SET_COOKIE};
use http_body_util::Empty;
use hyper_session::{
    SessionConfig, Sessions,
    cookie::{Attributes, Priority, SameSite},
    session::CookiePolicy,
    store::{CookieStore, MemoryStore},
};
use std::time::Duration;

use crate::support::{Browser, Call, config, test_server};

fn when_used() -> SessionConfig {
    config().cookie_policy(CookiePolicy::WhenUsed)
}

#[tokio::test]
async fn the_quiet_policy_says_nothing_where_the_session_was_left_alone() {
    let setup = test_server(when_used());
    let mut browser = setup.browser();
    assert!(browser.pass().await.has_no_headers(), "a new visitor");
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    setup.store.calls();
    assert!(browser.pass().await.has_no_headers(), "a known one");
    assert_eq!(setup.store.calls(), []);
}

#[tokio::test]
async fn the_quiet_policy_sets_a_cookie_when_something_is_stored_moved_or_ended() {
    let mut browser = test_server(when_used()).browser();
    let read = browser
        .request(async |s| s.load().await.unwrap().has("n").unwrap())
        .await;
    assert_eq!(read.cookies(), [""; 0], "nothing is stored for it");
    assert_eq!(read.headers["vary"], "cookie");
    let stored = browser
        .request(async |s| s.load().await.unwrap().put("n", 1).unwrap())
        .await;
    assert!(stored.cookie().contains("Max-Age=7200"));
    let written = browser
        .request(async |s| s.load().await.unwrap().put("n", 2).unwrap())
        .await;
    assert_eq!(written.cookies(), [""; 0], "the browser knows this id");
    let moved = browser
        .request(async |s| s.load().await.unwrap().regenerate().unwrap())
        .await;
    assert!(moved.cookie().contains("Max-Age=7200"));
    let ended = browser.request(async |s| s.destroy().unwrap()).await;
    assert!(ended.cookie().contains("Max-Age=0"));
}

/// A key in a log is no use of the session.
#[tokio::test]
async fn the_quiet_policy_sends_the_cookie_of_a_new_id_that_the_handler_got() {
    let setup = test_server(when_used());
    let mut browser = setup.browser();
    let logged = browser.request(async |s| s.store_key().unwrap()).await;
    assert_eq!(logged.cookies(), [""; 0]);
    let first = browser.request(async |s| s.id().unwrap()).await;
    assert!(first.cookie().contains("Max-Age=7200"));
    let second = browser.request(async |s| s.id().unwrap()).await;
    assert_eq!(second.cookies(), [""; 0]);
    assert!(first.value == second.value);
}

/// The cookie of another response may be newer.
#[tokio::test]
async fn an_id_that_the_handler_got_after_the_end_of_its_session_sends_no_cookie() {
    let setup = test_server(when_used());
    let mut browser = setup.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    let (mut late, mut other) = (browser.clone(), browser.clone());
    other.visit(async |s| s.regenerate()).await.unwrap();
    let late = late.request(async |s| drop(s.load().await.unwrap().id().unwrap()));
    assert_eq!(late.await.cookies(), [""; 0]);
    let ended = other.request(async |s| {
        s.destroy().unwrap();
        drop(s.id().unwrap());
    });
    assert!(ended.await.cookie().contains("Max-Age=0"));
}

#[tokio::test]
async fn the_quiet_policy_renews_when_it_is_due() {
    for opens in [false, true] {
        let setup = test_server(when_used().touch_interval(Duration::from_secs(60)));
        let mut browser = setup.browser();
        browser.visit(async |s| s.put("n", 1)).await.unwrap();
        setup.advance(Duration::from_secs(60));
        let visit = browser
            .request(async |s| {
                if opens {
                    s.load().await.map(drop).unwrap()
                }
            })
            .await;
        assert!(visit.cookie().contains("Max-Age=7200"), "opens: {opens}");
        assert!(browser.pass().await.has_no_headers(), "opens: {opens}");
    }
}

#[tokio::test]
async fn the_rolling_policy_echoes_the_cookie_until_its_renewal_is_due() {
    let setup = test_server(config());
    let mut browser = setup.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    let before = browser.cookie().unwrap().to_owned();
    browser.pass().await;
    assert_eq!(browser.cookie(), Some(&*before), "no new seal");
    setup.advance(Duration::from_secs(61));
    browser.pass().await;
    assert_ne!(
        browser.cookie(),
        Some(&*before),
        "the new seal records the touch"
    );
}

#[tokio::test]
async fn a_response_that_may_depend_on_the_session_varies_by_cookie() {
    let mut browser = test_server(when_used()).browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    let accesses: [fn(&hyper_session::Session); 4] = [
        |s| assert!(s.id().is_ok()),
        |s| assert!(s.store_key().is_ok()),
        |s| assert!(!s.is_fresh()),
        |s| assert!(s.destroy().is_ok()),
    ];
    for access in accesses {
        let visit = browser.request(async |s| access(&s)).await;
        assert_eq!(visit.headers["vary"], "cookie");
    }
    let opened = browser
        .request(async |s| s.load_read_only().await.map(drop).unwrap())
        .await;
    assert_eq!(opened.headers["vary"], "cookie");
}

#[tokio::test]
async fn the_cache_control_and_vary_of_the_handler_stay() {
    let mut response = Response::new(Empty::new());
    let headers = response.headers_mut();
    headers.insert("cache-control", HeaderValue::from_static("private"));
    headers.insert("vary", HeaderValue::from_static("accept, Cookie"));
    let clear = HeaderValue::from_static("\"cookies\", \"storage\"");
    headers.insert("clear-site-data", clear.clone());
    let visit = test_server(config())
        .browser()
        .request_with(response, async |_| ())
        .await;
    assert_eq!(visit.headers["cache-control"], "private");
    assert_eq!(visit.headers["clear-site-data"], clear);
    assert_eq!(visit.headers.get_all("vary").iter().count(), 1);

    let mut response = Response::new(Empty::new());
    response
        .headers_mut()
        .insert("vary", HeaderValue::from_static("accept"));
    let visit = test_server(config())
        .browser()
        .request_with(response, async |_| ())
        .await;
    let vary: Vec<_> = visit.headers.get_all("vary").iter().collect();
    assert_eq!(vary, ["accept", "cookie"]);
    assert_eq!(visit.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn other_cookies_survive_and_one_of_our_name_is_replaced() {
    let mut response: Response<Empty<Bytes>> = Response::new(Empty::new());
    for line in [
        "a=1; Path=/",
        "session=planted",
        "sessions=2",
        " session =x",
        "b=2",
    ] {
        let line = HeaderValue::from_static(line);
        response.headers_mut().append(SET_COOKIE, line);
    }
    let visit = test_server(config())
        .browser()
        .request_with(response, async |_| ())
        .await;
    let cookies = visit.cookies();
    assert_eq!(cookies[..3], ["a=1; Path=/", "sessions=2", "b=2"]);
    assert_eq!(cookies.len(), 4);
    assert!(cookies[3].starts_with("session=") && cookies[3].contains("Max-Age"));
}

#[tokio::test]
async fn attributes_are_as_configured_in_setting_and_in_removal() {
    let attributes = Attributes::default()
        .path("/app")
        .domain("example.org")
        .secure(true)
        .http_only(false)
        .same_site(SameSite::None)
        .partitioned(true)
        .priority(Priority::Low);
    let settings = config().cookie(attributes).cookie_name("sid");
    let mut browser = test_server(settings).browser();
    let tail = "Domain=example.org; Path=/app; Secure; SameSite=None; Partitioned; Priority=Low";
    let set = browser.pass().await;
    assert!(set.cookie().starts_with("sid=") && set.cookie().ends_with(tail));
    let removed = browser.request(async |s| s.destroy().unwrap()).await;
    assert!(removed.cookie().starts_with("sid=; Max-Age=0; Expires="));
    assert!(removed.cookie().ends_with(tail));
}

#[tokio::test]
async fn a_former_scope_is_cleared_when_the_cookie_is_set_or_removed() {
    let settings: SessionConfig = toml::from_str(
        r#"
        cookie_policy = "when_used"
        [cookie]
        domain = "example.org"
        former_scopes = [{ path = "/app" }, { domain = "www.example.org" }]
        "#,
    )
    .unwrap();
    let mut browser = test_server(settings.app_key(crate::support::KEY)).browser();
    assert_eq!(browser.pass().await.cookies(), [""; 0]);
    let tails = [
        "; Path=/app; Secure; HttpOnly; SameSite=Lax",
        "; Domain=www.example.org; Path=/; Secure; HttpOnly; SameSite=Lax",
    ];
    let put = async |s: hyper_session::Session| {
        s.load().await.unwrap().put("n", 1).unwrap();
    };
    let set = browser.request(put).await;
    // The jar knows no scopes, so the removals have removed this cookie too.
    let value = set.cookies()[0]
        .split(['=', ';'])
        .nth(1)
        .unwrap()
        .to_owned();
    browser.jar.set("session", &value);
    let removed = browser.request(async |s| s.destroy().unwrap()).await;
    for visit in [set, removed] {
        let [first, former @ ..] = &visit.cookies()[..] else {
            panic!("no cookie");
        };
        assert!(first.contains("; Domain=example.org; Path=/;"), "{first}");
        assert_eq!(former.len(), tails.len());
        for (line, tail) in former.iter().zip(tails) {
            assert!(line.starts_with("session=; Max-Age=0;"), "{line}");
            assert!(line.ends_with(tail), "{line}");
        }
    }
}

#[tokio::test]
async fn a_host_cookie_has_what_its_prefix_asks_for() {
    let settings = config().secure(true).host_cookie();
    let visit = test_server(settings).browser().pass().await;
    let cookie = visit.cookie();
    assert!(cookie.starts_with("__Host-session="));
    assert!(cookie.contains("; Path=/") && cookie.contains("; Secure"));
    assert!(!cookie.contains("Domain"));
}

#[tokio::test]
async fn a_new_key_keeps_sessions_and_reseals_their_cookies() {
    let (old, new) = (
        crate::support::KEY,
        "the second secret of thirty-two characters",
    );
    let before = test_server(config());
    let mut browser = before.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    let sealed = browser.cookie().unwrap().to_owned();
    let shared = |settings: SessionConfig| {
        hyper_session::Sessions::builder(settings.store("shared"))
            .stores(
                hyper_session::config::StoreRegistry::new()
                    .register("shared", before.store.clone()),
            )
            .clock(before.clock.clone())
            .build()
            .unwrap()
    };
    let mut after = Browser::new(&shared(config().app_key(new).previous_key(old)));
    after.jar = browser.jar.clone();
    after.visit(async |_| ()).await;
    assert_ne!(after.cookie(), Some(&*sealed), "sealed with the new key");
    let n: Option<i32> = after.visit(async |s| s.get("n")).await.unwrap();
    assert_eq!(n, Some(1));
    let mut last = Browser::new(&shared(config().app_key(new)));
    last.jar = after.jar.clone();
    let n: Option<i32> = last.visit(async |s| s.get("n")).await.unwrap();
    assert_eq!(n, Some(1), "the old key is no longer needed");
    last.jar = browser.jar.clone();
    assert!(
        last.visit(async |s| s.is_fresh()).await,
        "a cookie sealed with the removed key is rejected"
    );
}

#[tokio::test]
async fn a_cookie_changed_in_any_one_character_is_no_cookie_of_ours() {
    let setup = test_server(config());
    let mut browser = setup.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    let sealed = browser.cookie().unwrap().to_owned();
    // The first six characters are an optional hint; all others are authenticated.
    for at in 6..sealed.len() {
        let mut forged = sealed.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        browser
            .jar
            .set("session", std::str::from_utf8(&forged).unwrap());
        setup.events.clear();
        let (fresh, empty) = browser
            .visit(async |s| (s.is_fresh(), s.is_empty().unwrap()))
            .await;
        assert!(fresh && empty, "character {at}");
        assert_eq!(
            setup.events.with_name("cookie_rejected").len(),
            1,
            "character {at}"
        );
    }
}

#[tokio::test]
async fn a_changed_claim_of_renewal_gains_nothing() {
    let setup = test_server(when_used());
    let mut browser = setup.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    let sealed = browser.cookie().unwrap().to_owned();
    setup.store.calls();
    // A forged time of the last touch. The session still expires in the store.
    setup.advance(Duration::from_secs(3 * 3_600));
    let mut liar = browser.clone();
    liar.jar.set("session", &format!("__z_fw{}", &sealed[6..]));
    assert!(liar.visit(async |s| s.is_empty()).await.unwrap());
}

#[tokio::test]
async fn an_id_that_was_not_issued_here_is_never_adopted() {
    let (own, foreign) = (
        test_server(config()),
        test_server(config().app_key("x".repeat(16) + &"y".repeat(20))),
    );
    let mut attacker = foreign.browser();
    let planted = attacker.visit(async |s| s.id()).await.unwrap();
    let mut victim = own.browser();
    for cookie in [
        attacker.cookie().unwrap(),
        &planted.to_string(),
        "1",
        "",
        "../../etc",
    ] {
        victim.jar.set("session", cookie);
        let id = victim.visit(async |s| s.id()).await.unwrap();
        assert!(id != planted);
        assert_eq!(id.to_string().len(), 22);
    }
    assert_eq!(own.store.keys(), [], "the store is not queried");
}

#[tokio::test]
async fn a_cookie_of_another_name_or_purpose_does_not_open() {
    let (one, other) = (
        test_server(config()),
        test_server(config().cookie_name("other")),
    );
    let mut browser = other.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    let mut swapped = one.browser();
    swapped
        .jar
        .set("session", browser.jar.get("other").unwrap());
    assert!(swapped.visit(async |s| s.is_fresh()).await);
}

/// Returns the value of `n` in the session of a request with these `Cookie` lines.
async fn n_of(setup: &crate::support::TestServer, lines: &[String]) -> Option<i32> {
    use hyper::service::Service;
    use std::{
        convert::Infallible,
        sync::{Arc, Mutex},
    };
    let result = Arc::new(Mutex::new(None));
    let output = result.clone();
    let service = setup
        .sessions
        .wrap_fn(move |_: Request<()>, s: hyper_session::Session| {
            let output = output.clone();
            async move {
                *output.lock().unwrap() = s.load().await.unwrap().get("n").unwrap();
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
    let mut request = Request::new(());
    let headers: &mut HeaderMap = request.headers_mut();
    for line in lines {
        headers.append(COOKIE, line.parse().unwrap());
    }
    service.call(request).await.unwrap();
    let result = result.lock().unwrap();
    *result
}

#[tokio::test]
async fn of_several_cookies_of_our_name_the_first_that_authenticates_counts() {
    let setup = test_server(config());
    let mut browser = setup.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    let own = format!("session={}", browser.cookie().unwrap());
    let lines = |lines: &[&str]| {
        lines
            .iter()
            .map(|line| (*line).to_owned())
            .collect::<Vec<_>>()
    };
    for good in [
        lines(&["session=forged", &own]),
        lines(&["a=b", &own, "session=forged"]),
        lines(&[&format!("session=x; session=; {own}; session=y")]),
        lines(&["theme=dark", &format!("x=y;{own}")]),
        lines(&[&format!("session=\"{}\"", browser.cookie().unwrap())]),
    ] {
        assert_eq!(n_of(&setup, &good).await, Some(1), "{good:?}");
    }
    for bad in [
        lines(&[&own.replace("session=", "Session=")]),
        lines(&[&own.replace("session=", "xsession=")]),
        lines(&[&own.replace("session=", "session%3D")]),
        lines(&[&format!("a=\"; {own}").replace("; ", ", ")]),
    ] {
        assert_eq!(n_of(&setup, &bad).await, None, "{bad:?}");
    }
}

#[tokio::test]
async fn a_request_can_make_us_try_only_so_many_cookies() {
    let setup = test_server(config());
    let mut browser = setup.browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    let own = format!("session={}", browser.cookie().unwrap());
    let most = hyper_session::cookie::MAX_CANDIDATES;
    let mut lines = vec!["session=forged".to_owned(); most - 1];
    lines.push(own);
    assert_eq!(n_of(&setup, &lines).await, Some(1), "within the limit");
    lines.insert(0, "session=forged".to_owned());
    assert_eq!(n_of(&setup, &lines).await, None, "over all lines together");
}

#[tokio::test]
async fn the_secret_id_is_nowhere_but_in_the_cookie() {
    let setup = test_server(config());
    let mut browser = setup.browser();
    let mut shown = String::new();
    let id = browser
        .visit(async |s| {
            s.put("n", 1).unwrap();
            shown = format!("{s:?} {:?}", s.id().unwrap());
            s.id().unwrap()
        })
        .await;
    browser.visit(async |s| s.regenerate()).await.unwrap();
    browser.visit(async |s| s.destroy()).await.unwrap();
    let events = setup.events.all();
    let all = format!(
        "{shown} {events:?} {:?} {:?}",
        setup.sessions,
        setup.store.keys()
    );
    let hex: String = id
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for secret in [id.to_string(), hex, format!("{:?}", id.as_bytes())] {
        assert!(!all.contains(&secret), "{all}");
    }
    assert!(
        setup
            .store
            .keys()
            .iter()
            .all(|key| key.as_bytes()[..16] != *id.as_bytes())
    );
    assert!(setup.store.calls().contains(&Call::Destroy));
}

#[tokio::test]
async fn the_cookies_of_a_session_are_sensitive_headers() {
    let at_server = Sessions::new(config(), MemoryStore::new()).unwrap();
    let in_cookies = Sessions::new(config(), CookieStore::new()).unwrap();
    for (sessions, cookies) in [(at_server, 1), (in_cookies, 2)] {
        let mut browser = Browser::new(&sessions);
        for round in 0..3 {
            let visit = browser
                .request(async |s| {
                    s.load().await.unwrap().put("n", round).unwrap();
                    if round == 2 {
                        s.destroy().unwrap();
                    }
                })
                .await;
            let set: Vec<_> = visit.headers.get_all(SET_COOKIE).iter().collect();
            assert_eq!(set.len(), cookies, "{round}");
            assert!(set.iter().all(|line| line.is_sensitive()), "{round}");
            assert!(!format!("{:?}", visit.headers).contains("session="));
        }
    }
}
