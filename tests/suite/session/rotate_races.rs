//! A session is rotated while other requests use it.

use std::time::Duration;

use hyper_session::Session;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{queue::join_all, regenerate::ada};
use crate::support::{Browser, Call, TestServer, config, data, object, test_server};

const GRACE: Duration = Duration::from_secs(30);

/// The steps of a rotation before which another request can run: the write of the new record, and the
/// fence.
const STEPS: [(Call, usize); 2] = [(Call::Write, 0), (Call::Write, 1)];

async fn rotate(browser: &mut Browser) {
    browser.visit(async |s| s.rotate_id(GRACE)).await.unwrap();
}

/// Runs `rotation`, and `other` before one of its steps.
async fn during(
    server: &TestServer,
    (call, nth): (Call, usize),
    rotation: impl Future<Output = ()>,
    other: impl Future<Output = ()>,
) {
    let gate = server.store.hold_nth(call, nth);
    tokio::join!(rotation, async {
        gate.reached().await;
        other.await;
        gate.open();
    });
}

#[tokio::test]
async fn a_write_before_any_step_is_in_the_new_session() {
    for step in STEPS {
        let server = test_server(config());
        let mut new = ada(&server).await;
        let mut old = new.clone();
        let mut writer = new.clone();
        let rotation = new.visit(async |s| {
            s.rotate_id(GRACE).unwrap();
            s.increment("n").unwrap();
        });
        let write = async {
            writer.visit(async |s| s.increment("n")).await.unwrap();
        };
        during(&server, step, rotation, write).await;
        assert_eq!(data(&mut new).await, json!({"n": 3}), "{step:?}");
        assert_eq!(data(&mut old).await, json!({"n": 3}), "{step:?}");
        assert_eq!(server.events.with_name("write_dropped"), []);
    }
}

#[tokio::test]
async fn a_first_write_beside_a_rotation_can_follow_it() {
    let server = test_server(config());
    let mut new = server.browser();
    new.pass().await;
    let mut writer = new.clone();
    new.visit(async |s| {
        s.rotate_id(GRACE).unwrap();
        server.advance(Duration::from_secs(1));
        writer.visit(async |s| s.put("n", 1)).await.unwrap();
    })
    .await;
    assert_eq!(data(&mut writer).await, json!({"n": 1}));
    assert_eq!(data(&mut new).await, json!({"n": 1}));
}

#[tokio::test]
async fn a_write_in_flight_is_stored_under_the_new_id() {
    for explicit in [false, true] {
        let server = test_server(config());
        let mut new = ada(&server).await;
        let mut old = new.clone();
        old.visit(async |s| {
            s.increment("n").unwrap();
            s.tag("eve").unwrap();
            s.flash("m", 1).unwrap();
            rotate(&mut new).await;
            new.visit(async |s| s.put("m", 1)).await.unwrap();
            if explicit {
                s.commit().await.unwrap();
                assert_eq!(object(s), json!({"n": 2, "m": 1}));
                s.increment("n").unwrap();
            }
        })
        .await;
        let expected = json!({"n": 2 + i32::from(explicit), "m": 1});
        assert_eq!(data(&mut new).await, expected);
        server.advance(GRACE);
        assert_eq!(data(&mut old).await, expected, "it has the new cookie");
        assert_eq!(server.events.with_name("write_dropped"), []);
        let all = server.sessions.collection();
        for tag in ["ada", "eve"] {
            assert_eq!(all.tagged(tag).await.unwrap().len(), 1, "{tag}");
        }
    }
}

#[tokio::test]
async fn a_write_that_commits_after_the_window_is_dropped() {
    let server = test_server(config());
    let mut new = ada(&server).await;
    let mut old = new.clone();
    let visit = old
        .request(async |s| {
            s.load().await.unwrap().increment("n").unwrap();
            rotate(&mut new).await;
            server.advance(GRACE);
        })
        .await;
    assert_eq!(visit.cookies(), [""; 0]);
    assert_eq!(server.events.with_name("write_dropped").len(), 1);
    assert_eq!(data(&mut new).await, json!({"n": 1}));
}

#[tokio::test]
async fn a_write_in_flight_follows_every_rotation() {
    let server = test_server(config());
    let mut new = ada(&server).await;
    let mut old = new.clone();
    old.visit(async |s| {
        s.increment("n").unwrap();
        for _ in 0..4 {
            rotate(&mut new).await;
        }
    })
    .await;
    assert_eq!(data(&mut new).await, json!({"n": 2}));
    assert_eq!(data(&mut old).await, json!({"n": 2}));
}

#[tokio::test]
async fn writers_in_a_queue_and_rotations_lose_nothing() {
    let server = test_server(config());
    let browser = ada(&server).await;
    let writers = (0..32).map(|at| {
        let mut writer = browser.clone();
        async move {
            writer
                .visit(async |s| {
                    tokio::task::yield_now().await;
                    s.increment("n").unwrap();
                    if at % 8 == 0 {
                        s.rotate_id(GRACE).unwrap();
                    }
                })
                .await;
            assert!(writer.visit(async |s| s.has("n")).await.unwrap());
        }
    });
    join_all(writers).await;
    assert_eq!(server.events.with_name("write_dropped"), []);
    let all = server.sessions.collection();
    let keys = all.tagged("ada").await.unwrap();
    assert_eq!(keys.len(), 1, "one session with the tag");
    let snapshot = all.get(&keys[0]).await.unwrap().unwrap();
    assert_eq!(snapshot.get::<u64>("n").unwrap(), Some(33));
}

/// The requests of one page begin at once, and each finds that a rotation is due.
#[tokio::test]
async fn rotations_at_once_are_one_rotation() {
    let server = test_server(config());
    let mut browser = ada(&server).await;
    let mut requests = Vec::new();
    for _ in 0..6 {
        let mut request = browser.clone();
        requests.push(async move {
            request
                .visit(async |s| {
                    tokio::task::yield_now().await;
                    s.rotate_id(GRACE).unwrap();
                    s.increment("n").unwrap();
                })
                .await;
            request
        });
    }
    let mut requests = join_all(requests).await;
    assert_eq!(server.events.with_name("migrated").len(), 1);
    let new = requests[0].visit(async |s| s.id()).await.unwrap();
    server.advance(GRACE);
    for request in &mut requests {
        assert!(request.visit(async |s| s.id()).await.unwrap() == new);
        assert_eq!(data(request).await, json!({"n": 7}));
    }
    assert_eq!(data(&mut browser).await, json!({}));
}

/// The second rotation needs its own id if the response contains a CSRF token of it.
#[tokio::test]
async fn two_rotations_at_once_leave_one_session() {
    for (step, has_token) in [
        STEPS.map(|step| (step, false)),
        STEPS.map(|step| (step, true)),
    ]
    .concat()
    {
        let server = test_server(config());
        let mut first = ada(&server).await;
        let (mut second, mut old) = (first.clone(), first.clone());
        let mut token = None;
        let rotation = first.visit(async |s| {
            s.rotate_id(GRACE).unwrap();
            s.increment("n").unwrap();
            token = has_token.then(|| s.csrf_token().unwrap());
        });
        let other = second.visit(async |s| {
            s.rotate_id(GRACE).unwrap();
            s.increment("n").unwrap();
        });
        during(&server, step, rotation, other).await;
        for browser in [&mut first, &mut second, &mut old] {
            assert_eq!(data(browser).await, json!({"n": 3}), "{step:?}");
        }
        assert_eq!(server.events.with_name("write_dropped"), []);
        let rotations = 1 + usize::from(has_token);
        assert_eq!(server.events.with_name("migrated").len(), rotations);
        if let Some(token) = token {
            assert!(first.visit(async |s| s.verify_csrf_token(&token)).await);
        }
        let tagged = server.sessions.collection().tagged("ada").await.unwrap();
        assert_eq!(tagged.len(), 1);
    }
}

#[tokio::test]
async fn a_sign_in_beside_a_rotation_is_stored_and_ends_the_window() {
    for step in STEPS {
        for rotates_first in [true, false] {
            let server = test_server(config());
            let mut first = ada(&server).await;
            let (mut second, mut old) = (first.clone(), first.clone());
            let (mut user, mut other) = match rotates_first {
                true => (second.clone(), first.clone()),
                false => (first.clone(), second.clone()),
            };
            let sign_in = async {
                let sign_in = async |s: &Session| {
                    s.regenerate().unwrap();
                    s.put("user", "ada").unwrap();
                };
                user.visit(sign_in).await;
            };
            let rotation = rotate(&mut other);
            match rotates_first {
                true => during(&server, step, rotation, sign_in).await,
                false => during(&server, step, sign_in, rotation).await,
            }
            let signed_in = json!({"n": 1, "user": "ada"});
            assert_eq!(data(&mut user).await, signed_in, "{step:?} {rotates_first}");
            for browser in [&mut old, &mut first, &mut second, &mut other] {
                assert_eq!(data(browser).await, json!({}), "{step:?} {rotates_first}");
            }
        }
    }
}

#[tokio::test]
async fn a_sign_out_beside_a_rotation_ends_the_session() {
    for step in STEPS {
        for loads in [true, false] {
            let server = test_server(config());
            let mut new = ada(&server).await;
            let (mut old, mut leaver) = (new.clone(), new.clone());
            let sign_out = async {
                let sign_out = async |s: Session| {
                    if loads {
                        s.load().await.unwrap();
                    }
                    s.destroy().unwrap();
                };
                leaver.request(sign_out).await;
            };
            during(&server, step, rotate(&mut new), sign_out).await;
            for browser in [&mut new, &mut old] {
                assert_eq!(data(browser).await, json!({}), "{step:?} {loads}");
            }
        }
    }
}

/// The steps of a sign-out in a process that has followed a rotation.
const SIGN_OUT_STEPS: [(Call, usize); 3] = [(Call::Read, 1), (Call::Write, 0), (Call::Destroy, 0)];

#[tokio::test]
async fn a_rotation_before_any_step_of_a_sign_out_does_not_save_the_session() {
    for step in SIGN_OUT_STEPS {
        let server = test_server(config());
        let mut new = ada(&server).await;
        // The process of the sign-out has followed a rotation.
        let mut leaver = new.clone().with_sessions(&server.another_process());
        rotate(&mut new).await;
        leaver.pass().await;
        assert_eq!(data(&mut leaver).await, json!({"n": 1}));
        let mut old = new.clone();
        let sign_out = async {
            leaver.visit(async |s| s.destroy()).await.unwrap();
        };
        during(&server, step, sign_out, rotate(&mut new)).await;
        for browser in [&mut new, &mut old] {
            assert_eq!(data(browser).await, json!({}), "{step:?}");
        }
        let all = server.sessions.collection();
        assert_eq!(all.tagged("ada").await.unwrap(), [], "{step:?}");
    }
}

#[tokio::test]
async fn a_sign_out_ends_a_session_whose_first_change_is_a_rotation_at_the_same_time() {
    for (call, nth) in [(Call::Read, 2), (Call::Write, 0), (Call::Destroy, 0)] {
        let server = test_server(config());
        let mut new = server.browser();
        rotate(&mut new).await;
        let (mut old, mut leaver) = (new.clone(), new.clone());
        let (loaded, gate) = (Notify::new(), server.store.hold_nth(call, nth));
        let rotation = async {
            new.visit(async |s| {
                s.put("n", 1).unwrap();
                s.rotate_id(GRACE).unwrap();
                loaded.notify_one();
                gate.reached().await;
            })
            .await;
            gate.open();
        };
        tokio::join!(rotation, async {
            loaded.notified().await;
            leaver.visit(async |s| s.destroy()).await.unwrap();
        });
        for browser in [&mut new, &mut old] {
            assert_eq!(data(browser).await, json!({}), "{call:?}");
        }
    }
}

#[tokio::test]
async fn a_sign_out_whose_fence_fails_ends_a_session_that_is_rotated_at_the_same_time() {
    let server = test_server(config());
    let mut new = ada(&server).await;
    rotate(&mut new).await;
    let (mut old, mut leaver) = (new.clone(), new.clone());
    let read = server.store.hold_answer_nth(Call::Read, 1);
    let sign_out = async {
        leaver.visit(async |s| s.destroy()).await.unwrap();
    };
    tokio::join!(sign_out, async {
        read.reached().await;
        rotate(&mut new).await;
        server.store.fail(Call::Write);
        read.open();
    });
    for browser in [&mut new, &mut old] {
        assert_eq!(data(browser).await, json!({}));
    }
}

#[tokio::test]
async fn a_slower_request_does_not_set_the_new_id_after_a_sign_out_under_the_old_one() {
    let server = test_server(config());
    let mut new = ada(&server).await;
    let mut old = new.clone();
    rotate(&mut new).await;
    let visit = new
        .request(async |s| {
            s.load().await.unwrap();
            old.visit(async |s| s.destroy()).await.unwrap();
        })
        .await;
    assert_eq!(visit.cookies(), [""; 0]);
}

#[tokio::test]
async fn a_sign_out_works_while_the_store_is_full() {
    let server = test_server(config());
    let mut browser = ada(&server).await;
    rotate(&mut browser).await;
    let mut copy = browser.clone();
    server.store.fail_always(Call::Write);
    browser.visit(async |s| s.destroy()).await.unwrap();
    assert_eq!(data(&mut copy).await, json!({}));
}

#[tokio::test]
async fn a_sign_out_of_all_sessions_beside_a_rotation_ends_it() {
    for step in STEPS {
        let server = test_server(config());
        let mut new = ada(&server).await;
        let mut old = new.clone();
        let all = server.sessions.collection();
        let sign_out = async {
            all.destroy_tagged("ada", None).await.unwrap();
        };
        during(&server, step, rotate(&mut new), sign_out).await;
        for browser in [&mut new, &mut old] {
            assert_eq!(data(browser).await, json!({}), "{step:?}");
        }
    }
}

#[tokio::test]
async fn another_process_stores_its_writes_in_flight() {
    let server = test_server(config());
    let another = server.another_process();
    let mut new = ada(&server).await;
    let mut there = new.clone().with_sessions(&another);
    there
        .visit(async |s| {
            s.increment("n").unwrap();
            rotate(&mut new).await;
        })
        .await;
    assert_eq!(data(&mut new).await, json!({"n": 2}));
    assert_eq!(data(&mut there).await, json!({"n": 2}));
}

/// The slower request has shown the message, and removes it from the session that it follows. It must
/// not remove the copy for the next request.
#[tokio::test]
async fn a_message_that_a_rotation_keeps_is_not_removed_by_a_slower_request() {
    for has_conflict in [false, true] {
        let server = test_server(config());
        let mut new = server.browser();
        new.visit(async |s| s.flash("m", 1)).await.unwrap();
        let mut writer = new.clone();
        new.clone()
            .visit(async |s| {
                s.increment("n").unwrap();
                let rotation = new.visit(async |s| {
                    s.reflash().unwrap();
                    s.rotate_id(GRACE).unwrap();
                });
                match has_conflict {
                    false => rotation.await,
                    true => {
                        let write = writer.visit(async |s| s.put("other", 1).unwrap());
                        during(&server, STEPS[1], rotation, write).await;
                    }
                }
            })
            .await;
        new.visit(async |s| {
            assert_eq!(s.get("n").unwrap(), Some(1));
            let messages: Value = s.flash_messages().unwrap().all().unwrap();
            assert_eq!(messages, json!({"m": 1}), "{has_conflict}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_response_does_not_set_the_new_id_of_a_rotation_after_a_sign_in_has_ended_it() {
    for explicit in [true, false] {
        let server = test_server(config());
        let mut user = ada(&server).await;
        let mut slow = user.clone();
        let sign_in = async {
            user.visit(async |s| s.regenerate()).await.unwrap();
        };
        let visit = if explicit {
            slow.request(async |s| {
                s.load().await.unwrap().rotate_id(GRACE).unwrap();
                s.commit().await.unwrap();
                sign_in.await;
            })
            .await
        } else {
            let fence = server.store.hold_answer_nth(Call::Write, 1);
            let rotation =
                slow.request(async |s| s.load().await.unwrap().rotate_id(GRACE).unwrap());
            let sign_in = async {
                fence.reached().await;
                sign_in.await;
                fence.open();
            };
            tokio::join!(rotation, sign_in).0
        };
        assert_eq!(visit.cookies(), [""; 0], "{explicit}");
        assert_eq!(data(&mut user).await, json!({"n": 1}));
    }
}

#[tokio::test]
async fn a_change_that_does_not_fit_after_two_rotations_at_once_leaves_the_session() {
    for loads_again in [true, false] {
        let server = test_server(config());
        let mut slow = ada(&server).await;
        let mut quick = slow.clone();
        slow.visit(async |s| {
            s.rotate_id(GRACE).unwrap();
            s.increment("n").unwrap();
            let rotate = async |s: &Session| {
                s.rotate_id(GRACE)?;
                s.put("n", "text")
            };
            quick.visit(rotate).await.unwrap();
            assert!(s.commit().await.unwrap_err().is_conflict());
            if loads_again {
                assert_eq!(object(s.load().await.unwrap()), json!({"n": "text"}));
            }
        })
        .await;
        for browser in [&mut slow, &mut quick] {
            assert_eq!(data(browser).await, json!({"n": "text"}), "{loads_again}");
        }
    }
}

/// A rotation that has merged the changes of a parallel request loses to a second rotation. What it joins
/// then is the session of that one, which it must not destroy.
#[tokio::test]
async fn a_merged_rotation_that_does_not_fit_after_another_one_leaves_the_session() {
    let server = test_server(config());
    let mut slow = ada(&server).await;
    let mut quick = slow.clone().with_sessions(&server.another_process());
    let (fence, merged) = (
        server.store.hold_nth(Call::Write, 1),
        server.store.hold_nth(Call::Write, 3),
    );
    let rotate = slow.request(async |s| {
        s.load().await.unwrap().rotate_id(GRACE).unwrap();
        s.increment("n").unwrap();
    });
    let (visit, ()) = tokio::join!(rotate, async {
        fence.reached().await;
        quick.visit(async |s| s.put("other", 1)).await.unwrap();
        fence.open();
        merged.reached().await;
        quick.visit(async |s| s.put("n", "text")).await.unwrap();
        quick.visit(async |s| s.rotate_id(GRACE)).await.unwrap();
        merged.open();
    });
    assert_eq!(visit.status, 409);
    let expected = json!({"n": "text", "other": 1});
    assert_eq!(data(&mut quick).await, expected);
}

#[tokio::test]
async fn a_sign_out_under_an_old_id_reports_the_end_of_both_ids() {
    for is_rotated in [true, false] {
        let server = test_server(config());
        // A rotation of another session, so that this process expects them.
        rotate(&mut ada(&server).await).await;
        let mut browser = ada(&server).await;
        let mut keys = vec![browser.visit(async |s| s.store_key()).await.unwrap()];
        let mut old = browser.clone();
        if is_rotated {
            rotate(&mut browser).await;
            keys.insert(0, browser.visit(async |s| s.store_key()).await.unwrap());
        }
        old.request(async |s| s.destroy().unwrap()).await;
        let destroyed = server.events.with_name("destroyed");
        let destroyed: Vec<_> = destroyed.into_iter().flat_map(|it| it.keys).collect();
        assert_eq!(destroyed, keys);
    }
}
