//! Overlapping requests of one session: messages, tags and new ids.

use std::time::Duration;

use hyper_session::{
    Session,
    session::{CookiePolicy, OnStoreFailure},
};
use serde_json::{Value, json};

use crate::support::{Browser, Call, TestServer, config, data, object, test_server};

fn messages(session: &Session) -> Value {
    session.flash_messages().unwrap().all().unwrap()
}

async fn visitor(server: &TestServer, values: Value) -> Browser {
    let mut browser = server.browser();
    browser.visit(async |s| s.merge(values)).await.unwrap();
    browser
}

/// Two forms are sent at the same time and flash the same text. The second message must not be taken
/// for the first, which was read meanwhile.
#[tokio::test]
async fn a_message_of_the_same_words_as_one_just_read_is_not_lost() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser
        .visit(async |s| s.flash("notice", "Saved"))
        .await
        .unwrap();
    let mut other = browser.clone();
    browser
        .visit(async |reader| {
            assert_eq!(messages(reader), json!({"notice": "Saved"}));
            other
                .visit(async |s| s.flash("notice", "Saved"))
                .await
                .unwrap();
            reader.put("page", 1).unwrap();
        })
        .await;
    assert_eq!(
        browser.visit(async |s| messages(s)).await,
        json!({"notice": "Saved"})
    );
    assert_eq!(browser.visit(async |s| messages(s)).await, json!({}));
}

#[tokio::test]
async fn a_clear_takes_old_keys_inside_an_object_that_a_parallel_request_wrote_to() {
    let server = test_server(config());
    let mut browser = visitor(&server, json!({"user": {"id": 7, "cart": [1]}})).await;
    let mut other = browser.clone();
    browser
        .visit(async |s| {
            other
                .visit(async |s| s.put("user.seen", true))
                .await
                .unwrap();
            s.clear().unwrap();
        })
        .await;
    let left = browser.visit(async |s| object(s)).await;
    assert_eq!(left, json!({"user": {"seen": true}}));
}

/// The visitor signs in while a slow request for an image of the same page is still running.
#[tokio::test]
async fn a_slow_request_that_left_its_session_alone_does_not_sign_the_visitor_out() {
    for seconds in [0, 61] {
        let server = test_server(config());
        let mut browser = visitor(&server, json!({"n": 1})).await;
        let mut slow = browser.clone();
        let visit = slow
            .request(async |_| {
                server.advance(Duration::from_secs(seconds));
                browser.visit(async |s| s.regenerate()).await.unwrap();
            })
            .await;
        browser.jar.take_from(&visit.headers);
        let n: Option<i32> = browser.visit(async |s| s.get("n")).await.unwrap();
        assert_eq!(n, Some(1), "after {seconds} s");
    }
}

/// The write of the new record fails. The response is a 503 without the new id.
#[tokio::test]
async fn a_sign_in_that_fails_leaves_the_visitor_a_session() {
    let server = test_server(config());
    let mut browser = visitor(&server, json!({"n": 1})).await;
    server.store.fail(Call::Write);
    let visit = browser
        .request(async |s| {
            s.load().await.unwrap().regenerate().unwrap();
            s.tag("ada").unwrap();
        })
        .await;
    assert_eq!(visit.status, 503);
    assert_eq!(browser.visit(async |s| object(s)).await, json!({"n": 1}));
}

#[tokio::test]
async fn a_message_that_a_parallel_request_has_read_is_not_shown_again() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser
        .visit(async |s| s.flash("notice", "Saved"))
        .await
        .unwrap();
    let mut other = browser.clone();
    browser
        .visit(async |reader| {
            other.visit(async |s| messages(s)).await;
            reader.put("page", 1).unwrap();
        })
        .await;
    assert_eq!(browser.visit(async |s| messages(s)).await, json!({}));
}

#[tokio::test]
async fn a_tag_put_on_under_the_old_id_is_reported_as_dropped() {
    let server = test_server(config());
    let mut browser = visitor(&server, json!({"n": 1})).await;
    let mut mover = browser.clone();
    browser
        .visit(async |s| {
            mover.visit(async |s| s.regenerate()).await.unwrap();
            s.tag("ada").unwrap();
        })
        .await;
    let tagged = server.sessions.collection().tagged("ada").await.unwrap();
    assert_eq!(tagged, [], "a dead id has no session");
    assert_eq!(server.events.with_name("write_dropped").len(), 1);
}

#[tokio::test]
async fn a_new_visitor_stays_new_when_the_id_is_regenerated() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.regenerate().unwrap();
            assert!(s.is_fresh());
        })
        .await;
}

/// Two tasks of one request load the session. The second result must not undo a change.
#[tokio::test]
async fn of_two_loads_at_once_the_first_result_counts() {
    let server = test_server(config());
    let mut browser = visitor(&server, json!({"n": 1})).await;
    let (first, second) = (
        server.store.hold_answer(Call::Read),
        server.store.hold_answer(Call::Read),
    );
    let visit = async |s: Session| {
        let quick = async {
            s.load().await.unwrap().put("n", 2).unwrap();
            second.open();
        };
        let slow = async {
            s.load().await.unwrap();
        };
        tokio::join!(quick, slow, async {
            first.reached().await;
            second.reached().await;
            first.open();
        });
        assert_eq!(object(&s), json!({"n": 2}));
    };
    assert_eq!(browser.request(visit).await.status, 200);
}

/// One task has followed an old id to the new one when another task gets the record of the old id.
#[tokio::test]
async fn two_loads_at_once_follow_a_rotated_id() {
    let server = test_server(config());
    let mut new = visitor(&server, json!({"n": 1})).await;
    let mut old = new.clone();
    let grace = Duration::from_secs(30);
    new.visit(async |s| s.rotate_id(grace)).await.unwrap();
    let [first, second, followed] = [(); 3].map(|()| server.store.hold_answer(Call::Read));
    let visit = async |s: Session| {
        let quick = async {
            s.load().await.unwrap();
        };
        let slow = async {
            s.load().await.unwrap();
            followed.open();
        };
        tokio::join!(quick, slow, async {
            first.reached().await;
            second.reached().await;
            first.open();
            followed.reached().await;
            second.open();
        });
        assert_eq!(object(&s), json!({"n": 1}));
    };
    assert_eq!(old.request(visit).await.status, 200);
}

/// The first commit has stored the session under the new id, so the response has to send it.
#[tokio::test]
async fn the_new_id_of_an_earlier_commit_is_sent_after_a_refused_commit() {
    for loads_again in [false, true] {
        let config = config().cookie_policy(CookiePolicy::WhenUsed);
        let server = test_server(config.on_store_failure(OnStoreFailure::ReadOnly));
        let mut browser = visitor(&server, json!({"n": 1})).await;
        let visit = with_a_refused_commit(&server, &mut browser, async |s| {
            if loads_again {
                server.store.fail(Call::Read);
                s.load().await.unwrap();
                assert!(s.is_read_only());
            }
        });
        assert_eq!(visit.await, (200, 1), "{loads_again}");
        assert_eq!(data(&mut browser).await, json!({"n": "text"}));
    }
}

#[tokio::test]
async fn a_session_can_be_destroyed_after_a_refused_commit_under_its_new_id() {
    let server = test_server(config());
    let mut browser = visitor(&server, json!({"n": 1})).await;
    let visit = with_a_refused_commit(&server, &mut browser, async |s| s.destroy().unwrap());
    assert_eq!(visit.await, (200, 1));
    assert_eq!(browser.cookie(), None);
    assert_eq!(server.events.with_name("destroyed").len(), 1);
}

/// Sends a request that stores the session under a new id, with an explicit commit that merges a change of another
/// request. A change made during it does not fit, so the next commit is refused. Then `rest` runs. Returns the status
/// and the number of cookies.
async fn with_a_refused_commit(
    server: &TestServer,
    browser: &mut Browser,
    rest: impl AsyncFnOnce(&Session),
) -> (u16, usize) {
    let mut other = browser.clone();
    let fence = server.store.hold_nth(Call::Write, 1);
    let visit = browser
        .request(async |s| {
            s.load().await.unwrap().regenerate().unwrap();
            let commit = async { s.commit().await.unwrap() };
            tokio::join!(commit, async {
                fence.reached().await;
                s.increment("n").unwrap();
                other.visit(async |s| s.put("n", "text")).await.unwrap();
                fence.open();
            });
            assert!(s.commit().await.unwrap_err().is_conflict());
            rest(&s).await;
        })
        .await;
    (visit.status.as_u16(), visit.cookies().len())
}
