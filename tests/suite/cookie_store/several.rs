//! Several data cookies of one name in a request: of former scopes, of neighbours, and of other sessions.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    service::{Service, service_fn},
};
use hyper_session::{
    Session, Sessions,
    clock::{Clock, Timestamp},
    cookie::{Attributes, CookieScope},
    store::{CookieStore, Expected, Store, WriteRequest},
    testing::{TestClient, TestResponse},
};
use serde_json::json;

use crate::support::{
    bound::{AGE, attach, bind, key, open, pairs, rejection, seal},
    config, cookie_server,
    cookie_server::{cookie_server_with, text},
    object,
};

const SECOND: Duration = Duration::from_secs(1);

type Page = Result<Response<Full<Bytes>>, Box<dyn std::error::Error + Send + Sync>>;

/// Adds one to `n` for `/add`, and stores long text for `/long`. Responds with `n`.
async fn page(request: Request<Incoming>, session: Session) -> Page {
    session.load().await?;
    match request.uri().path() {
        "/add" => drop(session.increment("n")?),
        "/long" => session.put("long", text(6000))?,
        "/short" => drop(session.forget("long")?),
        "/out" => session.destroy()?,
        _ => {}
    }
    let n: i64 = session.get("n")?.unwrap_or_default();
    Ok(Response::new(Full::from(n.to_string())))
}

/// Returns the lines that set or remove a data cookie.
fn data_lines(response: &TestResponse) -> Vec<&str> {
    let lines = response.headers().get_all("set-cookie").iter();
    lines
        .map(|line| line.to_str().unwrap())
        .filter(|line| line.starts_with("session-data"))
        .collect()
}

#[tokio::test]
async fn after_a_change_of_the_domain_no_write_is_lost_and_the_former_cookies_are_removed() {
    let store = CookieStore::new().max_chunks(3);
    let wide = Attributes::default()
        .domain("example.org")
        .former_scope(CookieScope::default());
    let before = Sessions::new(config().secure(true), store.clone()).unwrap();
    let after = Sessions::new(config().cookie(wide), store).unwrap();
    let is_deployed = Arc::new(AtomicBool::new(false));
    let services = [before.wrap_fn(page), after.wrap_fn(page)];
    let switch = is_deployed.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        services[usize::from(switch.load(Relaxed))].call(request)
    });
    let client = TestClient::new(&after, service).with_origin("https://shop.example.org");
    let get = async |path| client.get(path).send().await;

    get("/add").await;
    get("/long").await;
    is_deployed.store(true, Relaxed);
    assert!(data_lines(&get("/").await).is_empty(), "nothing is written");
    let moved = get("/add").await;
    // Three cookies for the new domain, each with a removal of the former one.
    let (removed, set): (Vec<&str>, Vec<&str>) = data_lines(&moved)
        .into_iter()
        .partition(|line| line.contains("; Max-Age=0;"));
    assert_eq!((removed.len(), set.len()), (3, 3));
    assert!(
        set.iter()
            .all(|line| line.contains("; Domain=example.org;"))
    );
    assert!(!removed.iter().any(|line| line.contains("Domain")));
    for n in ["2", "2"] {
        assert_eq!(get("/").await.text(), n);
    }
    assert_eq!(get("/add").await.text(), "3");
    assert_eq!(get("/short").await.text(), "3");
    assert_eq!(get("/").await.text(), "3");
    get("/out").await;
    for name in [
        "session",
        "session-data",
        "session-data.1",
        "session-data.2",
    ] {
        assert_eq!(client.cookie(name), None, "{name}");
    }
    assert_eq!(get("/").await.text(), "0");
}

#[tokio::test]
async fn a_response_removes_a_former_data_cookie_only_if_one_may_have_been_sent() {
    let attributes = Attributes::default().former_scope(CookieScope::new(None, "/app"));
    let server = cookie_server_with(config().cookie(attributes), |store, _| store);
    let mut browser = server.browser();
    let put = async |session: Session| session.load().await.unwrap().put("n", 1).unwrap();
    let data_lines = |lines: Vec<&str>| -> Vec<String> {
        let data = lines.into_iter().map(str::to_owned);
        data.filter(|line| line.starts_with("session-data="))
            .collect()
    };
    let first = browser.request(put).await;
    let first = data_lines(first.cookies());
    assert_eq!(first.len(), 1, "no data cookie was sent: {first:?}");
    let value = first[0].split(['=', ';']).nth(1).unwrap();
    browser.jar.set("session-data", value);
    let second = data_lines(browser.request(put).await.cookies());
    let [set, removal] = &second[..] else {
        panic!("a new cookie and a removal: {second:?}");
    };
    assert!(set.contains("; Path=/;") && !set.contains("Max-Age=0"));
    assert!(removal.starts_with("session-data=; Max-Age=0;") && removal.contains("; Path=/app;"));
}

#[tokio::test]
async fn the_last_data_of_a_session_is_read_whatever_the_order_of_its_cookies() {
    let server = cookie_server();
    let mut browser = server.browser();
    browser.visit(async |s| s.put("n", 1).unwrap()).await;
    let stale = browser.jar.get("session-data").unwrap().to_owned();
    let mut behind = browser.clone();
    browser.jar.plant("session-data", &stale);
    for n in 2..=4 {
        browser.visit(async |s| s.put("n", n).unwrap()).await;
        let read = browser.visit(async |s| object(s)).await;
        assert_eq!(read, json!({ "n": n }));
    }
    // The same with the newest cookie in front.
    let newest = browser.jar.get("session-data").unwrap();
    behind.jar.plant("session-data", newest);
    assert_eq!(behind.visit(async |s| object(s)).await, json!({"n": 4}));
    assert!(server.rejections().is_empty());
}

#[tokio::test]
async fn a_renewal_wins_over_the_same_data_from_before_it() {
    let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
    let (bound, key) = (bind(&CookieStore::new().clock(clock.clone())), key());
    let old = seal(&*bound, &key, "{\"n\":1}").await.remove(0);
    clock.advance(AGE / 2);
    let renewing = attach(&*bound, &old);
    assert!(renewing.touch(&key, AGE).await.unwrap());
    let renewed = pairs(&*renewing).remove(0);
    clock.advance(AGE - SECOND);
    for cookies in [format!("{old}; {renewed}"), format!("{renewed}; {old}")] {
        let data = open(&*bound, &key, &cookies).await;
        assert_eq!(data.as_deref(), Ok("{\"n\":1}"));
    }
}

/// Otherwise the end of a session would bring its earlier data back.
#[tokio::test]
async fn data_that_was_replaced_does_not_come_back_when_its_successor_expires() {
    let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
    let (bound, key) = (bind(&CookieStore::new().clock(clock.clone())), key());
    let long = seal(&*bound, &key, "{\"n\":1}").await.remove(0);
    let attached = attach(&*bound, &long);
    let request = WriteRequest::new(&key, "{\"n\":2}", 10 * SECOND, Expected::Any);
    attached.write(request).await.unwrap();
    let short = pairs(&*attached).remove(0);
    clock.advance(10 * SECOND);
    for cookies in [format!("{long}; {short}"), format!("{short}; {long}")] {
        assert_eq!(rejection(&*bound, &key, &cookies).await, "data_expired");
    }
}

/// The machines of a service may have clocks that differ.
#[tokio::test]
async fn a_write_wins_over_the_data_that_it_replaced_even_if_the_clock_went_back() {
    let start = 1_800_000_000_000;
    let bound_at = |millis| {
        let clock = Clock::manual(Timestamp::from_millis(millis));
        bind(&CookieStore::new().clock(clock))
    };
    let (ahead, behind, key) = (bound_at(start + 5000), bound_at(start), key());
    let first = seal(&*ahead, &key, "{\"n\":1}").await.remove(0);
    let attached = attach(&*behind, &first);
    let request = WriteRequest::new(&key, "{\"n\":2}", AGE, Expected::Any);
    attached.write(request).await.unwrap();
    let second = pairs(&*attached).remove(0);
    for cookies in [format!("{first}; {second}"), format!("{second}; {first}")] {
        let data = open(&*behind, &key, &cookies).await;
        assert_eq!(data.as_deref(), Ok("{\"n\":2}"));
    }
}

#[tokio::test]
async fn a_dead_session_in_front_does_not_hide_the_data_of_the_living_one() {
    for revokes in [false, true] {
        let server = cookie_server_with(config(), |store, backing| match revokes {
            true => store.with_revocation(backing),
            false => store,
        });
        let mut dead = server.browser();
        dead.visit(async |s| s.put("n", 1).unwrap()).await;
        let stale = dead.jar.clone();
        dead.visit(async |s| s.destroy().unwrap()).await;
        let mut browser = server.browser();
        browser.visit(async |s| s.put("n", 2).unwrap()).await;
        browser.jar.plant("session", stale.get("session").unwrap());
        if revokes {
            let data = stale.get("session-data").unwrap();
            browser.jar.plant("session-data", data);
        }
        for n in 3..5 {
            browser.visit(async |s| s.put("n", n).unwrap()).await;
            let read = browser.visit(async |s| object(s)).await;
            assert_eq!(read, json!({ "n": n }), "{revokes}");
        }
    }
}

#[tokio::test]
async fn destroyed_data_does_not_come_back_from_another_cookie_of_the_request() {
    let (bound, key) = (bind(&CookieStore::new()), key());
    let first = seal(&*bound, &key, "{\"n\":1}").await.remove(0);
    let second = seal(&*bound, &key, "{\"n\":2}").await.remove(0);
    let attached = attach(&*bound, &format!("{first}; {second}"));
    attached.destroy(&key).await.unwrap();
    let read = attached.read(&key, None).await.unwrap();
    assert!(matches!(read, hyper_session::store::ReadOutcome::Absent));
    assert_eq!(pairs(&*attached), ["session-data="]);
}

#[tokio::test]
async fn forged_data_cookies_of_a_neighbour_win_over_nothing() {
    let server = cookie_server();
    let mut neighbour = server.browser();
    neighbour.visit(async |s| s.put("n", 9).unwrap()).await;
    let mut browser = server.browser();
    browser.visit(async |s| s.put("n", 1).unwrap()).await;
    // Later than the visitor's own data.
    neighbour.visit(async |s| s.put("n", 10).unwrap()).await;
    let foreign = neighbour.jar.get("session-data").unwrap();
    for planted in [foreign, "forged", "2.forged", ""] {
        browser.jar.plant("session-data", planted);
    }
    assert_eq!(browser.visit(async |s| object(s)).await, json!({"n": 1}));
}
