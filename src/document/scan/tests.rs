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
        let shape = shape(text, &mut Vec::new());
        assert_eq!(shape, Some(Shape { depth, canonical }), "{text:?}");
    }
}

#[test]
fn a_shape_shows_equal_keys_of_one_object() {
    let is_canonical = |text: &str| shape(text.as_bytes(), &mut vec![7; 9]).unwrap().canonical;
    for text in [
        r#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}],"c":"a"}"#,
        r#"["a","a",{"long key 1":1,"long key 2":1,"key":1,"":1}]"#,
        r#"{"a":":","b":":"}"#,
    ] {
        assert!(is_canonical(text), "{text}");
    }
    for text in [
        r#"{"a":1,"b":2,"a":3}"#,
        r#"[0,{"x":{"long key 1":{"":1},"b":[],"long key 1":2}}]"#,
        r#"{"a":{"b":1},"c":[{"b":{}}],"a":1}"#,
        r#"[{"":{},"":{}}]"#,
    ] {
        assert!(!is_canonical(text), "{text}");
    }
    for len in [2_usize, 16, 17, 1000] {
        let keys = (0..len).map(|n| format!("\"key {n}\":{{\"a\":{n}}}"));
        let members: Vec<_> = keys.collect();
        assert!(is_canonical(&format!("{{{}}}", members.join(","))), "{len}");
        let twice = format!("{{{},\"key 1\":0}}", members.join(","));
        assert!(!is_canonical(&twice), "{len}");
    }
}

#[test]
fn brackets_that_do_not_match_are_no_failure() {
    for text in [
        "{]",
        "[}",
        "{\"a\":[}]",
        "[\"a\":1}",
        "[{\"a\":]}}",
        "{\"a\":{]}}]",
    ] {
        let _ = shape(text.as_bytes(), &mut Vec::new());
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
