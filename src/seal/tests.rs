//! Comparison of sealed texts, and texts of keys.

use super::{SealKey, SealKeyError, codec::ct_eq};

#[test]
fn texts_are_equal_if_all_their_bytes_are() {
    for len in 0..=24 {
        let text = vec![b'a'; len];
        assert!(ct_eq(&text, &text));
        assert!(!ct_eq(&text, &[&*text, b"a"].concat()));
        for first in 0..len {
            for second in first..len {
                let mut other = text.clone();
                other[first] = b'b';
                other[second] = b'b';
                assert!(!ct_eq(&text, &other), "{len}: {first} and {second}");
            }
        }
    }
}

#[test]
fn a_quotation_mark_at_either_end_of_a_key_is_refused() {
    let key = "a text of a key that is long enough";
    assert!(SealKey::from_text(key).is_ok());
    for text in [format!("\"{key}"), format!("{key}'")] {
        let refused = SealKey::from_text(&text);
        assert!(matches!(refused, Err(SealKeyError::Quoted)), "{text}");
    }
}
