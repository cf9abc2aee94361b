//! Whole sessions as values of a type: `replace`, `update_all` and `Typed`.

use std::collections::BTreeMap;

use hyper_session::{
    Session, SessionError, Typed, document::EditError, patch::ChangeError, session::ConflictReason,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    conflicts::{overlap, visitor},
    merging::merged,
};
use crate::{
    model::strategies::object,
    support::{Call, config, data, test_server},
};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct UserSession {
    theme: String,
    list: Vec<u8>,
    profile: Profile,
    carts: BTreeMap<u64, Cart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    draft: Option<String>,
    email: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Profile {
    name: String,
    city: String,
}

/// A value without defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Cart {
    count: u32,
    note: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Payment {
    #[default]
    Open,
    Card(u32),
    Cash {
        paid: bool,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Order {
    payment: Payment,
}

fn change<T>(update: impl FnOnce(&mut T)) -> impl AsyncFnOnce(&Session)
where
    T: Serialize + serde::de::DeserializeOwned + 'static,
{
    async move |s: &Session| drop(s.update_all(update).unwrap())
}

#[tokio::test]
async fn replace_leaves_nothing_of_the_old_values() {
    let server = test_server(config());
    let before = json!({"list": [1, 2], "old": true, "profile": {"name": "ada", "age": 3}});
    let mut browser = visitor(&server, before).await;
    let user = UserSession {
        list: vec![9],
        ..UserSession::default()
    };
    browser
        .visit(async |s| {
            s.put("dropped", 1).unwrap();
            s.replace(&user).unwrap();
            assert_eq!(s.all::<UserSession>().unwrap(), user);
            assert_eq!(s.all::<Value>().unwrap(), json!(user));
        })
        .await;
    assert_eq!(data(&mut browser).await, json!(user));
    browser.visit(async |s| s.replace(json!({}))).await.unwrap();
    assert_eq!(data(&mut browser).await, json!({}));
}

#[tokio::test]
async fn replace_keeps_what_another_request_wrote_beside_it() {
    let before = json!({"list": [1, 2], "seen": 1, "other": 1});
    let after = merged(
        before,
        async |s| s.replace(json!({"list": [9], "a": {"b": 1}})).unwrap(),
        async |s| {
            s.put("list", [1, 2, 3, 4]).unwrap();
            s.put("other", 2).unwrap();
            s.put("new", 3).unwrap();
            s.put("a", json!({"c": 2})).unwrap();
        },
    )
    .await;
    assert_eq!(
        after,
        json!({"other": 2, "new": 3, "list": [9], "a": {"b": 1}})
    );
}

/// A fragment of a member that `replace` removes would not be a value of its type.
#[tokio::test]
async fn replace_leaves_no_fragment_of_a_member_that_another_request_changed() {
    let before =
        json!({"profile": {"name": "ada", "city": "x"}, "carts": {"7": {"count": 1}}, "old": 1});
    let nested = async |s: &Session| {
        s.put("profile.city", "y").unwrap();
        s.put("carts.7.count", 2).unwrap();
    };
    let replace = async |s: &Session| s.replace(json!({"profile": {"name": "eve"}})).unwrap();
    let expected = json!({"profile": {"name": "eve"}, "carts": {"7": {"count": 2}}});
    assert_eq!(merged(before.clone(), replace, nested).await, expected);

    // `replace` after `clear`, and operations after `replace`.
    let cleared = async |s: &Session| {
        s.clear().unwrap();
        s.replace(json!({"profile": {"name": "eve"}})).unwrap();
        s.put("theme", "dark").unwrap();
    };
    let expected = json!({
        "carts": {"7": {"count": 2}},
        "profile": {"name": "eve"},
        "theme": "dark"
    });
    assert_eq!(merged(before, cleared, nested).await, expected);
}

#[tokio::test]
async fn a_replace_that_fails_changes_nothing() {
    let server = test_server(config());
    let mut browser = visitor(&server, json!({"n": 1})).await;
    browser
        .visit(async |s| {
            s.put("kept", 1).unwrap();
            let error = s.replace([1]).unwrap_err();
            let SessionError::Change(ChangeError::Edit(EditError::NotAnObject)) = error else {
                panic!("{error:?}");
            };
            s.replace(json!({"large": "x".repeat(2 << 20)}))
                .unwrap_err();
        })
        .await;
    assert_eq!(data(&mut browser).await, json!({"n": 1, "kept": 1}));
}

#[tokio::test]
async fn changes_of_different_fields_are_both_stored() {
    let before = UserSession {
        carts: BTreeMap::from([(
            7,
            Cart {
                count: 1,
                note: "a".into(),
            },
        )]),
        email: Some("ada@example.org".into()),
        ..UserSession::default()
    };
    let after = merged(
        json!(before),
        change(|user: &mut UserSession| {
            user.theme = "dark".into();
            user.profile.name = "Ada".into();
            user.carts.get_mut(&7).unwrap().count = 2;
            user.email = None;
        }),
        change(|user: &mut UserSession| {
            user.list.push(5);
            user.profile.city = "London".into();
            user.carts.get_mut(&7).unwrap().note = "b".into();
            user.carts.insert(
                8,
                Cart {
                    count: 8,
                    note: String::new(),
                },
            );
            user.draft = Some("text".into());
        }),
    )
    .await;
    let expected = UserSession {
        theme: "dark".into(),
        list: vec![5],
        profile: Profile {
            name: "Ada".into(),
            city: "London".into(),
        },
        carts: BTreeMap::from([
            (
                7,
                Cart {
                    count: 2,
                    note: "b".into(),
                },
            ),
            (
                8,
                Cart {
                    count: 8,
                    note: String::new(),
                },
            ),
        ]),
        draft: Some("text".into()),
        email: None,
    };
    assert_eq!(after, json!(expected));
}

#[tokio::test]
async fn a_removed_field_does_not_come_back_and_fields_of_others_stay() {
    let before = json!({"draft": "x", "theme": "dark", "foreign": {"n": 1}});
    let after = merged(
        before,
        change(|user: &mut UserSession| user.draft = None),
        change(|user: &mut UserSession| user.theme = "light".into()),
    )
    .await;
    assert_eq!(after, json!({"theme": "light", "foreign": {"n": 1}}));
}

#[tokio::test]
async fn a_map_with_number_keys_never_becomes_an_array() {
    let insert = |key| {
        change(move |user: &mut UserSession| {
            user.carts.insert(
                key,
                Cart {
                    count: 1,
                    note: String::new(),
                },
            );
        })
    };
    let cart = json!({"count": 1, "note": ""});
    let after = merged(json!({"theme": ""}), insert(0), insert(3)).await;
    assert_eq!(after, json!({"theme": "", "carts": {"0": cart, "3": cart}}));
    let clear = async |s: &Session| s.forget("carts").unwrap();
    let before = json!({"theme": "", "carts": {"1": cart}});
    let after = merged(before, insert(0), clear).await;
    assert_eq!(after, json!({"theme": "", "carts": {"0": cart}}));
}

#[tokio::test]
async fn without_a_difference_nothing_is_stored() {
    let server = test_server(config());
    let mut browser = visitor(&server, json!({"theme": "dark"})).await;
    server.store.calls();
    browser
        .visit(async |s| {
            let user = s
                .update_all(|user: &mut UserSession| user.theme = "dark".into())
                .unwrap();
            assert_eq!(user.theme, "dark");
            assert!(!s.is_modified());
        })
        .await;
    assert!(!server.store.calls().contains(&Call::Write));
}

#[tokio::test]
async fn fields_that_form_no_value_of_the_type_together_are_a_conflict() {
    let remove = || async |s: &Session| s.forget("carts.7").unwrap();
    let count = || change(|user: &mut UserSession| user.carts.get_mut(&7).unwrap().count = 2);
    let server = test_server(config());
    let before = json!({"carts": {"7": {"count": 1, "note": "a"}}, "theme": ""});
    let browser = visitor(&server, before).await;
    let (status, _) = overlap(&browser, count(), remove()).await;
    assert_eq!(status, 409);
    assert_eq!(
        data(&mut browser.clone()).await,
        json!({"carts": {}, "theme": ""})
    );

    // Both requests choose another variant.
    let server = test_server(config());
    let browser = visitor(&server, json!({"payment": {"Card": 1}})).await;
    let mut other = browser.clone();
    browser
        .clone()
        .visit(async |s| {
            s.update_all(|order: &mut Order| order.payment = Payment::Cash { paid: true })
                .unwrap();
            other
                .visit(async |s| s.put("payment", json!({"Cash": {"paid": false, "x": 1}})))
                .await
                .unwrap();
            s.commit().await.unwrap();
            s.update_all(|order: &mut Order| order.payment = Payment::Card(1))
                .unwrap();
            other
                .visit(async |s| s.put(["payment", "Cheque"], 1))
                .await
                .unwrap();
            let error = s.commit().await.unwrap_err();
            let SessionError::Conflict { reason, .. } = &error else {
                panic!("{error:?}");
            };
            let fits = matches!(
                reason,
                ConflictReason::Edit(EditError::FieldsDoNotFit { .. })
            );
            assert!(fits, "{reason:?}");
        })
        .await;
}

#[tokio::test]
async fn an_update_that_panics_or_reads_another_type_changes_nothing() {
    let server = test_server(config());
    let mut browser = visitor(&server, json!({"theme": 5})).await;
    browser
        .visit(async |s| {
            let result = s.update_all(|_: &mut UserSession| panic!("not called"));
            assert!(matches!(result, Err(SessionError::Read(_))), "{result:?}");
            let result = s.update_all(|list: &mut Value| *list = json!([1]));
            let refused = Err(SessionError::Change(ChangeError::Edit(
                EditError::NotAnObject,
            )));
            assert_eq!(
                format!("{result:?}"),
                format!("{:?}", refused.map(|()| json!(null)))
            );
            assert!(!s.is_modified());
        })
        .await;
}

#[tokio::test]
async fn a_typed_session_updates_and_reads_its_values() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser
        .request(async |session| {
            let mut user: Typed<UserSession> = Typed::load(&session).await.unwrap();
            assert_eq!(*user, UserSession::default());
            let len = user.update(|user| {
                user.theme = "dark".into();
                user.theme.len()
            });
            assert_eq!(len.unwrap(), 4);
            assert_eq!(user.theme, "dark");
            // An update sees what other handles changed.
            user.session().put("list", [1]).unwrap();
            user.update(|user| user.list.push(2)).unwrap();
            assert_eq!(user.list, [1, 2]);
            assert!(!format!("{user:?}").contains("dark"));
            assert_eq!(user.into_inner().list, [1, 2]);
        })
        .await;
    assert_eq!(
        data(&mut browser).await,
        json!({"theme": "dark", "list": [1, 2]})
    );
}

#[tokio::test]
async fn a_typed_session_keeps_its_values_if_an_update_fails() {
    let server = test_server(config());
    let mut browser = server.browser();
    browser
        .request(async |session| {
            let mut user: Typed<UserSession> = Typed::load(&session).await.unwrap();
            user.update(|user| user.theme = "x".repeat(2 << 20))
                .unwrap_err();
            assert_eq!(*user, UserSession::default());
            assert!(!session.is_modified());
        })
        .await;
}

fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(test);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn replace_is_the_inverse_of_all(before in object(), after in object()) {
        block_on(async {
            let server = test_server(config());
            let mut browser = visitor(&server, before).await;
            browser.visit(async |s| s.replace(&after)).await.unwrap();
            let read: Value = browser.visit(async |s| s.all()).await.unwrap();
            // A parse of the text is what `all` returns: it reads -0 and large numbers in its own way.
            let expected: Value = serde_json::from_str(&after.to_string()).unwrap();
            assert_eq!(read, expected);
        });
    }

    #[test]
    fn changed_fields_lead_to_the_new_value(before in object(), after in object(), third in object()) {
        block_on(async {
            let server = test_server(config());
            let mut browser = visitor(&server, before).await;
            for values in [&after, &third, &after] {
                browser
                    .visit(async |s| {
                        s.update_all(|all: &mut Map<String, Value>| *all = values.as_object().unwrap().clone())
                            .map(drop)
                    })
                    .await
                    .unwrap();
                let read: Value = browser.visit(async |s| s.all()).await.unwrap();
                assert_eq!(read, *values);
            }
        });
    }
}
