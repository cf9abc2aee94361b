//! Random edits, compared with a reference model.

use hyper_session::document::Document;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::model::{
    exact, real,
    reference::{self, Edit, Path},
    strategies::{edits, object, path},
};

/// Returns steps of a kind, an index and a text.
fn steps() -> impl Strategy<Value = Vec<(u8, usize, String)>> {
    prop::collection::vec((0_u8..10, 0_usize..10, "[a-z]{0,12}"), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn edits_do_what_the_model_does(start in object(), edits in edits(12)) {
        let mut document = Document::parse(start.to_string().as_bytes()).unwrap();
        let mut model = exact::Value::from(&start);
        for edit in &edits {
            let expected = reference::edit(&mut model, edit);
            let before = document.text().to_vec();
            let done = real::edit(&mut document, edit);
            prop_assert_eq!(done.is_ok(), expected.is_ok(), "{:?}: {:?}", edit, done);
            prop_assert_eq!(&real::checked_value(&document), &model, "{:?}", edit);
            if done.is_err() {
                prop_assert_eq!(document.text(), before, "a refused edit changed something");
            }
            document = real::reload(&document);
        }
    }

    #[test]
    fn reads_find_what_the_model_finds(start in object(), path in path()) {
        let document = Document::parse(start.to_string().as_bytes()).unwrap();
        let model = exact::Value::from(&start);
        let expected = reference::get(&model, &path);
        let found = real::get(&document, &path).unwrap();
        let found = found.map(|raw| exact::Value::parse(raw.as_json().unwrap()));
        prop_assert_eq!(found.as_ref(), expected);
        let has = real::has(&document, &path).unwrap();
        prop_assert_eq!(has, expected.is_some_and(|value| !value.is_null()));
    }

    #[test]
    fn elements_are_found_between_edits_of_their_array(steps in steps()) {
        let mut document = Document::parse(br#"{"o":{"b":[]},"a":[]}"#).unwrap();
        let mut model = json!({"o": {"b": []}, "a": []});
        for (step, at, text) in steps {
            let (path, pointer) = [("a", "/a"), ("o.b", "/o/b")][usize::from(step % 2)];
            let array = model.pointer_mut(pointer).unwrap().as_array_mut().unwrap();
            let element = format!("{path}.{at}");
            match step / 2 {
                0 => {
                    array.push(json!(text));
                    let push = Edit::Push(Path::Text(path.to_owned()), json!(text));
                    real::edit(&mut document, &push).unwrap();
                }
                1 if at <= array.len() => {
                    array.resize(array.len().max(at + 1), Value::Null);
                    array[at] = json!(text);
                    document.put(element.as_str(), &text).unwrap();
                }
                2 => {
                    array.get_mut(at).map(Value::take);
                    document.forget(element.as_str()).unwrap();
                }
                3 => {
                    document.put("o.c", &text).unwrap();
                    model["o"]["c"] = json!(text);
                }
                _ => {}
            }
            for at in [at, at + 1, 0, at / 2] {
                let found = document.get(format!("{path}.{at}").as_str()).unwrap();
                let found = found.map(|raw| raw.deserialize::<Value>().unwrap());
                prop_assert_eq!(found.as_ref(), model.pointer(&format!("{pointer}/{at}")));
            }
            prop_assert_eq!(&document.deserialize::<Value>().unwrap(), &model);
        }
    }

    #[test]
    fn any_spelling_of_an_object_becomes_one(start in object()) {
        let compact = Document::parse(start.to_string().as_bytes()).unwrap();
        let pretty = serde_json::to_string_pretty(&start).unwrap();
        prop_assert_eq!(&Document::parse(pretty.as_bytes()).unwrap(), &compact);
        let escaped = pretty.replace("\"a\"", "\"\\u0061\"");
        prop_assert_eq!(&Document::parse(escaped.as_bytes()).unwrap(), &compact);
    }

    #[test]
    fn damaged_bytes_are_refused_or_read_as_something_but_never_panic(
        start in object(),
        edits in edits(3),
        path in path(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        in_index in any::<bool>(),
    ) {
        let document = Document::parse(start.to_string().as_bytes()).unwrap();
        let (mut text, mut index) = (document.text().to_vec(), Vec::new());
        document.write_index(&mut index);
        let bytes = if in_index && !index.is_empty() { &mut index } else { &mut text };
        for (at, byte) in damage {
            *at.get_mut(bytes.as_mut_slice()) = byte;
        }
        let Ok(mut document) = Document::from_parts(text.into(), index.into()) else {
            return Ok(());
        };
        let _ = real::get(&document, &path).map(|found| found.map(|raw| raw.deserialize::<Value>()));
        let _ = document.deserialize::<Value>();
        document.members().for_each(drop);
        for edit in &edits {
            let _ = real::edit(&mut document, edit);
        }
    }
}

#[test]
fn the_model_agrees_with_the_examples_of_the_documentation() {
    let mut value = exact::Value::from(&json!({}));
    let put = |text: &str| reference::Edit::Put(reference::Path::Text(text.into()), 1.into());
    for text in ["user.roles[0]", "a[\"b.c\"]", "x."] {
        reference::edit(&mut value, &put(text)).unwrap();
    }
    assert_eq!(
        value,
        exact::Value::from(&json!({"user": {"roles": [1]}, "a": {"b.c": 1}, "x": {"": 1}}))
    );
}

#[test]
fn the_model_adds_integers_beyond_64_bits_exactly() {
    let start = json!({"n": u64::MAX});
    let mut document = Document::parse(start.to_string().as_bytes()).unwrap();
    let mut model = exact::Value::from(&start);
    for by in [i64::MAX, 3, -1, i64::MIN, -2, i64::MAX, 1] {
        let add = reference::Edit::Add(reference::Path::Text("n".into()), by);
        reference::edit(&mut model, &add).unwrap();
        real::edit(&mut document, &add).unwrap();
        assert_eq!(real::checked_value(&document), model, "{by}");
    }
    for (text, by, sum) in [
        (
            "170141183460469231731687303715884105727",
            1,
            Some("170141183460469231731687303715884105728"),
        ),
        (
            "170141183460469231731687303715884105728",
            -1,
            Some("170141183460469231731687303715884105727"),
        ),
        ("340282366920938463463374607431768211455", 1, None),
        ("-170141183460469231731687303715884105728", -1, None),
    ] {
        assert_eq!(
            exact::Value::parse(text).plus(by),
            sum.map(exact::Value::parse)
        );
    }
}
