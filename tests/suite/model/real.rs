//! The edits of the reference model, executed by the crate.
#![allow(dead_code, reason = "the fuzz targets need a part of it")]

use bytes::Bytes;
use hyper_session::{
    document::{self, Document, EditError, MalformedDocument, RawValue, ValueKind},
    patch::{ChangeError, Patch},
};

use super::{
    exact::Value,
    reference::{self, Edit, Path},
};

/// Calls `$call` with a path, as text or as keys.
macro_rules! with_path {
    ($path:expr, |$as_path:ident| $call:expr) => {
        match $path {
            Path::Text(text) => {
                let $as_path = document::KeyPath::from(text);
                $call
            }
            Path::Keys(keys) => {
                let $as_path = document::KeyPath::from(keys);
                $call
            }
        }
    };
}

/// Calls `$call` with a path and the JSON text of a value.
macro_rules! with_json {
    ($path:expr, $value:expr, |$as_path:ident, $json:ident| $call:expr) => {{
        let text = serde_json::json!({ "value": $value }).to_string();
        let holder = Document::parse(text.as_bytes()).expect("an object");
        let $json = holder.get("value").expect("sound").expect("present");
        with_path!($path, |path| {
            let $as_path = &path;
            $call
        })
    }};
}

/// The path of the whole document.
const ROOT: Path = Path::Keys(Vec::new());

pub(crate) fn get<'d>(
    document: &'d Document,
    path: &Path,
) -> Result<Option<RawValue<'d>>, MalformedDocument> {
    with_path!(path, |path| document.get(&path))
}

pub(crate) fn has(document: &Document, path: &Path) -> Result<bool, MalformedDocument> {
    with_path!(path, |path| document.has(&path))
}

pub(crate) fn edit(document: &mut Document, edit: &Edit) -> Result<(), EditError> {
    match edit {
        Edit::Put(path, value) => with_path!(path, |path| document.put(&path, value)),
        Edit::Forget(path) => with_path!(path, |path| document.forget(&path).map(drop)),
        Edit::Add(path, by) => with_path!(path, |path| document.add(&path, *by).map(drop)),
        Edit::Subtract(path, by) => {
            with_path!(path, |path| document.subtract(&path, *by).map(drop))
        }
        Edit::Merge(values) => document.merge(values),
        Edit::Replace(values) => {
            with_json!(&ROOT, values, |_path, json| document.replace_json(json))
        }
        Edit::PutIfAbsent(path, value) => with_json!(path, value, |path, json| document
            .put_json_if_absent(path, json)
            .map(drop)),
        Edit::Push(path, value) => {
            with_json!(path, value, |path, json| document.push_json(path, json))
        }
        Edit::PushUnique(path, value) => with_json!(path, value, |path, json| document
            .push_unique_json(path, json)
            .map(drop)),
        Edit::RemoveValue(path, value) => with_json!(path, value, |path, json| document
            .remove_value_json(path, json)
            .map(drop)),
        Edit::Clear => {
            document.clear();
            Ok(())
        }
    }
}

pub(crate) fn record(
    patch: &mut Patch,
    doc: &mut Document,
    edit: &Edit,
) -> Result<(), ChangeError> {
    match edit {
        Edit::Put(path, value) => with_path!(path, |path| patch.put(doc, &path, value)),
        Edit::Forget(path) => with_path!(path, |path| patch.forget(doc, &path).map(drop)),
        Edit::Add(path, by) => with_path!(path, |path| patch.add(doc, &path, *by).map(drop)),
        Edit::Subtract(path, by) => {
            with_path!(path, |path| patch.subtract(doc, &path, *by).map(drop))
        }
        Edit::Merge(values) => patch.merge(doc, values),
        Edit::Replace(values) => {
            with_json!(&ROOT, values, |_path, json| patch.replace_json(doc, json))
        }
        Edit::PutIfAbsent(path, value) => with_json!(path, value, |path, json| patch
            .put_json_if_absent(doc, path, json)
            .map(drop)),
        Edit::Push(path, value) => {
            with_json!(path, value, |path, json| patch.push_json(doc, path, json))
        }
        Edit::PushUnique(path, value) => with_json!(path, value, |path, json| patch
            .push_unique_json(doc, path, json)
            .map(drop)),
        Edit::RemoveValue(path, value) => with_json!(path, value, |path, json| patch
            .remove_value_json(doc, path, json)
            .map(drop)),
        Edit::Clear => {
            patch.clear(doc);
            Ok(())
        }
    }
}

/// Returns the value of a document. Asserts that its text and index equal those of a new parse.
pub(crate) fn checked_value(document: &Document) -> Value {
    let parsed = Document::parse(document.text()).expect("a document's text parses");
    assert_eq!(parsed.text(), document.text(), "the text is canonical");
    assert_eq!(
        index(&parsed),
        index(document),
        "the index is that of the text"
    );
    let value: serde_json::Value = document.deserialize().expect("a document reads as a value");
    let read: serde_json::Value = serde_json::from_slice(document.text()).expect("JSON");
    assert_eq!(value, read);
    assert_eq!(
        document.len(),
        value.as_object().map_or(0, |members| members.len())
    );
    exact_value(document)
}

/// Returns the value of a document's text.
pub(crate) fn exact_value(document: &Document) -> Value {
    Value::parse(std::str::from_utf8(document.text()).expect("a document is UTF-8"))
}

/// Writes a document and reads it, as a store does.
pub(crate) fn reload(document: &Document) -> Document {
    let text = Bytes::copy_from_slice(document.text());
    Document::from_parts(text, index(document).into()).expect("what was written fits together")
}

fn index(document: &Document) -> Vec<u8> {
    let mut index = Vec::new();
    document.write_index(&mut index);
    index
}

/// Applies the edits of a request, which were recorded on `base`, to `model`, the value of `newer`, as a
/// rebase does. Returns the number of edits that are refused.
pub(crate) fn rebase(
    base: &Document,
    newer: &Document,
    model: &mut Value,
    recorded: &[Edit],
) -> usize {
    let clears = |edit: &Edit| matches!(edit, Edit::Clear | Edit::Replace(_));
    let cleared = recorded.iter().rposition(clears);
    if let Some(at) = cleared {
        match &recorded[at] {
            Edit::Replace(_) => remove_unchanged_members(base, newer, model),
            _ => remove_unchanged(base, newer, model),
        }
        if let Edit::Replace(values) = &recorded[at] {
            let mut values = Value::from(values);
            let members = model.as_object_mut().expect("an object");
            members.append(values.as_object_mut().expect("an object"));
        }
    }
    let edits = recorded[cleared.map_or(0, |at| at + 1)..].iter();
    edits
        .filter(|edit| reference::edit(model, edit).is_err())
        .count()
}

/// Removes from `model`, the value of `newer`, the members of the root that have the same bytes in `base`.
fn remove_unchanged_members(base: &Document, newer: &Document, model: &mut Value) {
    let members = model.as_object_mut().expect("an object");
    for (key, value) in newer.members().map(|member| member.expect("sound")) {
        let before = base.members().map(|member| member.expect("sound"));
        if before
            .into_iter()
            .any(|before| before == (key.clone(), value))
        {
            members.remove(&*key);
        }
    }
}

/// Removes from `model`, the value of `newer`, the members that have the same bytes in `base`: members of
/// the root and of nested objects.
pub(crate) fn remove_unchanged(base: &Document, newer: &Document, model: &mut Value) {
    let nested = |object: RawValue<'_>| {
        let mut document = Document::new();
        document.load_object(object).expect("sound");
        document
    };
    let old: Vec<_> = base
        .members()
        .map(|member| member.expect("sound"))
        .collect();
    for (key, value) in newer.members().map(|member| member.expect("sound")) {
        let members = model.as_object_mut().expect("an object");
        let Some((_, before)) = old.iter().find(|(name, _)| *name == key) else {
            continue;
        };
        if *before == value {
            members.remove(&*key);
        } else if before.kind() == ValueKind::Object && value.kind() == ValueKind::Object {
            let member = members.get_mut(&*key).expect("the model has it");
            remove_unchanged(&nested(*before), &nested(value), member);
            if *member == Value::Object(Default::default()) {
                members.remove(&*key);
            }
        }
    }
}
