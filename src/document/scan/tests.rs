use super::*;

#[test]
fn a_value_ends_where_its_brackets_and_quotes_close() {
    for (text, end) in [
        (&br#""a\"b",1"#[..], 6),
        (br#"{"a":"}"},1"#, 9),
        (br#"[["]"]],"#, 7),
        (b"12,", 2),
        (b"null", 4),
    ] {
        assert_eq!(value_end(text, 0), Some(end), "{text:?}");
    }
}

#[test]
fn text_that_ends_early_has_no_end() {
    for text in [
        &b""[..],
        b"\"",
        b"\"\\",
        b"\"\\\"",
        b"{",
        b"[1,",
        b"{\"a",
        b",",
        b"}",
    ] {
        assert_eq!(value_end(text, 0), None, "{text:?}");
    }
}

#[test]
fn a_shape_shows_text_of_another_writer() {
    for (text, depth, canonical) in [
        (&br#"{"a":[1,{}]}"#[..], 3, true),
        (br#""a b\n""#, 0, true),
        (br#"{"a": 1}"#, 1, false),
        (br#""\u0061""#, 0, false),
        (br#""\/""#, 0, false),
    ] {
        assert_eq!(shape(text), Some(Shape { depth, canonical }), "{text:?}");
    }
}

#[test]
fn open_keys_lead_to_the_end_of_the_text() {
    for (text, keys) in [
        ("", &[][..]),
        ("[", &["0"]),
        (r#"{"a":[{},[1,2],{"b":1,"c\"d":"#, &["a", "2", "c\"d"]),
        (r#"{"a":{"b":"x:"},"e":"#, &["e"]),
        (r#"{"a":"#, &["a"]),
    ] {
        assert_eq!(open_keys(text.as_bytes()), keys, "{text}");
    }
}
