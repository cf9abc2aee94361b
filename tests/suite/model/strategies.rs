//! Random values, paths and edits with many common keys.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::{Map, Value, json};

use super::reference::{Edit, Path};

const KEYS: &[&str] = &[
    "a",
    "b",
    "0",
    "1",
    "2",
    "a.b",
    "a[0]",
    "",
    "é",
    "q\"\\",
    "__proto__",
    "length",
    "01",
    "-1",
    "\n\u{1}",
];

pub(crate) fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => select(KEYS).prop_map(String::from),
        1 => select(&["1024", "1025", "4294967295", "9007199254740991", "99999999999999999999"][..])
            .prop_map(String::from),
        1 => ".{0,4}".prop_map(String::from),
    ]
}

pub(crate) fn path() -> impl Strategy<Value = Path> {
    prop_oneof![
        3 => vec(key(), 1..4).prop_map(|keys| Path::Text(keys.join("."))),
        2 => vec((key(), 0..4u8), 1..4).prop_map(|keys| Path::Text(join_keys(&keys))),
        1 => vec(key(), 0..4).prop_map(Path::Keys),
        1 => "[ab01.\\[\\]\"'\\\\-]{0,12}".prop_map(Path::Text),
    ]
}

fn join_keys(keys: &[(String, u8)]) -> String {
    let mut text = String::new();
    for (key, form) in keys {
        text += &match form {
            0 => format!("[{key}]"),
            1 => format!("[\"{}\"]", key.replace('\\', "\\\\").replace('"', "\\\"")),
            2 => format!(".{key}"),
            _ => key.clone(),
        };
    }
    text
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3..100i64).prop_map(Value::from),
        select(&[i64::MIN, i64::MAX][..]).prop_map(Value::from),
        Just(Value::from(u64::MAX)),
        select(&[0.5, -2.25, 1e21, 5e-324, 1.0][..]).prop_map(Value::from),
        key().prop_map(Value::from),
    ]
}

pub(crate) fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((key(), inner), 0..4).prop_map(|members| Map::from_iter(members).into()),
        ]
    })
}

pub(crate) fn object() -> impl Strategy<Value = Value> {
    vec((key(), value()), 0..12).prop_map(|members| Map::from_iter(members).into())
}

/// Returns a value that is often an element of an array already.
fn element() -> impl Strategy<Value = Value> {
    let common = [
        json!(1),
        json!(1.0),
        json!("a"),
        json!({"a": 1, "b": [2]}),
        json!([]),
    ];
    prop_oneof![3 => select(common.to_vec()), 1 => value()]
}

pub(crate) fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => (path(), value()).prop_map(|(path, value)| Edit::Put(path, value)),
        3 => path().prop_map(Edit::Forget),
        2 => (path(), -5..5i64).prop_map(|(path, by)| Edit::Add(path, by)),
        1 => (path(), -5..5i64).prop_map(|(path, by)| Edit::Subtract(path, by)),
        2 => object().prop_map(Edit::Merge),
        1 => object().prop_map(Edit::Replace),
        1 => (path(), value()).prop_map(|(path, value)| Edit::PutIfAbsent(path, value)),
        2 => (path(), element()).prop_map(|(path, value)| Edit::Push(path, value)),
        2 => (path(), element()).prop_map(|(path, value)| Edit::PushUnique(path, value)),
        2 => (path(), element()).prop_map(|(path, value)| Edit::RemoveValue(path, value)),
    ]
}

pub(crate) fn edits(max: usize) -> impl Strategy<Value = Vec<Edit>> {
    vec(edit(), 0..=max)
}
