//! Every method that reads or writes data, over two requests.

use std::collections::BTreeMap;

use hyper_session::{
    SessionError,
    document::{EditError, Number},
    patch::ChangeError,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::support::{config, object, test_server};

#[tokio::test]
async fn a_put_value_is_read_by_the_next_request() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| s.put("theme", "dark"))
        .await
        .unwrap();
    let theme: Option<String> = browser.visit(async |s| s.get("theme")).await.unwrap();
    assert_eq!(theme.as_deref(), Some("dark"));
}

#[tokio::test]
async fn put_with_dots_makes_the_objects_on_the_way() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.put("user", json!({"name": "ada"}))?;
            s.put("user.email", "foo@bar.com")?;
            s.put("items.0.name", "pen")
        })
        .await
        .unwrap();
    let all = browser.visit(async |s| object(s)).await;
    let expected = json!({
        "user": {"name": "ada", "email": "foo@bar.com"},
        "items": [{"name": "pen"}],
    });
    assert_eq!(all, expected);
}

#[tokio::test]
async fn get_reads_nested_values_and_gives_a_default_for_absent_and_null() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| s.merge(json!({"user": {"email": "a@b"}, "none": null, "zero": 0})))
        .await
        .unwrap();
    browser
        .visit(async |s| {
            let email: Option<String> = s.get("user.email").unwrap();
            assert_eq!(email.as_deref(), Some("a@b"));
            assert_eq!(s.get_or("visits", 7).unwrap(), 7);
            assert_eq!(s.get_or("none", 7).unwrap(), 7);
            assert_eq!(s.get_or("zero", 7).unwrap(), 0);
        })
        .await;
}

#[tokio::test]
async fn a_list_of_keys_is_taken_literally() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| s.put(["a.b", "c"], 1))
        .await
        .unwrap();
    let all = browser.visit(async |s| object(s)).await;
    assert_eq!(all, json!({"a.b": {"c": 1}}));
}

#[tokio::test]
async fn has_is_true_for_a_value_other_than_null() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.merge(json!({"zero": 0, "no": false, "text": "", "list": [], "none": null}))
        })
        .await
        .unwrap();
    browser
        .visit(async |s| {
            for key in ["zero", "no", "text", "list"] {
                assert!(s.has(key).unwrap(), "{key}");
            }
            assert!(!s.has("none").unwrap());
            assert!(!s.has("visits").unwrap());
            assert!(!s.has("zero.deeper").unwrap());
        })
        .await;
}

#[tokio::test]
async fn all_gives_an_object_even_of_nothing() {
    let mut browser = test_server(config()).browser();
    let all: BTreeMap<String, Value> = browser.visit(async |s| s.all()).await.unwrap();
    assert!(all.is_empty());
}

#[tokio::test]
async fn all_reads_into_a_struct_of_ones_own() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Mine {
        theme: String,
        visits: u32,
    }
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| s.merge(json!({"theme": "dark", "visits": 3})))
        .await
        .unwrap();
    let mine: Mine = browser.visit(async |s| s.all()).await.unwrap();
    let expected = Mine {
        theme: "dark".to_owned(),
        visits: 3,
    };
    assert_eq!(mine, expected);
}

#[tokio::test]
async fn forget_removes_a_key_or_a_nested_one() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| s.merge(json!({"user": {"name": "ada", "email": "a@b"}, "theme": 1})))
        .await
        .unwrap();
    browser
        .visit(async |s| {
            s.forget("user.email")?;
            s.forget("theme")?;
            s.forget("was.never.there")
        })
        .await
        .unwrap();
    let all = browser.visit(async |s| object(s)).await;
    assert_eq!(all, json!({"user": {"name": "ada"}}));
}

#[tokio::test]
async fn forgetting_an_element_leaves_null_and_keeps_the_length() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.put("a", [1, 2, 3])?;
            s.forget("a.1")
        })
        .await
        .unwrap();
    let all = browser.visit(async |s| object(s)).await;
    assert_eq!(all, json!({"a": [1, null, 3]}));
}

#[tokio::test]
async fn pull_returns_the_value_and_removes_it() {
    let mut browser = test_server(config()).browser();
    browser.visit(async |s| s.put("user", "ada")).await.unwrap();
    let (user, left): (Option<String>, bool) = browser
        .visit(async |s| (s.pull("user").unwrap(), s.has("user").unwrap()))
        .await;
    assert_eq!((user.as_deref(), left), (Some("ada"), false));
    assert!(!browser.visit(async |s| s.has("user")).await.unwrap());
}

#[tokio::test]
async fn pull_or_returns_the_default_for_absent_and_null() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.merge(json!({"a": "x", "null": null, "n": 1})).unwrap();
            let other = || "other".to_owned();
            assert_eq!(s.pull_or("a", other()).unwrap(), "x");
            assert_eq!(s.pull_or("a", other()).unwrap(), "other");
            assert_eq!(s.pull_or("null", other()).unwrap(), "other");
            assert!(matches!(
                s.pull_or("n", other()),
                Err(SessionError::Read(_))
            ));
            assert_eq!(object(s), json!({"n": 1}));
        })
        .await;
}

#[tokio::test]
async fn a_pull_of_another_type_fails_and_leaves_the_value() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.put("user", "ada").unwrap();
            let pulled: Result<Option<u8>, _> = s.pull("user");
            assert!(matches!(pulled, Err(SessionError::Read(_))));
            assert!(s.has("user").unwrap());
        })
        .await;
}

#[tokio::test]
async fn increment_and_decrement_count_from_nothing_and_from_null() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            assert_eq!(s.increment("visits").unwrap(), Number::Int(1));
            assert_eq!(s.increment_by("visits", 4).unwrap(), Number::Int(5));
            assert_eq!(s.decrement("visits").unwrap(), Number::Int(4));
            assert_eq!(s.decrement_by("visits", 6).unwrap(), Number::Int(-2));
            s.put("none", ()).unwrap();
            assert_eq!(s.increment("none").unwrap(), Number::Int(1));
        })
        .await;
    let all = browser.visit(async |s| object(s)).await;
    assert_eq!(all, json!({"visits": -2, "none": 1}));
}

#[tokio::test]
async fn a_value_other_than_a_number_cannot_be_incremented_and_stays() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.merge(json!({"t": "1", "l": [], "b": true, "big": i64::MAX}))
                .unwrap();
            for key in ["t", "l", "b"] {
                assert!(matches!(s.increment(key), Err(SessionError::Change(_))));
            }
            s.put("huge", u128::MAX).unwrap();
            assert!(s.increment("huge").is_err(), "an overflow is no wrap");
            s.forget("huge").unwrap();
            let sum: Number = s.increment("big").unwrap();
            assert_eq!(sum, Number::Int(i128::from(i64::MAX) + 1));
        })
        .await;
    let all = browser.visit(async |s| object(s)).await;
    assert_eq!(
        (&all["t"], &all["l"], &all["b"]),
        (&json!("1"), &json!([]), &json!(true))
    );
}

#[tokio::test]
async fn clear_removes_everything_and_what_follows_stays() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| s.merge(json!({"a": 1, "b": 2})))
        .await
        .unwrap();
    browser
        .visit(async |s| {
            s.clear().unwrap();
            assert!(s.is_empty().unwrap());
            s.put("c", 3).unwrap();
        })
        .await;
    assert_eq!(browser.visit(async |s| object(s)).await, json!({"c": 3}));
}

#[tokio::test]
async fn merge_is_deep_and_its_keys_are_literal() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.put("user.name", "ada")?;
            s.merge(json!({"user": {"email": "a@b"}, "a.b": 1}))
        })
        .await
        .unwrap();
    let all = browser.visit(async |s| object(s)).await;
    assert_eq!(
        all,
        json!({"user": {"name": "ada", "email": "a@b"}, "a.b": 1})
    );
}

#[tokio::test]
async fn every_supported_type_comes_back_as_it_went_in() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct User {
        id: u64,
        name: String,
        score: f64,
        tags: Vec<String>,
        maybe: Option<bool>,
    }
    let user = User {
        id: u64::MAX,
        name: "virk \u{1f600} \" \\ \n".to_owned(),
        score: 0.1,
        tags: vec!["a".into(), String::new()],
        maybe: None,
    };
    let (big, small) = (u128::MAX, i128::MIN);
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.put("user", &user)?;
            s.put("big", big)?;
            s.put("small", small)?;
            s.put("yes", true)
        })
        .await
        .unwrap();
    browser
        .visit(async |s| {
            assert_eq!(s.get("user").unwrap(), Some(user));
            assert_eq!(s.get("big").unwrap(), Some(big));
            assert_eq!(s.get("small").unwrap(), Some(small));
            assert_eq!(s.get("yes").unwrap(), Some(true));
        })
        .await;
}

#[tokio::test]
async fn a_date_becomes_an_iso_8601_string() {
    use hyper_session::document::IsoDate;
    let moment = std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_234);
    let mut browser = test_server(config()).browser();
    let visited: Option<String> = browser
        .visit(async |s| {
            s.put("visited_at", IsoDate::from(moment))?;
            s.get("visited_at")
        })
        .await
        .unwrap();
    assert_eq!(visited.as_deref(), Some("1970-01-01T00:00:01.234Z"));
}

#[tokio::test]
async fn a_date_is_read_back_as_the_time_that_was_stored() {
    use hyper_session::document::IsoDate;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};
    let mut browser = test_server(config()).browser();
    // Leap days, the ends of months and years, and the last date.
    for seconds in [
        0,
        951_782_399,
        951_868_799,
        1_709_251_199,
        4_107_542_399,
        253_402_300_799,
    ] {
        let moment = UNIX_EPOCH + Duration::new(seconds, 999_999_999);
        let read: Option<IsoDate> = browser
            .visit(async |s| {
                s.put("seen", IsoDate::from(moment))?;
                s.get("seen")
            })
            .await
            .unwrap();
        let read = SystemTime::from(read.unwrap());
        assert_eq!(read, UNIX_EPOCH + Duration::new(seconds, 999_000_000));
    }
    let not_dates = [
        "",
        "2026-11-23",
        "2026-11-23T08:30:00Z",
        "2026-11-23T08:30:00.000+",
        "2026-02-30T08:30:00.000Z",
        "2026-13-01T08:30:00.000Z",
        "2026-00-01T08:30:00.000Z",
        "2026-01-00T08:30:00.000Z",
        "2026-01-01T24:00:00.000Z",
        "1969-12-31T23:59:59.999Z",
        "+026-01-01T00:00:00.000Z",
        "2026-01-01T00:00:00.00éZ",
    ];
    for text in not_dates {
        let read: Result<Option<IsoDate>, _> = browser
            .visit(async |s| {
                s.put("seen", text)?;
                s.get("seen")
            })
            .await;
        assert!(matches!(read, Err(SessionError::Read(_))), "{text}");
    }
}

#[tokio::test]
async fn a_bare_system_time_is_refused_with_the_way_to_store_it() {
    use std::time::SystemTime;
    #[derive(serde::Serialize)]
    struct Profile {
        name: &'static str,
        seen: [Option<SystemTime>; 1],
    }
    let now = SystemTime::now();
    let profile = || Profile {
        name: "ada",
        seen: [Some(now)],
    };
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            for (refused, path) in [
                (s.put("seen", now), "\"seen\""),
                (s.put("user", profile()), "\"user.seen.0\""),
                (s.merge(profile()), "\"seen.0\""),
                (s.flash("seen", now), "\"seen\""),
                (s.flash_all_of(profile()), "\"seen.0\""),
            ] {
                let text = refused.unwrap_err().to_string();
                assert!(text.contains(path) && text.contains("IsoDate"), "{text}");
            }
            assert!(s.is_empty().unwrap());
        })
        .await;
}

#[tokio::test]
async fn values_are_passed_by_value_or_by_reference() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            let (n, name) = (1, "ada".to_owned());
            s.put("n", n + 1)?;
            let reference = &n;
            s.put("by_reference", reference)?;
            s.put("name", &name)?;
            s.put("slice", &name[1..])?;
            s.put("list", vec![Some(1), None])?;
            s.flash("notice", format!("Hello {name}."))?;
            s.flash("moved", name)
        })
        .await
        .unwrap();
    let (data, flashed): (Value, Value) = browser
        .visit(async |s| (object(s), s.flash_messages().unwrap().all().unwrap()))
        .await;
    let expected =
        json!({"n": 2, "by_reference": 1, "name": "ada", "slice": "da", "list": [1, null]});
    assert_eq!(data, expected);
    assert_eq!(flashed, json!({"notice": "Hello ada.", "moved": "ada"}));
}

#[tokio::test]
async fn keys_that_mean_something_elsewhere_are_ordinary_here() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.put("__proto__.polluted", 1)?;
            s.put("constructor.prototype", 2)
        })
        .await
        .unwrap();
    let all = browser.visit(async |s| object(s)).await;
    let expected = json!({"__proto__": {"polluted": 1}, "constructor": {"prototype": 2}});
    assert_eq!(all, expected);
}

#[tokio::test]
async fn a_hostile_index_is_refused_and_not_filled_with_nulls() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            assert!(s.put("a.4000000000", 1).is_err());
            s.put("b", [1]).unwrap();
            assert!(s.put("b.999999999", 1).is_err());
            assert_eq!(object(s), json!({"b": [1]}));
        })
        .await;
}

#[tokio::test]
async fn a_limit_that_is_reached_is_an_error_and_changes_nothing() {
    use hyper_session::patch::ChangeLimits;
    let limits = ChangeLimits::default()
        .operations(3)
        .bytes(200)
        .document(100);
    let mut browser = test_server(config().limits(limits)).browser();
    browser
        .visit(async |s| {
            s.put("a", 1).unwrap();
            assert!(s.put("b", "x".repeat(90)).is_err(), "the document's limit");
            assert!(s.put("b", "x".repeat(300)).is_err(), "the limit on bytes");
            s.put("b", 2).unwrap();
            s.put("c", 3).unwrap();
            assert!(s.put("d", 4).is_err(), "the limit on operations");
            assert!(s.flash("m", "x".repeat(200)).is_err(), "messages count too");
        })
        .await;
    let all = browser.visit(async |s| object(s)).await;
    assert_eq!(all, json!({"a": 1, "b": 2, "c": 3}));
}

#[tokio::test]
async fn methods_before_load_say_that_the_session_is_not_loaded() {
    let mut browser = test_server(config()).browser();
    browser
        .request(async |s| {
            let not_loaded = |error| matches!(error, SessionError::NotLoaded);
            assert!(s.get::<i32>("a").is_err_and(not_loaded));
            assert!(s.has("a").is_err_and(not_loaded));
            assert!(s.put("a", 1).is_err_and(not_loaded));
            assert!(s.clear().is_err_and(not_loaded));
            assert!(s.flash("a", 1).is_err_and(not_loaded));
            assert!(s.regenerate().is_err_and(not_loaded));
            assert!(s.flash_messages().is_err_and(not_loaded));
            assert!(s.tag("a").is_err_and(not_loaded));
            assert!(s.commit().await.is_err_and(not_loaded));
            assert!(!s.is_loaded());
        })
        .await;
}

/// A value that its `Serialize` writes with equal keys.
#[derive(Serialize)]
struct Profile {
    name: &'static str,
    #[serde(flatten)]
    extra: BTreeMap<&'static str, Value>,
}

#[tokio::test]
async fn of_equal_keys_in_a_value_every_method_sees_the_last() {
    let mut browser = test_server(config()).browser();
    let profile = || Profile {
        name: "first",
        extra: BTreeMap::from([("name", json!("last"))]),
    };
    browser
        .visit(async |s| {
            s.put("put", profile())?;
            s.merge(BTreeMap::from([("merged", profile())]))?;
            s.merge(profile())?;
            s.flash("flash", profile())?;
            s.flash_many(profile())
        })
        .await
        .unwrap();
    browser
        .visit(async |s| {
            let name = json!({"name": "last"});
            let expected = json!({"put": name, "merged": name, "name": "last"});
            assert_eq!(object(s), expected);
            for path in ["put.name", "merged.name", "name"] {
                assert_eq!(s.get::<String>(path).unwrap().as_deref(), Some("last"));
                s.forget(path).unwrap();
                assert!(!s.has(path).unwrap(), "{path}");
            }
            assert_eq!(object(s), json!({"put": {}, "merged": {}}));
            let messages = s.flash_messages().unwrap();
            let expected = r#"{"flash":{"name":"last"},"name":"last"}"#;
            assert_eq!(messages.as_json().unwrap(), expected);
        })
        .await;
}

#[tokio::test]
async fn a_number_that_is_not_finite_is_refused_and_changes_nothing() {
    let mut browser = test_server(config()).browser();
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    browser
        .visit(async |s| {
            for float in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                let nested = BTreeMap::from([("n", vec![float])]);
                for (refused, path) in [
                    (s.put("n", float), "n"),
                    (s.put("a.b", &nested), "a.b.n.0"),
                    (s.merge(&nested), "n.0"),
                    (s.flash("n", float), "n"),
                    (s.flash_many(&nested), "n.0"),
                    (s.flash_all_of(&nested), "n.0"),
                    (s.increment_by("n", float).map(drop), "n"),
                    (s.decrement_by("new", float).map(drop), "new"),
                ] {
                    let path = path.into();
                    let expected = ChangeError::Edit(EditError::NotFinite { path });
                    let Err(SessionError::Change(error)) = refused else {
                        panic!("{refused:?}");
                    };
                    assert_eq!(error, expected);
                }
            }
        })
        .await;
    browser
        .visit(async |s| {
            assert_eq!(object(s), json!({"n": 1}));
            assert_eq!(s.flash_messages().unwrap().as_json().unwrap(), "{}");
        })
        .await;
}
