//! Any bytes as encoded tags, and any changes of a set of tags. Only the canonical encoding of a set is
//! accepted, and a set behaves like a `BTreeSet`.
#![no_main]

use std::collections::BTreeSet;

use bytes::Bytes;
use hyper_session::store::{MAX_TAGS, Tag, Tags};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let decoded = Tags::from_bytes(Bytes::copy_from_slice(bytes));
    assert_eq!(decoded.is_some(), names(bytes).is_some());
    if let Some(tags) = &decoded {
        assert_eq!(tags.as_bytes(), bytes);
        assert!(tags.len() <= MAX_TAGS);
        let expected: Vec<&str> = names(bytes).expect("accepted");
        assert_eq!(tags.iter().collect::<Vec<_>>(), expected);
    }
    change(decoded.unwrap_or_default(), bytes);
});

/// Returns the names, if they have 1 to 256 bytes of text each, and are in order and distinct.
fn names(mut bytes: &[u8]) -> Option<Vec<&str>> {
    let mut names: Vec<&str> = Vec::new();
    while let [len, rest @ ..] = bytes {
        let len = usize::from(*len) + 1;
        if rest.len() < len {
            return None;
        }
        names.push(std::str::from_utf8(&rest[..len]).ok()?);
        bytes = &rest[len..];
    }
    let is_sorted = names.windows(2).all(|pair| pair[0] < pair[1]);
    (is_sorted && names.len() <= MAX_TAGS).then_some(names)
}

/// Inserts and removes names. Each line of the input is one, after a byte that selects the change.
fn change(mut tags: Tags, input: &[u8]) {
    let mut model: BTreeSet<String> = tags.iter().map(str::to_owned).collect();
    for line in input.split(|byte| *byte == b'\n') {
        let [selector, name @ ..] = line else {
            continue;
        };
        let name = String::from_utf8_lossy(name).into_owned();
        let Ok(tag) = Tag::new(name.clone()) else {
            assert!(!(1..=Tag::MAX_LEN).contains(&name.len()));
            continue;
        };
        if selector % 4 == 0 {
            assert_eq!(tags.remove(&tag), model.remove(&name));
        } else if model.len() < MAX_TAGS || model.contains(&name) {
            assert_eq!(tags.insert(&tag), Ok(model.insert(name)));
        } else {
            assert!(tags.insert(&tag).is_err());
        }
        assert!(tags.iter().eq(model.iter().map(String::as_str)));
        assert_eq!(tags.is_empty(), model.is_empty());
        let again = Tags::from_bytes(tags.as_bytes().clone());
        assert_eq!(again.as_ref(), Some(&tags));
    }
}
