//! Sessions in their visitors' cookies, over several requests.

use std::time::Duration;

use hyper_session::{
    SessionConfig, cookie::Priority, session::CookiePolicy::WhenUsed, store::CookieStore,
};

use crate::support::{
    CookieServer, config, cookie_server,
    cookie_server::cookie_server_with,
    object,
    search::{contains, encodings},
};

const HOUR: Duration = Duration::from_secs(3600);

fn server_with_config(config: SessionConfig) -> CookieServer {
    cookie_server_with(config, |store, _| store)
}

#[tokio::test]
async fn the_next_request_gets_the_values_of_this_one() {
    let server = cookie_server();
    let mut browser = server.browser();
    browser
        .visit(async |session| session.put("user.name", "Ada").unwrap())
        .await;
    assert_eq!(browser.jar.names(), ["session", "session-data"]);
    let name: Option<String> = browser
        .visit(async |session| session.get("user.name").unwrap())
        .await;
    assert_eq!(name.as_deref(), Some("Ada"));
    for _ in 0..3 {
        browser
            .visit(async |session| session.increment("visits").unwrap())
            .await;
    }
    let visits = browser
        .visit(async |session| session.get::<i64>("visits").unwrap())
        .await;
    assert_eq!(visits, Some(3));
    assert!(server.rejections().is_empty());
}

#[tokio::test]
async fn nothing_of_the_session_can_be_read_in_the_cookie() {
    let server = cookie_server();
    let mut browser = server.browser();
    let (id, key) = browser
        .visit(async |session| {
            session.put("secret", "xyzzy").unwrap();
            session.tag("user-4711").unwrap();
            (session.id().unwrap(), session.store_key().unwrap())
        })
        .await;
    let id_text = id.to_string();
    let words: [&[u8]; 6] = [
        b"secret",
        b"xyzzy",
        b"user-4711",
        id_text.as_bytes(),
        id.as_bytes(),
        key.as_bytes(),
    ];
    for name in ["session", "session-data"] {
        let value = browser.jar.get(name).unwrap().as_bytes();
        let is_base64 = |it: &u8| it.is_ascii_alphanumeric() || b"-_".contains(it);
        assert!(value.iter().all(is_base64), "{name}");
        for word in words {
            assert!(!contains(value, word), "{name}: {word:?}");
        }
    }
    // The search finds a word in a record that is only encoded.
    for word in words {
        let record = [&b"{\"secret\":\""[..], word, b"\"}"].concat();
        assert!(encodings(&record).iter().all(|text| contains(text, word)));
    }
}

#[tokio::test]
async fn the_data_cookie_has_the_id_cookies_attributes_and_lives_as_long_as_the_record() {
    let server = server_with_config(config().host_cookie().cookie_priority(Priority::High));
    let visit = server
        .browser()
        .request(async |session| session.load().await.unwrap().put("a", 1).unwrap())
        .await;
    let [id, data] = visit.cookies()[..] else {
        panic!("two cookies: {:?}", visit.cookies());
    };
    let (id_name, id_rest) = id.split_once('=').unwrap();
    let (data_name, data_rest) = data.split_once('=').unwrap();
    assert_eq!(
        (id_name, data_name),
        ("__Host-session", "__Host-session-data")
    );
    let attributes = |text: &str| text.split_once("; Path").unwrap().1.to_owned();
    assert_eq!(attributes(id_rest), attributes(data_rest));
    assert!(data_rest.ends_with("; Secure; HttpOnly; SameSite=Lax; Priority=High"));
    // The age of two hours, plus the minute by which renewals may be delayed.
    assert!(data_rest.contains("; Max-Age=7260;"), "{data}");
    assert_eq!(visit.headers["cache-control"], "no-store");
    assert_eq!(visit.headers["vary"], "cookie");
}

#[tokio::test]
async fn a_session_that_ends_with_the_browser_says_so_of_both_cookies() {
    let server = server_with_config(config().clear_with_browser(true));
    let visit = server
        .browser()
        .request(async |session| session.load().await.unwrap().put("a", 1).unwrap())
        .await;
    assert_eq!(visit.cookies().len(), 2);
    assert!(visit.cookies().iter().all(|line| !line.contains("Max-Age")));
}

#[tokio::test]
async fn a_request_that_only_reads_sets_no_data_cookie() {
    let server = cookie_server();
    let mut browser = server.browser();
    browser
        .visit(async |session| session.put("a", 1).unwrap())
        .await;
    let visit = browser
        .request(async |session| session.load().await.unwrap().get::<i64>("a").unwrap())
        .await;
    assert_eq!(visit.value, Some(Some(1)));
    assert!(visit.cookie().starts_with("session="));
    assert!(browser.pass().await.cookies().is_empty());
}

#[tokio::test]
async fn a_visitor_without_data_has_no_data_cookie() {
    let server = server_with_config(config().cookie_policy(WhenUsed));
    let mut browser = server.browser();
    assert!(browser.pass().await.has_no_headers());
    let visit = browser
        .request(async |session| session.load().await.map(drop).unwrap())
        .await;
    assert!(visit.cookies().is_empty());
    assert!(browser.jar.names().is_empty());
}

#[tokio::test]
async fn use_prolongs_a_session_and_disuse_ends_it() {
    let server = cookie_server();
    let mut browser = server.browser();
    browser
        .visit(async |session| session.put("a", 1).unwrap())
        .await;
    // By loads, by read-only loads, and by requests that do not use the session.
    for round in 0..9 {
        server.advance(HOUR);
        let visit = match round % 3 {
            0 => browser.pass().await,
            1 => {
                browser
                    .request(async |session| session.load_read_only().await.map(drop).unwrap())
                    .await
            }
            _ => {
                browser
                    .request(async |session| session.load().await.map(drop).unwrap())
                    .await
            }
        };
        assert_eq!(visit.cookies().len(), 2, "renewed in round {round}");
    }
    let read = browser
        .visit(async |session| session.get::<i64>("a").unwrap())
        .await;
    assert_eq!(read, Some(1));
    server.advance(3 * HOUR);
    let fresh = browser
        .visit(async |session| (session.is_empty().unwrap(), session.is_fresh()))
        .await;
    assert_eq!(fresh, (true, true));
    assert_eq!(server.rejections(), ["data_expired"]);
}

#[tokio::test]
async fn flash_messages_are_shown_once() {
    let server = cookie_server();
    let mut browser = server.browser();
    browser
        .visit(async |session| session.flash("notice", "Saved.").unwrap())
        .await;
    let notice = async |session: &hyper_session::Session| {
        let messages = session.flash_messages().unwrap();
        messages.get::<String>("notice").unwrap()
    };
    assert_eq!(browser.visit(notice).await.as_deref(), Some("Saved."));
    assert_eq!(browser.visit(notice).await, None);
}

#[tokio::test]
async fn a_new_id_keeps_data_and_tags_and_the_old_cookies_do_not_mix_with_the_new() {
    let server = cookie_server();
    let mut browser = server.browser();
    let old = browser
        .visit(async |session| {
            session.put("cart", 7).unwrap();
            session.flash("hello", "there").unwrap();
            session.tag("ada").unwrap();
            session.store_key().unwrap()
        })
        .await;
    let before = browser.clone();
    let new = browser
        .visit(async |session| {
            session.regenerate().unwrap();
            session.put("user", 1).unwrap();
            session.store_key().unwrap()
        })
        .await;
    assert_ne!(old, new);
    assert_eq!(server.events.with_name("migrated")[0].keys, [old, new]);
    let all = browser
        .visit(async |session| (object(session), session.store_key().unwrap()))
        .await;
    assert_eq!(all, (serde_json::json!({"cart": 7, "user": 1}), new));
    // The new id with the old data, then the old id with the new data.
    for (id, data) in [(&browser, &before), (&before, &browser)] {
        let mut mixed = server.browser();
        mixed.jar.set("session", id.cookie().unwrap());
        let value = data.jar.get("session-data").unwrap().to_owned();
        mixed.jar.set("session-data", &value);
        let empty = mixed
            .visit(async |session| session.is_empty().unwrap())
            .await;
        assert!(empty);
    }
    assert_eq!(server.rejections(), ["data_of_another_session"; 2]);
}

#[tokio::test]
async fn logging_out_removes_both_cookies() {
    let server = cookie_server();
    let mut browser = server.browser();
    browser
        .visit(async |session| session.put("user", 1).unwrap())
        .await;
    browser
        .visit(async |session| session.destroy().unwrap())
        .await;
    assert!(browser.jar.names().is_empty());
    assert_eq!(server.events.with_name("destroyed").len(), 1);
}

#[tokio::test]
async fn logging_out_and_beginning_again_in_one_request_leaves_the_new_session() {
    let server = cookie_server();
    let mut browser = server.browser();
    browser
        .visit(async |session| session.put("user", 1).unwrap())
        .await;
    browser
        .visit(async |session| {
            session.destroy().unwrap();
            session.put("notice", "bye").unwrap();
        })
        .await;
    let all = browser.visit(async |session| object(session)).await;
    assert_eq!(all, serde_json::json!({"notice": "bye"}));
}

#[tokio::test]
async fn several_commits_of_one_request_seal_what_the_last_one_stored() {
    let server = cookie_server();
    let mut browser = server.browser();
    let visit = browser
        .request(async |session| {
            session.load().await.unwrap();
            for round in 0..3 {
                session.put("round", round).unwrap();
                session.commit().await.unwrap();
            }
            session.put("late", true).unwrap();
        })
        .await;
    assert_eq!(visit.cookies().len(), 2);
    let all = browser.visit(async |session| object(session)).await;
    assert_eq!(all, serde_json::json!({"round": 2, "late": true}));
}

#[tokio::test]
async fn of_two_requests_at_once_the_last_answer_wins() {
    let server = cookie_server();
    let mut browser = server.browser();
    browser
        .visit(async |session| session.put("a", 0).unwrap())
        .await;
    let mut other = browser.clone();
    browser
        .visit(async |session| session.put("a", 1).unwrap())
        .await;
    other
        .visit(async |session| session.put("b", 2).unwrap())
        .await;
    browser.jar = other.jar;
    let all = browser.visit(async |session| object(session)).await;
    assert_eq!(all, serde_json::json!({"a": 0, "b": 2}));
}

#[tokio::test]
async fn a_store_without_sessions_around_it_answers_that_it_has_no_keys() {
    use hyper_session::store::Store;
    let key = hyper_session::id::SessionId::generate()
        .unwrap()
        .store_key();
    let error = CookieStore::new().read(&key, None).await.unwrap_err();
    assert!(format!("{error:?}").contains("pass it to `Sessions`"));
}

#[tokio::test]
async fn without_a_request_there_is_nothing_to_read_and_the_error_says_so() {
    let server = cookie_server();
    let mut browser = server.browser();
    let key = browser
        .visit(async |session| {
            session.put("a", 1).unwrap();
            session.tag("ada").unwrap();
            session.store_key().unwrap()
        })
        .await;
    let all = server.sessions.collection();
    let errors = [
        all.get(&key).await.unwrap_err(),
        all.tag(&key, "ada").await.unwrap_err(),
        all.untag(&key, "ada").await.unwrap_err(),
    ];
    for error in errors {
        assert!(format!("{error:?}").contains("in the visitor's cookie"));
    }
    let error = all.tagged("ada").await.unwrap_err();
    assert!(format!("{error:?}").contains("cannot be listed"));
    for error in [
        all.destroy(&key).await.unwrap_err(),
        all.destroy_tagged("ada", None).await.unwrap_err(),
    ] {
        assert!(format!("{error:?}").contains("CookieStore::with_revocation"));
        assert!(std::error::Error::source(&error).is_some());
    }
    assert_eq!(all.count().await.unwrap(), None);
}

#[test]
fn settings_that_cannot_be_are_refused_with_their_reason() {
    use hyper_session::Sessions;
    for chunks in [0, 9] {
        let store = CookieStore::new().max_chunks(chunks);
        let error = Sessions::new(config(), store).unwrap_err();
        assert!(format!("{error:?}").contains("choose a number from 1 to 8"));
    }
    let long = config().cookie_name("n".repeat(252));
    let error = Sessions::new(long, CookieStore::new()).unwrap_err();
    assert!(format!("{error:?}").contains("limit is 256"), "{error:?}");
}
