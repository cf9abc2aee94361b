//! Sums replace numbers in place if the length stays the same.

use bytes::Bytes;
use hyper_session::document::{Document, KeyPath};

fn index(document: &Document) -> Vec<u8> {
    let mut index = Vec::new();
    document.write_index(&mut index);
    index
}

#[test]
fn a_sum_of_the_same_length_replaces_the_digits_only() {
    let mut document = Document::parse(br#"{"a":1,"b":{"c":-5,"d":[9,98]},"e":41}"#).unwrap();
    let sums = [
        ("a", 8, r#"{"a":9,"b":{"c":-5,"d":[9,98]},"e":41}"#),
        ("a", 1, r#"{"a":10,"b":{"c":-5,"d":[9,98]},"e":41}"#),
        ("a", -1, r#"{"a":9,"b":{"c":-5,"d":[9,98]},"e":41}"#),
        ("b.c", 20, r#"{"a":9,"b":{"c":15,"d":[9,98]},"e":41}"#),
        ("b.c", -20, r#"{"a":9,"b":{"c":-5,"d":[9,98]},"e":41}"#),
        ("b.d.1", 1, r#"{"a":9,"b":{"c":-5,"d":[9,99]},"e":41}"#),
        ("b.d.1", 1, r#"{"a":9,"b":{"c":-5,"d":[9,100]},"e":41}"#),
        ("b.d.0", 0, r#"{"a":9,"b":{"c":-5,"d":[9,100]},"e":41}"#),
        ("e", -32, r#"{"a":9,"b":{"c":-5,"d":[9,100]},"e":9}"#),
    ];
    for (path, amount, json) in sums {
        document.add(path, amount).unwrap();
        let expected = Document::parse(json.as_bytes()).unwrap();
        assert_eq!(document, expected);
        assert_eq!(index(&document), index(&expected));
    }
}

#[test]
fn a_number_is_not_split_by_a_damaged_index() {
    let text = Bytes::from_static(br#"{"a":12345,"b":1}"#);
    let mut index = index(&Document::parse(&text).unwrap());
    // The entry of `b` points into the digits of `a`.
    index[4] = 8;
    let mut damaged = Document::from_parts(text.clone(), index.into()).unwrap();
    assert!(damaged.add("a", 1).is_err());
    assert_eq!(damaged.text(), text);
}

#[test]
fn a_sum_of_the_same_length_needs_no_other_entry_of_the_index() {
    let text = Bytes::from_static(br#"{"a":12345,"b":1,"c":2}"#);
    let mut index = index(&Document::parse(&text).unwrap());
    // The entry of `c` points to no member.
    index[8] += 1;
    let mut damaged = Document::from_parts(text, index.into()).unwrap();
    damaged.add("a", 1).unwrap();
    assert_eq!(damaged.text(), br#"{"a":12346,"b":1,"c":2}"#);
    // This one would move the members after it.
    assert!(damaged.add("a", 100_000).is_err());
    assert_eq!(damaged.text(), br#"{"a":12346,"b":1,"c":2}"#);
}

/// The next request of a pooled document starts from an empty object.
#[test]
fn a_reset_empties_a_document_that_edits_with_a_damaged_index_have_changed() {
    let text = Bytes::from_static(br#"{"a":{"b":1},"b":2}"#);
    let sound = index(&Document::parse(&text).unwrap());
    for (first, second) in (0..20).flat_map(|first| (0..20).map(move |second| (first, second))) {
        let mut index = sound.clone();
        (index[0], index[4]) = (first, second);
        for keys in [["a", "b"], ["b", "a"]] {
            let Ok(mut damaged) = Document::from_parts(text.clone(), index.clone().into()) else {
                continue;
            };
            for key in keys {
                // It may be refused.
                let _ = damaged.forget(key);
            }
            damaged.reset();
            assert_eq!(damaged.text(), b"{}", "{first} {second} {keys:?}");
        }
    }
}

#[test]
fn paths_of_one_key_are_equal_however_they_are_written() {
    assert_eq!(KeyPath::from("a"), KeyPath::from(["a"]));
    assert_eq!(KeyPath::from("a"), KeyPath::from_keys(["a"]));
    assert_ne!(KeyPath::from("a"), KeyPath::from("b"));
    assert_ne!(KeyPath::from("a"), KeyPath::from(["a", "b"]));
    // The text may also be one key.
    assert_ne!(KeyPath::from("a.b"), KeyPath::from(["a", "b"]));
}

#[test]
fn a_text_with_a_number_out_of_range_is_refused() {
    let parse = |number: &str| Document::parse(format!(r#"{{"n":{number}}}"#).as_bytes());
    let above = "340282366920938463463374607431768211456";
    let below = "-170141183460469231731687303715884105729";
    for number in [above, below, "1e309", &format!("{above}000000")] {
        assert!(parse(number).is_err(), "{number}");
    }
    let (max, min) = (u128::MAX.to_string(), i128::MIN.to_string());
    for number in [&max, &min, "1e308"] {
        assert!(parse(number).is_ok(), "{number}");
    }
}
