//! Any bytes as a document, any text as a path: reads and edits do what a plain model does.
//!
//! The input is lines: the document, then a path and a value by turns. What is no JSON is still used
//! as stored bytes, and must only not panic.
#![no_main]

#[path = "../../tests/suite/model/reference.rs"]
mod reference;
#[path = "../../tests/suite/model/real.rs"]
mod real;

use bytes::Bytes;
use hyper_session::document::Document;
use libfuzzer_sys::fuzz_target;
use reference::{Edit, Path};
use serde_json::Value;

fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|byte| *byte == b'\n');
    let text = lines.next().unwrap_or_default();
    damaged(text, input);
    let Ok(mut document) = Document::parse(text) else {
        return;
    };
    let mut model: Value = document.deserialize().expect("what was parsed reads");
    while let (Some(path), Some(value)) = (lines.next(), lines.next()) {
        let Ok(path) = std::str::from_utf8(path).map(|path| Path::Text(path.to_owned())) else {
            return;
        };
        read(&document, &model, &path);
        let edit = match serde_json::from_slice(value) {
            Ok(Value::Object(values)) if path_is(&path, "") => Edit::Merge(values.into()),
            Ok(value) => Edit::Put(path, value),
            Err(_) if value.len() < 3 => Edit::Add(path, value.len() as i64),
            Err(_) => Edit::Forget(path),
        };
        let before = document.text().to_vec();
        let expected = reference::edit(&mut model, &edit);
        let done = real::edit(&mut document, &edit);
        assert_eq!(done.is_ok(), expected.is_ok(), "{edit:?}: {done:?}");
        assert_eq!(real::checked(&document), model, "{edit:?}");
        assert!(
            done.is_ok() || document.text() == before,
            "a refused edit changed something"
        );
        document = real::stored(&document);
    }
});

fn path_is(path: &Path, text: &str) -> bool {
    matches!(path, Path::Text(path) if path == text)
}

fn read(document: &Document, model: &Value, path: &Path) {
    let expected = reference::get(model, path);
    let found = real::get(document, path).expect("the document is sound");
    let value = found.map(|raw| raw.deserialize::<Value>().expect("a value of JSON"));
    assert_eq!(value.as_ref(), expected, "{path:?}");
    let has = real::has(document, path).expect("the document is sound");
    assert_eq!(
        has,
        expected.is_some_and(|value| !value.is_null()),
        "{path:?}"
    );
}

/// The same bytes as if a store had given them.
fn damaged(text: &[u8], index: &[u8]) {
    let index = Bytes::copy_from_slice(&index[..index.len().min(64) / 4 * 4]);
    let first = Bytes::from_static(&[1, 0, 0, 0]);
    for index in [index.clone(), [&first[..], &index].concat().into()] {
        let Ok(mut document) = Document::from_parts(Bytes::copy_from_slice(text), index) else {
            continue;
        };
        for path in ["", "a", "a.b", "a.0.b", "a[1]"] {
            let _ = document
                .get(path)
                .map(|found| found.map(|raw| raw.deserialize::<Value>()));
            let _ = document.put(path, &1);
            let _ = document.add(path, 1);
            let _ = document.merge(&serde_json::json!({"a": {"b": [1]}}));
            let _ = document.forget(path);
        }
        document.members().for_each(drop);
        let _ = document.deserialize::<Value>();
    }
}
