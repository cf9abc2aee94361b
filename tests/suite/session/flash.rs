//! Flash messages exist in the next request that loads the session, and in no later one.

use std::collections::BTreeMap;

use hyper_session::{Session, session::Snapshot};
use serde_json::{Value, json};

use crate::support::{Browser, config, test_server};

/// Loads the session and returns its flash messages.
async fn messages(browser: &mut Browser) -> Value {
    browser.visit(async |s| flash_messages(s)).await
}

fn flash_messages(session: &Session) -> Value {
    session
        .flash_messages()
        .and_then(|all: Snapshot| all.all())
        .unwrap()
}

#[tokio::test]
async fn a_message_is_shown_once() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.flash(
                "notification",
                json!({"type": "success", "message": "Thanks"}),
            )
            .unwrap();
            assert_eq!(
                flash_messages(s),
                json!({}),
                "not in the request that flashed it"
            );
        })
        .await;
    browser
        .visit(async |s| {
            let messages = s.flash_messages().unwrap();
            assert!(messages.has("notification.type").unwrap());
            assert!(!messages.has("other").unwrap());
            assert_eq!(
                messages.get("notification.message").unwrap(),
                Some("Thanks")
            );
        })
        .await;
    assert_eq!(messages(&mut browser).await, json!({}));
}

#[tokio::test]
async fn a_message_waits_for_the_request_that_opens_the_session() {
    let mut browser = test_server(config()).browser();
    browser.visit(async |s| s.flash("m", 1)).await.unwrap();
    browser.pass().await;
    browser.pass().await;
    browser
        .request(async |s| {
            s.load_read_only().await.unwrap();
            assert_eq!(
                flash_messages(&s),
                json!({"m": 1}),
                "reading removes nothing"
            );
        })
        .await;
    assert_eq!(messages(&mut browser).await, json!({"m": 1}));
    assert_eq!(messages(&mut browser).await, json!({}));
}

#[tokio::test]
async fn messages_are_no_part_of_the_data() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.put("a", 1).unwrap();
            s.flash("b", 2).unwrap();
        })
        .await;
    let all: Value = browser.visit(async |s| s.all()).await.unwrap();
    assert_eq!(all, json!({"a": 1}));
}

#[tokio::test]
async fn falsy_values_are_kept() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.flash("zero", 0)?;
            s.flash("no", false)?;
            s.flash("text", "")
        })
        .await
        .unwrap();
    let expected = json!({"zero": 0, "no": false, "text": ""});
    assert_eq!(messages(&mut browser).await, expected);
}

#[tokio::test]
async fn many_messages_at_once_merge_and_their_keys_are_literal() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.flash_many(json!({"errors": {"a": 1}, "x.y": 1}))?;
            s.flash_many(json!({"errors": {"b": 2}}))?;
            s.flash("deep.down", 3)
        })
        .await
        .unwrap();
    let expected = json!({"errors": {"a": 1, "b": 2}, "x.y": 1, "deep": {"down": 3}});
    assert_eq!(messages(&mut browser).await, expected);
}

fn form() -> Value {
    json!({"username": "virk", "email": "v@x.io", "password": "s3cret"})
}

#[tokio::test]
async fn flash_all_leaves_the_whole_input() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| s.flash_all_of(form()))
        .await
        .unwrap();
    assert_eq!(messages(&mut browser).await, form());
}

#[tokio::test]
async fn flash_only_leaves_the_fields_that_are_named() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| s.flash_only_of(form(), &["username", "email", "absent"]))
        .await
        .unwrap();
    let expected = json!({"username": "virk", "email": "v@x.io"});
    assert_eq!(messages(&mut browser).await, expected);
}

#[tokio::test]
async fn flash_except_leaves_all_other_fields() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| s.flash_except_of(form(), &["password"]))
        .await
        .unwrap();
    let expected = json!({"username": "virk", "email": "v@x.io"});
    assert_eq!(messages(&mut browser).await, expected);
}

#[tokio::test]
async fn of_several_inputs_the_last_counts_and_messages_win_over_input() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.flash("username", "message")?;
            s.flash_all_of(json!({"gone": 1}))?;
            s.flash_all_of(form())
        })
        .await
        .unwrap();
    let mut expected = form();
    expected["username"] = json!("message");
    assert_eq!(messages(&mut browser).await, expected);
}

#[tokio::test]
async fn input_that_is_no_object_is_refused() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            assert!(s.flash_all_of([1, 2]).is_err());
            assert!(s.flash_many("text").is_err());
        })
        .await;
    assert_eq!(messages(&mut browser).await, json!({}));
}

async fn three_messages() -> Browser {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| s.flash_many(json!({"a": {"x": 1, "y": 2}, "b": 2, "c.d": 3})))
        .await
        .unwrap();
    browser
}

#[tokio::test]
async fn reflash_keeps_all_messages_for_one_more_request() {
    let mut browser = three_messages().await;
    browser.visit(async |s| s.reflash()).await.unwrap();
    let expected = json!({"a": {"x": 1, "y": 2}, "b": 2, "c.d": 3});
    assert_eq!(messages(&mut browser).await, expected);
    assert_eq!(messages(&mut browser).await, json!({}));
}

#[tokio::test]
async fn reflash_only_keeps_what_is_named_by_path_or_whole_key() {
    let mut browser = three_messages().await;
    browser
        .visit(async |s| s.reflash_only(&["a.x", "c.d", "absent"]))
        .await
        .unwrap();
    let expected = json!({"a": {"x": 1}, "c.d": 3});
    assert_eq!(messages(&mut browser).await, expected);
}

#[tokio::test]
async fn reflash_except_keeps_all_the_rest() {
    let mut browser = three_messages().await;
    browser
        .visit(async |s| s.reflash_except(&["a.x", "c.d"]))
        .await
        .unwrap();
    assert_eq!(messages(&mut browser).await, json!({"a": {"y": 2}, "b": 2}));
}

#[tokio::test]
async fn reflashed_messages_give_way_to_new_ones_of_their_name() {
    let mut browser = three_messages().await;
    browser
        .visit(async |s| {
            s.flash("b", "new")?;
            s.reflash()
        })
        .await
        .unwrap();
    assert_eq!(messages(&mut browser).await["b"], json!("new"));
}

#[tokio::test]
async fn reflash_without_messages_leaves_none_and_stores_nothing() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser.visit(async |s| s.reflash()).await.unwrap();
    assert_eq!(server.memory.stats().records, 0);
}

#[tokio::test]
async fn messages_survive_a_clear_and_a_regenerate() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.flash("m", 1)?;
            s.clear()?;
            s.regenerate()
        })
        .await
        .unwrap();
    assert_eq!(messages(&mut browser).await, json!({"m": 1}));
}

#[tokio::test]
async fn a_message_left_after_destroy_is_the_next_visitors_own() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.put("user", "ada")?;
            s.flash("old", 1)
        })
        .await
        .unwrap();
    browser
        .visit(async |s| {
            s.flash("lost", 1)?;
            s.destroy()?;
            s.flash("bye", 1)
        })
        .await
        .unwrap();
    browser
        .visit(async |s| {
            assert_eq!(flash_messages(s), json!({"bye": 1}));
            assert!(s.is_empty().unwrap());
        })
        .await;
}

#[tokio::test]
async fn a_message_left_before_an_explicit_commit_is_not_lost_by_the_last_one() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.flash("a", 1).unwrap();
            s.commit().await.unwrap();
            s.put("x", 1).unwrap();
            s.flash("b", 2).unwrap();
        })
        .await;
    assert_eq!(messages(&mut browser).await, json!({"a": 1, "b": 2}));
    assert_eq!(messages(&mut browser).await, json!({}));
}

#[tokio::test]
async fn a_message_that_was_read_does_not_come_back_by_an_explicit_commit() {
    let mut browser = test_server(config()).browser();
    browser.visit(async |s| s.flash("a", 1)).await.unwrap();
    browser
        .visit(async |s| {
            s.commit().await.unwrap();
            s.put("x", 1).unwrap();
        })
        .await;
    assert_eq!(messages(&mut browser).await, json!({}));
}

/// Flashes `input` except the fields that `keys` name, and returns the old input.
async fn old_input_except(input: Value, keys: &[&str]) -> Value {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| s.flash_except_of(input, keys))
        .await
        .unwrap();
    messages(&mut browser).await
}

#[tokio::test]
async fn flash_except_takes_paths_into_nested_input() {
    let input = json!({
        "user": {"name": "ada", "password": "secret", "old": {"password": "kept"}},
        "users": [{"name": "ada", "password": "secret"}, {"password": "kept"}],
        "password": "kept",
    });
    let left = old_input_except(input, &["user.password", "users[0].password"]).await;
    let expected = json!({
        "user": {"name": "ada", "old": {"password": "kept"}},
        "users": [{"name": "ada"}, {"password": "kept"}],
        "password": "kept",
    });
    assert_eq!(left, expected);
}

#[tokio::test]
async fn flash_except_leaves_out_a_field_in_every_spelling() {
    let spellings = [
        json!({"a": {"b": {"c": "secret"}}}),
        json!({"a.b.c": "secret"}),
        json!({"a[b][c]": "secret"}),
        json!({"a": {"b.c": "secret"}}),
        json!({"a": {"b[c]": "secret"}}),
        json!({"a.b": {"c": "secret"}}),
        json!({"a[\"b\"]": {"c": "secret"}}),
    ];
    let mut all = json!({"kept": 1, "a.b": {"kept": 2}});
    for spelling in &spellings {
        for path in ["a.b.c", "a[b][c]", "a.b[c]", "a[\"b\"].c"] {
            let left = old_input_except(spelling.clone(), &[path])
                .await
                .to_string();
            assert!(!left.contains("secret"), "{path} in {spelling}: {left}");
        }
        for (key, value) in spelling.as_object().unwrap() {
            if key != "a" && key != "a.b" {
                all[key] = value.clone();
            }
        }
    }
    all["a"] = json!({"b": {"c": "secret"}, "b.c": "secret", "kept": 3});
    all["a.b"]["c"] = "secret".into();
    let left = old_input_except(all, &["a.b.c"]).await;
    assert!(!left.to_string().contains("secret"), "{left}");
    assert_eq!(
        (&left["kept"], &left["a.b"]["kept"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(left["a"]["kept"], 3);
}

#[tokio::test]
async fn flash_except_leaves_out_all_fields_of_a_list() {
    let input = json!({"codes": ["secret", "secret"], "kept": 1});
    let left = old_input_except(input, &["codes[]"]).await;
    assert_eq!(left, json!({"kept": 1}));
    let input = json!({"users": [{"pin": "secret", "n": 1}, {"pin": "secret", "n": 2}]});
    let left = old_input_except(input, &["users[].pin"]).await;
    assert_eq!(left, json!({"users": [{"n": 1}, {"n": 2}]}));
}

#[tokio::test]
async fn flash_only_takes_paths_into_nested_input() {
    let mut browser = test_server(config()).browser();
    let input = json!({"user": {"name": "ada", "password": "secret"}, "a.b": 1, "c": 2});
    browser
        .visit(async |s| s.flash_only_of(input, &["user.name", "a.b", "absent.field"]))
        .await
        .unwrap();
    let left = messages(&mut browser).await;
    assert_eq!(left, json!({"user": {"name": "ada"}, "a.b": 1}));
}

#[tokio::test]
async fn reflash_except_leaves_out_a_message_in_every_spelling() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.flash(["a.b"], 1).unwrap();
            s.flash("a.c", 2).unwrap();
            s.flash_many(json!({"a": {"b": 3}})).unwrap();
        })
        .await;
    browser
        .visit(async |s| s.reflash_except(&["a.b"]))
        .await
        .unwrap();
    assert_eq!(messages(&mut browser).await, json!({"a": {"c": 2}}));
}

#[tokio::test]
async fn errors_by_code_are_added_to_their_bag() {
    let mut browser = test_server(config()).browser();
    browser
        .visit(async |s| {
            s.flash_errors([("E_PAYMENT", "declined"), ("a.b", "literal")])?;
            s.flash_errors(BTreeMap::from([("E_STOCK".to_owned(), ["one", "two"])]))?;
            s.flash_errors(Vec::<(&str, &str)>::new())?;
            s.flash("errorsBag.E_PAYMENT", "refused")
        })
        .await
        .unwrap();
    let errors = json!({"E_PAYMENT": "refused", "a.b": "literal", "E_STOCK": ["one", "two"]});
    assert_eq!(messages(&mut browser).await, json!({"errorsBag": errors}));
}

#[tokio::test]
async fn secret_fields_are_flashed_by_no_method() {
    let settings = config()
        .secret_fields(["Card", "cvc"])
        .secret_fields(["iban"]);
    let mut browser = test_server(settings).browser();
    let input = json!({
        "name": "ada",
        "card": "4711",
        "cards": [{"CARD": 1, "kept": [1, {"iban": 2}]}, ["card"]],
        "user": {"card": {"number": 1}, "cvc": null, "mail": "a@b.c"},
        "user[cvc]": 7,
        "pay.iban": 8,
        "cardinal": 9,
        "big": u64::MAX,
    });
    let expected = json!({
        "name": "ada",
        "cards": [{"kept": [1, {}]}, ["card"]],
        "user": {"mail": "a@b.c"},
        "cardinal": 9,
        "big": u64::MAX,
    });
    let all = [
        "name",
        "card",
        "cards",
        "user",
        "user[cvc]",
        "pay.iban",
        "cardinal",
        "big",
    ];
    for how in 0..3 {
        browser
            .visit(async |s| match how {
                0 => s.flash_all_of(&input),
                1 => s.flash_only_of(&input, &all),
                _ => s.flash_except_of(&input, &["none"]),
            })
            .await
            .unwrap();
        assert_eq!(messages(&mut browser).await, expected, "{how}");
    }
    browser
        .visit(async |s| s.flash("card", "a message"))
        .await
        .unwrap();
    assert_eq!(messages(&mut browser).await, json!({"card": "a message"}));
}

#[test]
fn secret_fields_are_read_from_a_file() {
    let settings: hyper_session::SessionConfig =
        toml::from_str("secret_fields = ['card']").unwrap();
    assert_eq!(settings.secret_fields, ["card"]);
}
