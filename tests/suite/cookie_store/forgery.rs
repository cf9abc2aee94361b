//! Data cookies that this service did not send, or that have expired: none opens a session.

use std::time::Duration;

use hyper_session::{
    clock::{Clock, Timestamp},
    seal::SealKey,
    store::CookieStore,
};
use proptest::prelude::*;

use crate::support::{
    KEY,
    bound::{AGE, bind, bind_as, key, key_ring, open, rejection, seal},
    config, cookie_server,
    cookie_server::cookie_server_at,
};

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const OTHER_KEY: &str = "another secret of thirty-two characters";

#[tokio::test]
async fn no_character_of_a_data_cookie_can_be_another() {
    let (bound, key) = (bind(&CookieStore::new()), key());
    let cookies = seal(&*bound, &key, "{\"user\":7}").await;
    let cookie = &cookies[0];
    assert_eq!(open(&*bound, &key, cookie).await.unwrap(), "{\"user\":7}");
    for at in "session-data=".len()..cookie.len() {
        for &other in ALPHABET.iter().chain(b"=.~ %") {
            let mut changed = cookie.clone().into_bytes();
            if changed[at] == other {
                continue;
            }
            changed[at] = other;
            let changed = String::from_utf8(changed).unwrap();
            rejection(&*bound, &key, &changed).await;
        }
    }
}

#[tokio::test]
async fn no_part_of_a_data_cookie_can_be_missing_or_added() {
    let (bound, key) = (bind(&CookieStore::new()), key());
    let cookie = seal(&*bound, &key, "{\"user\":7}").await.remove(0);
    for end in "session-data=".len()..cookie.len() {
        rejection(&*bound, &key, &cookie[..end]).await;
        let rest = format!("session-data={}", &cookie[end + 1..]);
        rejection(&*bound, &key, &rest).await;
    }
    for more in ["A", "AAAA", "=", ".", "~"] {
        rejection(&*bound, &key, &format!("{cookie}{more}")).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_data_cookie_that_is_changed_anyhow_is_none(
        data in "[ -~]{0,2000}",
        at in any::<prop::sample::Index>(),
        bits in 1_u8..64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (bound, key) = (bind(&CookieStore::new()), key());
            let cookie = seal(&*bound, &key, &data).await.remove(0);
            let (name, value) = cookie.split_once('=').unwrap();
            let mut value = value.to_owned().into_bytes();
            let at = at.index(value.len());
            let digit = ALPHABET.iter().position(|it| *it == value[at]).unwrap();
            value[at] = ALPHABET[digit ^ usize::from(bits)];
            let changed = format!("{name}={}", String::from_utf8(value).unwrap());
            rejection(&*bound, &key, &changed).await;
        });
    }
}

#[tokio::test]
async fn the_data_of_one_visitor_is_nothing_to_another() {
    let server = cookie_server();
    let (mut ada, mut eve) = (server.browser(), server.browser());
    ada.visit(async |session| session.put("admin", true).unwrap())
        .await;
    eve.visit(async |session| session.put("admin", false).unwrap())
        .await;
    let stolen = ada.jar.get("session-data").unwrap().to_owned();
    eve.jar.set("session-data", &stolen);
    let seen = eve
        .visit(async |session| session.get::<bool>("admin").unwrap())
        .await;
    assert_eq!(seen, None);
    assert_eq!(server.rejections(), ["data_of_another_session"]);
}

#[tokio::test]
async fn a_cookie_sealed_under_another_name_or_for_another_purpose_does_not_open() {
    let (store, keys, key) = (CookieStore::new(), key_ring(KEY), key());
    let bound = bind_as(&store, &keys, "session");
    let other = bind_as(&store, &keys, "admin");
    let cookie = seal(&*other, &key, "{}").await.remove(0);
    let renamed = cookie.replace("admin-data=", "session-data=");
    assert_eq!(rejection(&*bound, &key, &renamed).await, "data_forged");
    // Swap the texts of the id cookie and the data cookie, each in turn.
    let server = cookie_server();
    let mut browser = server.browser();
    browser
        .visit(async |session| session.put("a", 1).unwrap())
        .await;
    let id = browser.cookie().unwrap().to_owned();
    let data = browser.jar.get("session-data").unwrap().to_owned();
    browser.jar.set("session-data", &id[6..]);
    let empty = browser
        .visit(async |session| session.is_empty().unwrap())
        .await;
    assert!(empty);
    assert_eq!(server.rejections(), ["data_forged"]);
    browser.jar.set("session", &format!("AAAAAA{data}"));
    let fresh = browser.visit(async |session| session.is_fresh()).await;
    assert!(fresh);
}

#[tokio::test]
async fn nothing_unsealed_is_ever_taken() {
    let (bound, key) = (bind(&CookieStore::new()), key());
    for value in [
        "",
        "{}",
        "{\"user\":1}",
        "e30",
        "AQ",
        "null",
        "2.e30",
        "9.AAAA",
        "1.AAAA",
    ] {
        let cookie = format!("session-data={value}");
        rejection(&*bound, &key, &cookie).await;
    }
    assert_eq!(open(&*bound, &key, "other=1").await, Err(None));
    assert_eq!(open(&*bound, &key, "").await, Err(None));
}

#[tokio::test]
async fn another_services_key_opens_nothing() {
    let (store, key) = (CookieStore::new(), key());
    let theirs = bind_as(&store, &key_ring(OTHER_KEY), "session");
    let cookie = seal(&*theirs, &key, "{}").await.remove(0);
    assert_eq!(
        rejection(&*bind(&store), &key, &cookie).await,
        "data_unknown_key"
    );
}

#[tokio::test]
async fn a_previous_keys_cookie_opens_and_is_sealed_again_by_the_first_one() {
    let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
    let old = cookie_server_at(config(), clock.clone(), |store, _| store);
    let rotated = config().app_key(OTHER_KEY).previous_key(KEY);
    let new = cookie_server_at(rotated, clock.clone(), |store, _| store);
    let retired = cookie_server_at(config().app_key(OTHER_KEY), clock, |store, _| store);
    for read_only in [true, false] {
        let mut before = old.browser();
        before
            .visit(async |session| session.put("user", 7).unwrap())
            .await;
        old.advance(Duration::from_secs(1));
        let mut browser = new.browser();
        browser.jar = before.jar.clone();
        let visit = browser
            .request(async |session| match read_only {
                true => session.load_read_only().await.unwrap().get::<i64>("user"),
                false => session.load().await.unwrap().get::<i64>("user"),
            })
            .await;
        assert_eq!(visit.value.as_ref().unwrap().as_ref().unwrap(), &Some(7));
        let lines = visit.cookies();
        assert_eq!(lines.len(), 2, "both cookies are sealed again");
        assert!(
            lines[1].contains("; Max-Age=7259;"),
            "its expiry does not change: {lines:?}"
        );
        // The old key can be removed now.
        let mut after = retired.browser();
        after.jar = browser.jar;
        let user = after
            .visit(async |session| session.get::<i64>("user").unwrap())
            .await;
        assert_eq!(user, Some(7));
        let mut late = retired.browser();
        late.jar = before.jar;
        assert!(late.visit(async |session| session.is_fresh()).await);
    }
}

#[tokio::test]
async fn a_cookie_that_comes_back_after_its_time_is_refused_whatever_the_browser_thinks() {
    let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
    let store = CookieStore::new().clock(clock.clone());
    let (bound, key) = (bind(&store), key());
    let cookie = seal(&*bound, &key, "{}").await.remove(0);
    clock.advance(AGE - Duration::from_millis(1));
    assert_eq!(open(&*bound, &key, &cookie).await.unwrap(), "{}");
    clock.advance(Duration::from_millis(1));
    assert_eq!(rejection(&*bound, &key, &cookie).await, "data_expired");
}

#[tokio::test]
async fn the_right_cookie_is_found_behind_those_that_a_neighbour_planted() {
    let ring = key_ring(KEY)
        .with_previous(SealKey::from_text(OTHER_KEY).unwrap())
        .unwrap();
    let bound = bind_as(&CookieStore::new(), &ring, "session");
    let (mine, theirs) = (key(), key());
    let own = seal(&*bound, &mine, "mine").await.remove(0);
    let planted = seal(&*bound, &theirs, "theirs").await.remove(0);
    let cookies = format!("session-data=x; {planted}; a=b; {own}; session-data=y");
    assert_eq!(open(&*bound, &mine, &cookies).await.unwrap(), "mine");
}
