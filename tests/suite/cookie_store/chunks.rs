//! Sessions split over several cookies: they open whole or not at all.

use hyper_session::{Sessions, store::CookieStore};
use serde_json::json;

use crate::support::{
    CookieServer,
    bound::{bind, key, open, rejection, seal},
    config,
    cookie_server::{cookie_server_with, text},
    object,
};

/// The reasons for a wrong text, chosen by its length and last bits.
const NONSENSE: &[&str] = &["data_forged", "data_encoding"];
const INCOMPLETE: &[&str] = &["data_incomplete"];

fn server_with_chunks(cookies: usize) -> CookieServer {
    cookie_server_with(config(), |store, _| store.max_chunks(cookies))
}

#[test]
fn a_store_has_one_to_eight_cookies() {
    for (cookies, accepted) in [(0, false), (1, true), (8, true), (9, false)] {
        let store = CookieStore::new().max_chunks(cookies);
        assert_eq!(
            Sessions::new(config(), store).is_ok(),
            accepted,
            "{cookies}"
        );
    }
}

#[tokio::test]
async fn a_session_grows_over_cookies_and_shrinks_back() {
    let server = server_with_chunks(4);
    let mut browser = server.browser();
    let names = [
        "session",
        "session-data",
        "session-data.1",
        "session-data.2",
        "session-data.3",
    ];
    for (len, cookies) in [
        (100, 1),
        (5000, 2),
        (11_000, 4),
        (8000, 3),
        (100, 1),
        (8000, 3),
    ] {
        browser
            .visit(async |session| session.put("cart", text(len)).unwrap())
            .await;
        assert_eq!(browser.jar.names(), names[..=cookies], "{len} bytes");
        for name in browser.jar.names() {
            let value = browser.jar.get(name).unwrap();
            assert!(name.len() + value.len() <= 4096);
        }
        let all = browser.visit(async |session| object(session)).await;
        assert_eq!(all, json!({"cart": text(len)}));
    }
    browser
        .visit(async |session| session.destroy().unwrap())
        .await;
    assert!(browser.jar.names().is_empty(), "every cookie is removed");
    assert!(server.rejections().is_empty());
}

#[tokio::test]
async fn more_cookies_than_allowed_are_too_large_by_their_sum() {
    let server = server_with_chunks(2);
    let error = server
        .browser()
        .request(async |session| {
            session.load().await.unwrap();
            session.put("cart", text(9000)).unwrap();
            session.commit().await.unwrap_err().to_string()
        })
        .await
        .value
        .unwrap();
    assert!(error.contains("limit of its store is 8192"), "{error}");
}

#[tokio::test]
async fn a_piece_that_is_missing_or_of_another_answer_makes_the_whole_none() {
    let bound = bind(&CookieStore::new().max_chunks(4));
    let key = key();
    let first = seal(&*bound, &key, &text(8000)).await;
    let second = seal(&*bound, &key, &text(8000)).await;
    assert_eq!(first.len(), 3);
    assert_eq!(
        open(&*bound, &key, &first.join("; ")).await.unwrap(),
        text(8000)
    );

    for missing in 1..3 {
        let mut pieces = first.clone();
        pieces.remove(missing);
        let refused = rejection(&*bound, &key, &pieces.join("; ")).await;
        assert_eq!(refused, "data_incomplete");
    }
    let without_first = open(&*bound, &key, &first[1..].join("; ")).await;
    assert_eq!(
        without_first,
        Err(None),
        "without the first chunk there is nothing to reject"
    );
    for mixed in 0..3 {
        let mut pieces = first.clone();
        pieces[mixed] = second[mixed].clone();
        let refused = rejection(&*bound, &key, &pieces.join("; ")).await;
        assert_eq!(refused, "data_incomplete", "piece {mixed}");
    }
}

#[tokio::test]
async fn pieces_in_each_others_places_do_not_open() {
    let bound = bind(&CookieStore::new().max_chunks(4));
    let key = key();
    let pieces = seal(&*bound, &key, &text(8000)).await;
    let value = |nth: usize| pieces[nth].split_once('=').unwrap().1;
    let swapped = format!(
        "session-data={}; session-data.1={}; session-data.2={}",
        value(0),
        value(2),
        value(1),
    );
    let reason = rejection(&*bound, &key, &swapped).await;
    assert!(NONSENSE.contains(&&*reason), "{reason}");
    // The order in the header does not matter.
    let reversed: Vec<_> = pieces.iter().rev().cloned().collect();
    assert_eq!(
        open(&*bound, &key, &reversed.join("; ")).await.unwrap(),
        text(8000)
    );
}

#[tokio::test]
async fn a_text_with_a_count_of_more_or_fewer_cookies_than_it_has_does_not_open() {
    let bound = bind(&CookieStore::new().max_chunks(8));
    let key = key();
    let pieces = seal(&*bound, &key, &text(5000)).await;
    let (_, first) = pieces[0].split_once("=2.").unwrap();
    let (_, second) = pieces[1].split_once('=').unwrap();
    for (count, reasons) in [("", NONSENSE), ("3.", INCOMPLETE), ("9.", INCOMPLETE)] {
        let cookies = format!("session-data={count}{first}; session-data.1={second}");
        let reason = rejection(&*bound, &key, &cookies).await;
        assert!(reasons.contains(&&*reason), "{count}: {reason}");
    }
    // The whole authentic text, split over another number of cookies.
    let text_id = &second[..8];
    let (half, rest) = second[8..].split_at(500);
    let cookies = format!(
        "session-data=3.{first}; session-data.1={text_id}{half}; session-data.2={text_id}{rest}"
    );
    assert_eq!(rejection(&*bound, &key, &cookies).await, "data_foreign");
}

#[tokio::test]
async fn pieces_that_a_neighbour_planted_are_passed_over() {
    let bound = bind(&CookieStore::new().max_chunks(4));
    let (key, other) = (key(), crate::support::bound::key());
    let pieces = seal(&*bound, &key, &text(5000)).await;
    let planted = seal(&*bound, &other, &text(5000)).await;
    for cookies in [
        format!("{}; {}", planted.join("; "), pieces.join("; ")),
        format!("session-data.1=x; {}; {}", planted[1], pieces.join("; ")),
    ] {
        assert_eq!(open(&*bound, &key, &cookies).await.unwrap(), text(5000));
    }
}

#[tokio::test]
async fn leftover_chunks_of_a_longer_session_are_removed_with_the_next_write() {
    let server = server_with_chunks(4);
    let mut browser = server.browser();
    browser
        .visit(async |session| session.put("a", 1).unwrap())
        .await;
    for stale in ["session-data.1", "session-data.3"] {
        browser.jar.set(stale, "left over");
    }
    let all = browser.visit(async |session| object(session)).await;
    assert_eq!(all, json!({"a": 1}), "they are ignored");
    browser
        .visit(async |session| session.put("a", 2).unwrap())
        .await;
    assert_eq!(browser.jar.names(), ["session", "session-data"]);
}

#[tokio::test]
async fn fewer_cookies_by_configuration_log_no_visitor_out() {
    let server = server_with_chunks(4);
    let mut browser = server.browser();
    browser
        .visit(async |session| session.put("cart", text(8000)).unwrap())
        .await;
    let narrow = crate::support::cookie_server::cookie_server_at(
        config(),
        server.clock.clone(),
        |store, _| store,
    );
    let mut later = narrow.browser();
    later.jar = browser.jar;
    let len = later
        .visit(async |session| session.get::<String>("cart").unwrap().unwrap().len())
        .await;
    assert_eq!(len, 8000);
    later
        .visit(async |session| session.put("cart", "small").unwrap())
        .await;
    assert_eq!(later.jar.names(), ["session", "session-data"]);
}
