//! Changes of sessions outside of their requests.

use std::{collections::BTreeMap, time::Duration};

use hyper_session::{
    SessionError, Sessions, StoreKey, Typed, TypedKey,
    document::EditError,
    patch::ChangeError,
    session::{ContentionReason, SessionCollection},
    store::MemoryStore,
};
use serde_json::{Value, json};

use super::conflicts::visitor;
use crate::support::{Browser, Call, change, config, data, increment, test_server};

/// The idle timeout of the configuration.
const AGE: Duration = Duration::from_secs(7200);
const UNREAD: TypedKey<u32> = TypedKey::new("mail.unread");

async fn key_of(browser: &Browser) -> StoreKey {
    let mut browser = browser.clone();
    browser.visit(async |s| s.store_key()).await.unwrap()
}

#[tokio::test]
async fn a_value_is_updated_by_its_path() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"mail": {"unread": 2, "box": "in"}})).await;
    let all = server.sessions.collection();
    let key = key_of(&browser).await;
    assert_eq!(
        all.update(&key, UNREAD, |unread| *unread += 1)
            .await
            .unwrap(),
        Some(3)
    );
    let names = all.update(&key, ["a.b"], |names: &mut Vec<String>| {
        names.push("x".into())
    });
    assert_eq!(names.await.unwrap().unwrap(), ["x"]);
    let expected = json!({"mail": {"unread": 3, "box": "in"}, "a.b": ["x"]});
    assert_eq!(data(&mut browser.clone()).await, expected);
    let wrong = all.update(&key, "mail", |n: &mut u32| *n += 1).await;
    assert!(matches!(wrong, Err(SessionError::Read(_))), "{wrong:?}");
    let large = all
        .update(&key, "x", |text: &mut String| *text = "x".repeat(2 << 20))
        .await;
    assert!(matches!(large, Err(SessionError::Change(_))), "{large:?}");
    assert_eq!(data(&mut browser.clone()).await, expected);
}

#[tokio::test]
async fn fields_of_a_whole_session_are_updated() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"theme": "dark", "n": 1})).await;
    let all = server.sessions.collection();
    let key = key_of(&browser).await;
    let updated = all.update_all(&key, |values: &mut BTreeMap<String, Value>| {
        values.remove("theme");
        values.insert("n".into(), json!(2));
    });
    assert_eq!(json!(updated.await.unwrap()), json!({"n": 2}));
    assert_eq!(data(&mut browser.clone()).await, json!({"n": 2}));
    server.store.calls();
    let same = all.update_all(&key, |_: &mut BTreeMap<String, Value>| {});
    assert!(same.await.unwrap().is_some());
    assert_eq!(server.store.calls(), [Call::Read], "nothing has changed");
}

#[tokio::test]
async fn there_is_nothing_to_update_in_a_session_that_has_ended() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 1})).await;
    let all = server.sessions.collection();
    let key = key_of(&browser).await;
    browser
        .clone()
        .visit(async |s| s.regenerate())
        .await
        .unwrap();
    let updated = all
        .update(&key, "n", |_: &mut u32| panic!("there is no value"))
        .await;
    assert_eq!(updated.unwrap(), None);
}

#[tokio::test]
async fn the_key_from_before_a_rotation_leads_to_the_session_during_the_grace_window() {
    let server = test_server(config());
    let mut browser = visitor(&server, json!({"n": 1})).await;
    let all = server.sessions.collection();
    let old = key_of(&browser).await;
    let grace = Duration::from_secs(30);
    browser.visit(async |s| s.rotate_id(grace)).await.unwrap();
    assert_eq!(
        all.update(&old, "n", |n: &mut u32| *n += 1).await.unwrap(),
        Some(2)
    );
    assert!(all.tag(&old, "user").await.unwrap());
    let listed = all.list("user", &["n"]).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(*listed[0].key(), key_of(&browser).await);
    server.clock.advance(grace);
    assert_eq!(
        all.update(&old, "n", |n: &mut u32| *n += 1).await.unwrap(),
        None
    );
    assert_eq!(data(&mut browser).await, json!({"n": 2}));
}

#[tokio::test]
async fn a_task_that_asks_for_the_current_key_follows_every_rotation() {
    let server = test_server(config());
    let mut browser = visitor(&server, json!({"n": 1})).await;
    let all = server.sessions.collection();
    let mut key = key_of(&browser).await;
    let grace = Duration::from_secs(30);
    assert_eq!(all.current_key(&key).await.unwrap(), Some(key));
    for n in 2..6 {
        browser.visit(async |s| s.rotate_id(grace)).await.unwrap();
        let current = all.current_key(&key).await.unwrap().unwrap();
        assert_eq!(current, key_of(&browser).await);
        assert_ne!(current, key);
        key = current;
        server.clock.advance(grace);
        let updated = all.update(&key, "n", |n: &mut u32| *n += 1).await.unwrap();
        assert_eq!(updated, Some(n));
    }
    browser.visit(async |s| s.regenerate()).await.unwrap();
    assert_eq!(all.current_key(&key).await.unwrap(), None);
}

#[derive(Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
struct Renamed {
    #[serde(alias = "colour")]
    theme: String,
}

/// The value that is stored under the alias stays, so the session would have the field twice.
#[tokio::test]
async fn fields_that_do_not_fit_the_type_with_the_stored_values_are_refused() {
    let server = test_server(config());
    let mut browser = visitor(&server, json!({"colour": "dark"})).await;
    let all = server.sessions.collection();
    let key = key_of(&browser).await;
    let light = |user: &mut Renamed| user.theme = "light".to_owned();
    let fails = |error: SessionError| {
        let SessionError::Change(ChangeError::Edit(EditError::FieldsDoNotFit { .. })) = &error
        else {
            panic!("{error:?}");
        };
    };
    fails(all.update_all(&key, light).await.map(drop).unwrap_err());
    browser
        .visit(async |s| {
            fails(s.update_all(light).map(drop).unwrap_err());
            let mut typed: Typed<Renamed> = Typed::load(s).await.unwrap();
            fails(typed.update(light).unwrap_err());
            assert_eq!(typed.theme, "dark");
            assert!(!s.is_modified());
            // The remedy: remove the value that has the former name.
            s.forget("colour").unwrap();
            typed.update(light).unwrap();
        })
        .await;
    assert_eq!(data(&mut browser).await, json!({"theme": "light"}));
}

#[tokio::test]
async fn an_update_does_not_prolong_the_session() {
    let server = test_server(config());
    let mut browser = visitor(&server, json!({"n": 1})).await;
    let all = server.sessions.collection();
    let key = key_of(&browser).await;
    let half = AGE / 2 + Duration::from_secs(60);
    server.clock.advance(half);
    assert_eq!(
        all.update(&key, "n", |n: &mut u32| *n += 1).await.unwrap(),
        Some(2)
    );
    server.clock.advance(half);
    assert_eq!(
        data(&mut browser).await,
        json!({}),
        "the session has expired"
    );
}

#[tokio::test]
async fn an_update_begins_again_if_a_request_writes_the_session_meanwhile() {
    let server = test_server(config());
    let browser = visitor(&server, json!({"n": 1})).await;
    let all = server.sessions.collection();
    let key = key_of(&browser).await;
    let gate = server.store.hold(Call::Write);
    let mut runs = 0;
    let update = all.update(&key, "n", |n: &mut u32| {
        runs += 1;
        *n += 1;
    });
    let request = async {
        gate.reached().await;
        change(server.sessions.clone(), browser.jar.clone(), |s| {
            s.increment_by("n", 10).unwrap();
            s.put("other", true).unwrap();
        })
        .await;
        gate.open();
    };
    let (updated, ()) = tokio::join!(update, request);
    assert_eq!(updated.unwrap(), Some(12));
    assert_eq!(runs, 2);
    assert_eq!(
        data(&mut browser.clone()).await,
        json!({"n": 12, "other": true})
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn updates_and_requests_of_two_processes_lose_nothing() {
    let store = MemoryStore::new();
    let engines = [(); 2].map(|()| Sessions::new(config(), store.clone()).unwrap());
    let mut browser = Browser::new(&engines[0]);
    browser.visit(async |s| s.put("n", 0)).await.unwrap();
    let key = key_of(&browser).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..200 {
        let (engine, jar) = (engines[number % 2].clone(), browser.jar.clone());
        tasks.spawn(async move {
            match number % 3 {
                0 => add_one(&engine.collection(), &key).await,
                _ => {
                    let status = increment(engine, jar).await;
                    assert_eq!(status, 200);
                }
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(data(&mut browser).await, json!({"n": 200}));
}

/// Adds one, as often as the commit timeout ends before it is stored.
async fn add_one(all: &SessionCollection, key: &StoreKey) {
    loop {
        match all.update(key, "n", |n: &mut u32| *n += 1).await {
            Err(SessionError::Contention(ContentionReason::Timeout { .. })) => {}
            updated => return assert!(updated.unwrap().is_some()),
        }
    }
}
