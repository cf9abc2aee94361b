//! Limits of a patch. A rejected change has no effect.

use std::{collections::BTreeMap, sync::LazyLock};

use hyper_session::{
    document::{Document, EditError, Number, RawValue},
    patch::{ChangeError, ChangeLimits, Patch},
};
use serde::{Serialize, Serializer, ser::Error};

fn limits(operations: usize, bytes: usize, document: usize) -> ChangeLimits {
    ChangeLimits::default()
        .operations(operations)
        .bytes(bytes)
        .document(document)
}

#[test]
fn one_operation_more_than_allowed_is_refused() {
    let (mut patch, mut document) = (Patch::new(limits(2, 1000, 1000)), Document::new());
    patch.put(&mut document, "a", &1).unwrap();
    patch.put(&mut document, "b", &1).unwrap();
    let refused = patch.put(&mut document, "c", &1);
    assert_eq!(refused, Err(ChangeError::TooManyOperations { limit: 2 }));
    assert_eq!(document.text(), br#"{"a":1,"b":1}"#);
    assert_eq!(patch.len(), 2);
}

#[test]
fn a_loop_of_puts_to_one_path_counts_as_one() {
    let (mut patch, mut document) = (Patch::new(limits(2, 1000, 1000)), Document::new());
    for progress in 0..10_000 {
        patch.put(&mut document, "progress", &progress).unwrap();
    }
    assert_eq!(patch.len(), 1);
    let mut newer = Document::new();
    patch.rebase(&Document::new(), &mut newer).unwrap();
    assert_eq!(newer.text(), br#"{"progress":9999}"#);
}

#[test]
fn values_that_are_too_large_together_are_refused() {
    let (mut patch, mut document) = (Patch::new(limits(10, 100, 1000)), Document::new());
    patch
        .put(&mut document, "a", "x".repeat(40).as_str())
        .unwrap();
    let refused = patch.put(&mut document, "b", "x".repeat(40).as_str());
    assert!(matches!(
        refused,
        Err(ChangeError::TooManyBytes {
            limit: 100,
            size: 101..
        })
    ));
    let refused = patch.forget(&mut document, "x".repeat(100).as_str());
    assert!(matches!(refused, Err(ChangeError::TooManyBytes { .. })));
    assert_eq!(patch.len(), 1);
    assert!(!document.has("b").unwrap());
    patch.put(&mut document, "c", &1).unwrap();
}

#[test]
fn a_document_does_not_outgrow_its_limit() {
    let (mut patch, mut document) = (Patch::new(limits(10, 1000, 20)), Document::new());
    patch.put(&mut document, "a", "123456789012").unwrap();
    assert_eq!(document.text().len(), 20);
    let path = Box::from("b");
    let refused = patch.put(&mut document, "b", &1);
    let (size, limit) = (26, 20);
    assert_eq!(
        refused,
        Err(ChangeError::Edit(EditError::TooLarge { path, size, limit }))
    );
    patch.put(&mut document, "a", &1).unwrap();
    assert_eq!(document.text(), br#"{"a":1}"#);
    let refused = patch.merge(&mut document, &BTreeMap::from([("b", "0123456789")]));
    assert!(matches!(
        refused,
        Err(ChangeError::Edit(EditError::TooLarge { .. }))
    ));
    assert_eq!((patch.len(), document.text()), (1, &br#"{"a":1}"#[..]));
}

struct FailingValue;

impl Serialize for FailingValue {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom("the secret is 12345"))
    }
}

#[test]
fn a_refused_change_leaves_no_trace() {
    let (mut patch, mut document) = (Patch::new(ChangeLimits::default()), Document::new());
    patch.put(&mut document, "text", "a").unwrap();
    patch.put(&mut document, "list", &[1]).unwrap();
    let before = document.text().to_vec();
    let refusals = [
        patch.add(&mut document, "text", 1).map(drop),
        patch.add(&mut document, "n", f64::INFINITY).map(drop),
        patch.subtract(&mut document, "n", i128::MIN).map(drop).and(
            patch
                .add(&mut document, "n", Number::UInt(u128::MAX))
                .map(drop),
        ),
        patch.put(&mut document, "list.name", &1),
        patch.put(&mut document, "list.2000", &1),
        patch.put(&mut document, "x", &FailingValue),
        patch.put(&mut document, [""; 0], &1),
        patch.merge(&mut document, &[1]),
    ];
    for refusal in refusals {
        let error = refusal.unwrap_err().to_string();
        assert!(!error.contains("12345"), "{error}");
    }
    document.forget("n").unwrap();
    assert_eq!(document.text(), before);
    assert_eq!(patch.len(), 3);
    let debug = format!("{patch:?}");
    assert!(
        debug.starts_with("Patch { operations: 3, bytes: "),
        "{debug}"
    );
}

#[test]
fn a_patch_that_is_reset_records_again() {
    let (mut patch, mut document) = (Patch::new(ChangeLimits::default()), Document::new());
    patch.clear(&mut document);
    patch.add(&mut document, "n", 1).unwrap();
    let without_effect = patch.put_json_if_absent(&mut document, &"n".into(), one());
    assert!(!without_effect.unwrap() && !patch.is_empty());
    patch.reset();
    assert!(patch.is_empty() && patch.size() == 0);
    let mut newer = Document::new();
    patch.rebase(&document, &mut newer).unwrap();
    assert!(newer.is_empty());
    patch.add(&mut document, "n", 1).unwrap();
    assert!(!patch.is_empty());
}

/// An operation, made on a new document.
type Operation = fn(&mut Patch) -> Result<(), ChangeError>;

const OPERATIONS: [Operation; 6] = [
    |patch| patch.put(&mut Document::new(), "a.b", "text"),
    |patch| patch.forget(&mut Document::new(), "a.b").map(drop),
    |patch| patch.add(&mut Document::new(), "a.b", 12).map(drop),
    |patch| patch.subtract(&mut Document::new(), "a.b", 12).map(drop),
    |patch| patch.merge(&mut Document::new(), &BTreeMap::from([("a", 1)])),
    |patch| {
        let path = &"a.b".into();
        let is_put = patch.put_json_if_absent(&mut Document::new(), path, one());
        is_put.map(drop)
    },
];

fn one() -> RawValue<'static> {
    static ONE: LazyLock<Document> = LazyLock::new(|| {
        let mut document = Document::new();
        document.put("one", &1).unwrap();
        document
    });
    ONE.get("one").unwrap().unwrap()
}

#[test]
fn the_path_and_the_value_of_every_operation_count() {
    for (number, operation) in OPERATIONS.into_iter().enumerate() {
        let mut patch = Patch::new(ChangeLimits::default());
        operation(&mut patch).unwrap();
        let size = patch.size();
        operation(&mut Patch::new(limits(1, size, 1000))).unwrap();
        let limit = size - 1;
        let mut patch = Patch::new(limits(1, limit, 1000));
        let refused = operation(&mut patch);
        let expected = Err(ChangeError::TooManyBytes { size, limit });
        assert_eq!(refused, expected, "operation {number}");
        assert_eq!((patch.len(), patch.size()), (0, 0), "operation {number}");
    }
}
