//! The size limit of a session in a cookie.

use http::StatusCode;
use hyper_session::{
    SessionError,
    session::{OnTooLarge, SizeLimit},
    store::{
        CookieStore, Expected, MemoryStore, ReadOutcome, Tag, Tags, WriteOutcome, WriteRequest,
    },
};
use serde_json::json;

use crate::support::{
    KEY,
    bound::{AGE, attach, bind, bind_as, key, key_ring, pairs},
    config, cookie_server,
    cookie_server::{cookie_server_with, text},
    object,
};

/// Returns the size that browsers limit: the name and the value.
fn size(pair: &str) -> usize {
    pair.len() - "=".len()
}

#[tokio::test]
async fn a_cookie_has_4096_bytes_of_name_and_value_and_not_one_more() {
    let mut exact = 0;
    for name in ["s", "se", "ses", "sess"] {
        let bound = bind_as(&CookieStore::new(), &key_ring(KEY), name);
        let mut last = 0;
        for len in 2900.. {
            let attached = attach(&*bound, "");
            let request = WriteRequest::new(&key(), text(len), AGE, Expected::Absent);
            match attached.write(request).await {
                Ok(WriteOutcome::Done(_)) => {
                    let [pair] = &pairs(&*attached)[..] else {
                        panic!("one cookie");
                    };
                    last = size(pair);
                    assert!(last <= 4096);
                }
                Ok(other) => panic!("{other:?}"),
                Err(error) => {
                    let refused = error.too_large().expect("the size is the reason");
                    assert_eq!(refused.limit, 4096);
                    assert!((4097..=4098).contains(&refused.size), "{refused:?}");
                    assert!(refused.size - last <= 2, "nothing smaller was refused");
                    exact += usize::from(last == 4096 && refused.size == 4097);
                    assert!(pairs(&*attached).is_empty());
                    break;
                }
            }
        }
    }
    assert!(exact > 0, "one of the names reaches the limit exactly");
}

#[tokio::test]
async fn a_session_that_is_too_large_is_an_error_that_names_what_is_large() {
    let server = cookie_server();
    let mut browser = server.browser();
    let visit = browser
        .request(async |session| {
            session.load().await.unwrap();
            session.put("theme", "dark").unwrap();
            session.put("cart", text(2000)).unwrap();
            session.put("history", text(1500)).unwrap();
            session.flash("errors", text(500)).unwrap();
            session.commit().await.unwrap_err()
        })
        .await;
    let error = visit.value.clone().unwrap();
    let SessionError::TooLarge {
        exceeded: SizeLimit::Store,
        size,
        limit,
        largest,
    } = &error
    else {
        panic!("{error}");
    };
    assert!(*size > 4096 && *limit == 4096);
    let names: Vec<&str> = largest.iter().map(|(name, _)| &**name).collect();
    assert_eq!(names, ["cart", "history", "flash:errors", "theme"]);
    let shown = error.to_string();
    assert!(
        shown.contains("`cart` (2006 bytes)") && !shown.contains("abcdef"),
        "{shown}"
    );
    assert!(error.is_too_large() && !error.is_store_failure());
    // The handler did not change the session, so the final commit failed too.
    assert_eq!(visit.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(visit.cookies().is_empty());
    assert_eq!(server.events.with_name("store_failed").len(), 2);
}

#[tokio::test]
async fn a_session_that_was_too_large_can_be_reduced_and_committed() {
    let server = cookie_server();
    let mut browser = server.browser();
    browser
        .visit(async |session| {
            session.put("kept", 1).unwrap();
            session.put("cart", text(5000)).unwrap();
            assert!(session.commit().await.unwrap_err().is_too_large());
            session.forget("cart").unwrap();
            session.commit().await.unwrap();
        })
        .await;
    let all = browser.visit(async |session| object(session)).await;
    assert_eq!(all, json!({"kept": 1}));
}

#[tokio::test]
async fn a_flash_message_that_goes_too_far_costs_the_response_and_not_the_session() {
    let server = cookie_server();
    let mut browser = server.browser();
    browser
        .visit(async |session| session.put("cart", text(2500)).unwrap())
        .await;
    let before = browser.jar.clone();
    let visit = browser
        .request(async |session| {
            session.load().await.unwrap();
            session.flash("input", text(1000)).unwrap();
        })
        .await;
    assert_eq!(visit.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(visit.cookies().is_empty(), "the browser keeps its cookies");
    assert_eq!(visit.headers["cache-control"], "no-store");
    assert_eq!(before.get("session-data"), browser.jar.get("session-data"));
    let message = &server.events.with_name("store_failed")[0].text;
    assert!(
        message.contains("`cart` (2506 bytes), `flash:input`"),
        "{message}"
    );
    let all = browser.visit(async |session| object(session)).await;
    assert_eq!(all, json!({"cart": text(2500)}));
}

#[tokio::test]
async fn by_the_other_policy_the_response_stays_and_an_event_reports_the_dropped_write() {
    let config = config().on_too_large(OnTooLarge::DropWrite);
    let server = cookie_server_with(config, |store, _| store);
    let mut browser = server.browser();
    browser
        .visit(async |session| session.put("kept", 1).unwrap())
        .await;
    let key = browser
        .visit(async |session| {
            session.put("cart", text(5000)).unwrap();
            assert!(
                session.commit().await.is_err(),
                "an explicit commit reports the error"
            );
            session.regenerate().unwrap();
            session.csrf_token().unwrap();
            session.store_key().unwrap()
        })
        .await;
    let dropped = server.events.with_name("write_dropped");
    assert_eq!(dropped[0].keys, [key]);
    assert_eq!(dropped[0].text, "the session is too large for its store");
    assert!(
        server.events.with_name("store_failed")[0]
            .text
            .contains("`cart`")
    );
    let all = browser.visit(async |session| object(session)).await;
    assert_eq!(all, json!({"kept": 1}), "the old session under its old id");
}

#[tokio::test]
async fn a_dropped_write_does_not_undo_a_log_out() {
    let config = config().on_too_large(OnTooLarge::DropWrite);
    let server = cookie_server_with(config, |store, _| store);
    let mut browser = server.browser();
    browser
        .visit(async |session| session.put("user", 1).unwrap())
        .await;
    browser
        .visit(async |session| {
            session.destroy().unwrap();
            session.put("cart", text(5000)).unwrap();
        })
        .await;
    assert!(browser.jar.names().is_empty());
    assert_eq!(server.events.with_name("write_dropped").len(), 1);
}

#[tokio::test]
async fn a_tag_that_does_not_fit_is_refused_like_data() {
    let server = cookie_server();
    let mut browser = server.browser();
    browser
        .visit(async |session| session.put("cart", text(2880)).unwrap())
        .await;
    let visit = browser
        .request(async |session| {
            session.load().await.unwrap();
            for owner in 0..8 {
                session.tag(&format!("owner {owner}")).unwrap();
            }
        })
        .await;
    assert_eq!(visit.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(visit.cookies().is_empty());
}

#[tokio::test]
async fn a_tag_takes_its_name_and_nine_bytes_of_the_room_and_comes_back_as_it_was() {
    let (bound, key) = (
        bind_as(&CookieStore::new(), &key_ring(KEY), "session"),
        key(),
    );
    let names = ["a".to_owned(), text(256), "über".to_owned()];
    let sealed = async |tags: Tags| {
        let attached = attach(&*bound, "");
        let request = WriteRequest::new(&key, text(99), AGE, Expected::Absent).tags(tags);
        let written = attached.write(request).await.unwrap();
        assert!(matches!(written, WriteOutcome::Done(_)));
        pairs(&*attached).pop().unwrap()
    };
    let (bare, tagged) = (sealed(Tags::new()).await, sealed(tags(&names)).await);
    let more: usize = names.iter().map(|name| name.len() + 9).sum();
    let base64 = |bytes: usize| (bytes * 4).div_ceil(3);
    assert!((tagged.len() - bare.len()).abs_diff(base64(more)) <= 1);

    let read = attach(&*bound, &tagged).read(&key, None).await.unwrap();
    let ReadOutcome::Found(record) = read else {
        panic!("no record: {read:?}");
    };
    assert_eq!(record.tags.iter().collect::<Vec<_>>(), names);
}

fn tags(names: &[String]) -> Tags {
    let mut tags = Tags::new();
    for name in names {
        tags.insert(&Tag::new(name.as_str()).unwrap()).unwrap();
    }
    tags
}

#[tokio::test]
async fn tags_that_do_not_fit_are_refused_even_if_the_data_could_overflow() {
    let names: Vec<String> = (10..74).map(|nth| format!("{nth}{}", text(254))).collect();
    for (max_chunks, fits) in [(1, false), (5, false), (6, true)] {
        let store = CookieStore::new().max_chunks(max_chunks);
        let bound = bind(&store.with_overflow(MemoryStore::new()));
        let attached = attach(&*bound, "");
        let request = WriteRequest::new(&key(), text(20_000), AGE, Expected::Absent);
        let written = attached.write(request.tags(tags(&names))).await;
        match written {
            Ok(_) => assert!(fits && pairs(&*attached).len() == max_chunks),
            Err(error) => {
                let refused = error.too_large().expect("the size is the reason");
                assert!(!fits && refused.limit == 4096 * max_chunks, "{refused:?}");
                assert!(pairs(&*attached).is_empty());
            }
        }
    }
}
