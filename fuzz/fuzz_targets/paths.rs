//! Any bytes as a document and any text as a path: reads and edits agree with a simple model.
//!
//! The input consists of lines: the document, then paths and values in turn. Input that is not JSON is
//! used as stored bytes, and must not panic.
#![no_main]

#[path = "../../tests/suite/model/exact.rs"]
mod exact;
#[path = "../../tests/suite/model/real.rs"]
mod real;
#[path = "../../tests/suite/model/reference.rs"]
mod reference;

use bytes::Bytes;
use exact::Value;
use hyper_session::document::Document;
use libfuzzer_sys::fuzz_target;
use reference::{Edit, Path};

fuzz_target!(|input: &[u8]| {
    let mut lines = input.split(|byte| *byte == b'\n');
    let text = lines.next().unwrap_or_default();
    use_damaged(text, input);
    let Ok(mut document) = Document::parse(text) else {
        return;
    };
    let mut model = real::exact_value(&document);
    while let (Some(path), Some(value)) = (lines.next(), lines.next()) {
        let Ok(path) = std::str::from_utf8(path).map(|path| Path::Text(path.to_owned())) else {
            return;
        };
        check_read(&document, &model, &path);
        let edit = match serde_json::from_slice(value) {
            Ok(serde_json::Value::Object(values)) if path_is(&path, "") => {
                Edit::Merge(values.into())
            }
            Ok(value) => Edit::Put(path, value),
            Err(_) if value.len() < 3 => Edit::Add(path, value.len() as i64),
            Err(_) => Edit::Forget(path),
        };
        let before = document.text().to_vec();
        let expected = reference::edit(&mut model, &edit);
        let result = real::edit(&mut document, &edit);
        assert_eq!(result.is_ok(), expected.is_ok(), "{edit:?}: {result:?}");
        assert_eq!(real::checked_value(&document), model, "{edit:?}");
        assert!(
            result.is_ok() || document.text() == before,
            "a failed edit changed the document"
        );
        document = real::reload(&document);
    }
});

fn path_is(path: &Path, text: &str) -> bool {
    matches!(path, Path::Text(path) if path == text)
}

fn check_read(document: &Document, model: &Value, path: &Path) {
    let expected = reference::get(model, path);
    let raw = real::get(document, path).expect("the document is sound");
    let value = raw.map(|raw| Value::parse(raw.as_json().expect("JSON")));
    assert_eq!(value.as_ref(), expected, "{path:?}");
    let has = real::has(document, path).expect("the document is sound");
    assert_eq!(
        has,
        expected.is_some_and(|value| !value.is_null()),
        "{path:?}"
    );
}

/// Loads the bytes as if a store had returned them, and calls every operation.
fn use_damaged(text: &[u8], index: &[u8]) {
    let index = Bytes::copy_from_slice(&index[..index.len().min(64) / 4 * 4]);
    let first = Bytes::from_static(&[1, 0, 0, 0]);
    for index in [index.clone(), [&first[..], &index].concat().into()] {
        let Ok(mut document) = Document::from_parts(Bytes::copy_from_slice(text), index) else {
            continue;
        };
        for path in ["", "a", "a.b", "a.0.b", "a[1]"] {
            let _ = document
                .get(path)
                .map(|value| value.map(|raw| raw.deserialize::<serde_json::Value>()));
            let _ = document.put(path, &1);
            let _ = document.add(path, 1);
            let _ = document.merge(&serde_json::json!({"a": {"b": [1]}}));
            let _ = document.forget(path);
        }
        document.members().for_each(drop);
        let _ = document.deserialize::<serde_json::Value>();
    }
}
