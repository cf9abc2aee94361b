//! Typed keys: paths whose values have one type.

use std::collections::{BTreeSet, HashMap};

use hyper_session::{SessionError, TypedKey, document::KeyPath};
use serde_json::json;

use crate::support::{config, data, test_server};

const VISITS: TypedKey<u64> = TypedKey::new("visits");
const SCORE: TypedKey<f64> = TypedKey::new("game.score");
const NAME: TypedKey<String> = TypedKey::new("user.name");
const RECENT: TypedKey<Vec<String>> = TypedKey::new("recent");
const ROLES: TypedKey<BTreeSet<u8>> = TypedKey::new("roles");
const LIMITS: TypedKey<HashMap<String, u32>> = TypedKey::new("limits");

#[tokio::test]
async fn a_typed_key_reads_and_writes_values_of_its_type() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser
        .visit(async |s| {
            assert_eq!(s.get(VISITS).unwrap(), None);
            s.increment(VISITS).unwrap();
            s.increment_by(VISITS, 4).unwrap();
            s.decrement(VISITS).unwrap();
            s.increment_by(SCORE, 0.5).unwrap();
            s.put(NAME, "ada").unwrap();
            s.put(NAME, "ada".to_owned()).unwrap();
            let limits = HashMap::from([("upload".to_owned(), 7)]);
            s.put(LIMITS, &limits).unwrap();
            s.push(RECENT, "/a").unwrap();
            assert!(s.push_unique(RECENT, "/b".to_owned()).unwrap());
            assert!(s.push_unique(ROLES, 3).unwrap());
            assert!(s.remove_value(RECENT, "/a").unwrap());
            assert!(!s.put_if_absent(VISITS, 9).unwrap());
            let visits = s.update(VISITS, |visits| *visits *= 10).unwrap();
            assert_eq!(visits, 40);
            // The types of these values come from the keys.
            assert_eq!(s.get(VISITS).unwrap().unwrap_or_default() + 1, 41);
            assert_eq!(s.get_or(NAME, String::new()).unwrap().len(), 3);
            assert_eq!(s.snapshot().unwrap().get(LIMITS).unwrap(), Some(limits));
            assert!(s.has(ROLES).unwrap() && s.snapshot().unwrap().has(ROLES).unwrap());
            assert_eq!(s.pull(SCORE).unwrap(), Some(0.5));
            s.forget(ROLES).unwrap();
        })
        .await;
    let expected = json!({
        "visits": 40, "game": {}, "user": {"name": "ada"}, "recent": ["/b"], "limits": {"upload": 7},
    });
    assert_eq!(data(&mut browser).await, expected);
}

#[tokio::test]
async fn a_typed_key_is_a_key_of_a_flash_message() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser
        .visit(async |s| s.flash(NAME, "saved"))
        .await
        .unwrap();
    let message = browser.visit(async |s| s.flash_messages()?.get(NAME)).await;
    assert_eq!(message.unwrap().as_deref(), Some("saved"));
}

#[tokio::test]
async fn a_stored_value_of_another_type_is_an_error_of_the_read() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser
        .visit(async |s| {
            s.put("visits", "many").unwrap();
            let result = s.get(VISITS);
            assert!(matches!(result, Err(SessionError::Read(_))), "{result:?}");
            s.decrement(TypedKey::<u64>::new("low")).unwrap();
            let result = s.get(TypedKey::<u64>::new("low"));
            assert!(matches!(result, Err(SessionError::Read(_))), "{result:?}");
        })
        .await;
}

#[test]
fn a_typed_key_is_the_path_of_its_text() {
    assert_eq!(KeyPath::from(SCORE), KeyPath::from("game.score"));
    assert_eq!(SCORE.path(), "game.score");
    assert_eq!(format!("{SCORE:?}"), "TypedKey(\"game.score\")");
}
