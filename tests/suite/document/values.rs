//! Values keep their content, and untrusted input has limits.

use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use hyper_session::document::{
    Document, EditError, IsoDate, KeyPath, MAX_DEPTH, MAX_GAP, MAX_TEXT, Number, ValueKind,
};
use serde::{Deserialize, Serialize, Serializer, ser::SerializeSeq};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct User<'a> {
    #[serde(borrow)]
    name: &'a str,
    age: u8,
    tags: Vec<&'a str>,
    note: Option<String>,
}

#[test]
fn a_struct_comes_out_as_it_went_in_and_borrows_its_text() {
    let mut document = Document::new();
    let user = User {
        name: "Ann",
        age: 41,
        tags: vec!["a", "ü"],
        note: None,
    };
    document.put("user", &user).unwrap();
    assert_eq!(
        document
            .get("user")
            .unwrap()
            .unwrap()
            .deserialize::<User<'_>>()
            .unwrap(),
        user
    );
    let name: &str = document
        .get("user.name")
        .unwrap()
        .unwrap()
        .deserialize()
        .unwrap();
    assert!(document.text().as_ptr_range().contains(&name.as_ptr()));
}

#[test]
fn integers_keep_every_digit_up_to_128_bits() {
    for int in [
        i128::MIN,
        i128::from(i64::MIN),
        -1,
        0,
        1 << 53 | 1,
        i128::MAX,
    ] {
        let mut document = Document::new();
        document.put("n", &int).unwrap();
        let document = Document::parse(document.text()).unwrap();
        let raw = document.get("n").unwrap().unwrap();
        assert_eq!(raw.deserialize::<i128>(), Ok(int));
        assert_eq!(raw.number(), Some(Number::Int(int)));
        assert_eq!(
            document.deserialize::<BTreeMap<String, i128>>().unwrap()["n"],
            int
        );
    }
    let mut document = Document::new();
    document.put("n", &u128::MAX).unwrap();
    assert_eq!(
        document.get("n").unwrap().unwrap().deserialize::<u128>(),
        Ok(u128::MAX)
    );
    assert_eq!(document.subtract("n", u128::MAX), Ok(Number::Int(0)));
}

#[test]
fn floats_come_back_as_the_same_float() {
    for float in [
        0.1 + 0.2,
        9.999999994736442e-8,
        f64::MIN_POSITIVE,
        5e-324,
        1e308,
        1.0,
        -0.0,
    ] {
        let mut document = Document::new();
        document.put("f", &float).unwrap();
        let document = Document::parse(document.text()).unwrap();
        assert_eq!(document.get("f").unwrap().unwrap().deserialize(), Ok(float));
        assert_eq!(
            document.deserialize::<BTreeMap<String, f64>>().unwrap()["f"],
            float
        );
    }
}

#[test]
fn a_number_that_is_not_finite_is_an_error_with_its_path() {
    #[derive(Serialize)]
    struct Stats {
        mean: f64,
        history: Vec<Option<f32>>,
    }
    #[derive(Serialize)]
    enum Shape {
        Circle(f64),
        Rectangle { width: f32 },
        Line(u8, f64),
    }
    let refused = |path: &str| Err(EditError::NotFinite { path: path.into() });
    let mut document = Document::parse(br#"{"n":1,"f":0.5}"#).unwrap();
    for float in [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let narrow = float as f32;
        let stats = |mean, last| Stats {
            mean,
            history: vec![None, Some(1.0), last],
        };
        assert_eq!(document.put("f", &float), refused("f"));
        assert_eq!(document.put("a.b", &narrow), refused("a.b"));
        assert_eq!(document.put(["a.b"], &Some(float)), refused("[\"a.b\"]"));
        assert_eq!(document.put("s", &stats(float, None)), refused("s.mean"));
        let last = document.put("s", &stats(0.0, Some(narrow)));
        assert_eq!(last, refused("s.history.2"));
        let map = BTreeMap::from([("x.y", [1.0, float])]);
        assert_eq!(document.put("m", &map), refused("m[\"x.y\"].1"));
        assert_eq!(document.put("t", &(1, (float, 2))), refused("t.1.0"));
        let circle = document.put("c", &Shape::Circle(float));
        assert_eq!(circle, refused("c.Circle"));
        let rectangle = document.put("c", &Shape::Rectangle { width: narrow });
        assert_eq!(rectangle, refused("c.Rectangle.width"));
        assert_eq!(
            document.put("c", &Shape::Line(1, float)),
            refused("c.Line.1")
        );
        assert_eq!(document.put("n", &Number::Float(float)), refused("n"));
        let values = BTreeMap::from([("f", map)]);
        assert_eq!(document.merge(&values), refused("f[\"x.y\"].1"));
        assert_eq!(
            document.add("n", float),
            refused("n").map(|()| Number::Int(0))
        );
        assert_eq!(
            document.subtract("new", narrow),
            refused("new").map(|()| Number::Int(0))
        );
    }
    assert_eq!(document.text(), br#"{"n":1,"f":0.5}"#);
    let error = document.put("s.mean", &f64::NAN).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot write \"s.mean\": the number is NaN or infinite; write a finite number or null"
    );
}

/// Writes a text for a number that is not finite, and ignores the error of the number.
struct IgnoresErrors;

impl Serialize for IgnoresErrors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut elements = serializer.serialize_seq(None)?;
        let _ = elements.serialize_element(&f64::NAN);
        elements.end()
    }
}

#[test]
fn a_number_that_is_not_finite_is_an_error_even_if_its_container_ignores_it() {
    let refused = Document::new().put("a", &IgnoresErrors);
    assert!(
        matches!(refused, Err(EditError::NotFinite { .. })),
        "{refused:?}"
    );
}

#[test]
fn values_of_every_shape_are_written_as_serde_json_writes_them() {
    #[derive(Serialize)]
    struct Unit;
    #[derive(Serialize)]
    struct Newtype(char);
    #[derive(Serialize)]
    struct Pair(i8, u16);
    #[derive(Serialize)]
    enum Variant {
        Unit,
        Newtype(f32),
        Tuple(bool, ()),
        Struct { a: i128, b: u128 },
    }
    #[derive(Serialize)]
    struct All<'a> {
        nothing: (Unit, (), Option<u8>),
        something: Option<Newtype>,
        pair: Pair,
        variants: [Variant; 4],
        integers: (i16, i32, i64, u8, u32, u64),
        floats: (f32, f64, f64),
        text: &'a str,
        raw: Box<serde_json::value::RawValue>,
        address: std::net::Ipv4Addr,
        map: BTreeMap<i32, Vec<&'a str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        skipped: Option<u8>,
        #[serde(flatten)]
        flattened: BTreeMap<&'a str, f64>,
    }
    let all = All {
        nothing: (Unit, (), None),
        something: Some(Newtype('é')),
        pair: Pair(-1, 2),
        variants: [
            Variant::Unit,
            Variant::Newtype(0.1),
            Variant::Tuple(true, ()),
            Variant::Struct {
                a: i128::MIN,
                b: u128::MAX,
            },
        ],
        integers: (-1, -2, i64::MIN, 3, 4, u64::MAX),
        floats: (f32::MAX, f64::MIN_POSITIVE, -0.0),
        text: "a\"b\\\n",
        raw: serde_json::value::RawValue::from_string("[1,{}]".to_owned()).unwrap(),
        address: [127, 0, 0, 1].into(),
        map: BTreeMap::from([(-7, vec!["x"])]),
        skipped: None,
        flattened: BTreeMap::from([("g", 1e300)]),
    };
    let mut document = Document::new();
    document.put("all", &all).unwrap();
    let expected = serde_json::to_string(&all).unwrap();
    assert_eq!(
        document.get("all").unwrap().unwrap().as_json(),
        Ok(&*expected)
    );
}

#[test]
fn sums_are_exact_or_an_error() {
    let sum = |a: Number, b: Number| {
        let mut document = Document::new();
        document.put("n", &a).unwrap();
        document.add("n", b)
    };
    let overflow = Err(EditError::Overflow { path: "n".into() });
    let top = Number::UInt(u128::MAX);
    assert_eq!(sum(i128::MAX.into(), 1.into()), Ok(Number::UInt(1 << 127)));
    assert_eq!(
        sum(Number::UInt(1 << 127), (-1).into()),
        Ok(i128::MAX.into())
    );
    assert_eq!(sum(top, i128::MIN.into()), Ok(i128::MAX.into()));
    assert_eq!(sum(i128::MIN.into(), i128::MAX.into()), Ok((-1).into()));
    assert_eq!(sum(top, 1.into()), overflow);
    assert_eq!(sum(i128::MIN.into(), (-1).into()), overflow);
    assert_eq!(sum(1.into(), 0.5.into()), Ok(1.5.into()));
    assert_eq!(sum(f64::MAX.into(), f64::MAX.into()), overflow);
}

#[test]
fn only_numbers_null_and_nothing_can_be_counted() {
    let text = br#"{"s":"1","b":true,"a":[],"o":{},"z":null}"#;
    let mut document = Document::parse(text).unwrap();
    for path in ["s", "b", "a", "o"] {
        let refused = Err(EditError::NotANumber { path: path.into() });
        assert_eq!(document.add(path, 1), refused);
        assert_eq!(document.subtract(path, 1), refused);
    }
    assert_eq!(document.text(), text);
    assert_eq!(document.subtract("z", 2), Ok((-2).into()));
    assert_eq!(document.add("new.one", 3), Ok(3.into()));
}

#[test]
fn a_value_of_another_type_says_so_without_showing_it() {
    let document = Document::parse(br#"{"password":"hunter2","n":1}"#).unwrap();
    let error = document
        .get("password")
        .unwrap()
        .unwrap()
        .deserialize::<u8>()
        .unwrap_err();
    assert_eq!(error.actual(), ValueKind::String);
    assert_eq!(error.expected(), "u8");
    let whole = document.deserialize::<BTreeMap<String, u8>>().unwrap_err();
    let debug = format!(
        "{error} {error:?} {whole} {whole:?} {document:?} {:?}",
        document.get("n")
    );
    assert!(!debug.contains("hunter2"), "{debug}");
    assert!(
        debug.contains("Document { members: 2, bytes: 28, .. }"),
        "{debug}"
    );
}

#[test]
fn a_system_time_becomes_an_iso_date() {
    let date = |millis| IsoDate::from(UNIX_EPOCH + Duration::from_millis(millis)).to_string();
    assert_eq!(date(0), "1970-01-01T00:00:00.000Z");
    assert_eq!(date(951_782_400_123), "2000-02-29T00:00:00.123Z");
    assert_eq!(date(1_795_418_225_999), "2026-11-23T07:17:05.999Z");
    assert_eq!(date(4_107_542_399_000), "2100-02-28T23:59:59.000Z");
    assert_eq!(date(u64::MAX / 1000), "9999-12-31T23:59:59.999Z");
}

#[test]
fn a_hostile_index_is_refused_and_allocates_nothing() {
    let mut document = Document::parse(br#"{"a":[1]}"#).unwrap();
    for path in ["a.4294967295", "a[1026]", "new.4294967295", "x[2000][2000]"] {
        assert!(
            matches!(document.put(path, &1), Err(EditError::IndexTooLarge { .. })),
            "{path}"
        );
    }
    let mut nested: BTreeMap<String, u8> = (0..500).map(|n| ((n * 1000).to_string(), 0)).collect();
    let merged = document.merge(&BTreeMap::from([("a", &nested)]));
    assert!(matches!(merged, Err(EditError::IndexTooLarge { .. })));
    nested.retain(|key, _| key == "1000");
    document.merge(&BTreeMap::from([("a", nested)])).unwrap();
    assert_eq!(
        document
            .deserialize::<BTreeMap<String, Vec<Option<u8>>>>()
            .unwrap()["a"]
            .len(),
        1001
    );
    document.put(format!("b[{MAX_GAP}]").as_str(), &1).unwrap();
}

#[test]
fn depth_is_bounded_whichever_way_it_comes_in() {
    let nested =
        |depth: usize| format!("{}{}", r#"{"a":"#.repeat(depth - 1), "{}") + &"}".repeat(depth - 1);
    let deepest = Document::parse(nested(MAX_DEPTH).as_bytes()).unwrap();
    deepest.deserialize::<serde_json::Value>().unwrap();
    for depth in [MAX_DEPTH + 1, 127, 128, 129, 1_000_000] {
        assert!(
            Document::parse(nested(depth).as_bytes()).is_err(),
            "{depth}"
        );
    }
    let keys = vec!["a"; MAX_DEPTH];
    let mut document = Document::new();
    document.put(keys.as_slice(), &1).unwrap();
    assert_eq!(
        document.get(keys.as_slice()).unwrap().unwrap().as_bytes(),
        b"1"
    );
    let refused = document.put(keys.as_slice(), &[1]);
    assert!(matches!(
        refused,
        Err(EditError::TooDeep { max: MAX_DEPTH, .. })
    ));
    let dots = ".".repeat(1_000_000);
    assert!(matches!(
        document.put(dots.as_str(), &1),
        Err(EditError::TooDeep { .. })
    ));
    assert_eq!(document.get(dots.as_str()).unwrap(), None);
    let unclosed = Bytes::from(format!(r#"{{"a":{}}}"#, "[".repeat(1_000_000)));
    let damaged = Document::from_parts(unclosed, Bytes::from_static(&[1, 0, 0, 124])).unwrap();
    assert!(damaged.get("a.0.0.0").is_err());
    assert!(damaged.deserialize::<serde_json::Value>().is_err());
}

#[test]
fn a_megabyte_of_key_is_a_key_and_its_error_is_short() {
    let key = "k".repeat(1 << 20);
    let mut document = Document::new();
    document.put(key.as_str(), "text").unwrap();
    assert!(document.has(key.as_str()).unwrap());
    let error = document.add(key.as_str(), 1).unwrap_err().to_string();
    assert!(error.len() < 200, "{} bytes", error.len());
    document.forget(key.as_str()).unwrap();
    assert!(document.is_empty());
}

#[test]
fn a_document_never_outgrows_its_index() {
    let mut document = Document::new();
    let half = "x".repeat(MAX_TEXT / 2);
    document.put("a", &half).unwrap();
    assert!(matches!(
        document.put("b", &half),
        Err(EditError::TooLarge { .. })
    ));
    let parsed = Document::parse(format!(r#"{{"a":"{half}","b":"{half}"}}"#).as_bytes());
    assert!(parsed.is_err());
}

#[test]
fn a_value_other_than_an_object_is_refused() {
    for text in [
        "",
        "[]",
        "1",
        "null",
        "\"a\"",
        "{",
        "{}x",
        "{\"a\"}",
        "{'a':1}",
        "{\"a\":1,}",
        "\u{feff}{}",
    ] {
        assert!(Document::parse(text.as_bytes()).is_err(), "{text}");
    }
    assert!(Document::parse(b"{\"a\":\"\xff\"}").is_err());
    for (text, index) in [
        ("{}", &[1, 0, 0, 0][..]),
        ("{\"a\":1}", &[]),
        ("{\"a\":1}", &[1, 0, 0]),
        ("{\"a\":1}", &[2, 0, 0, 0]),
        ("[\"a\",1]", &[1, 0, 0, 0]),
        ("{\"a\":1", &[1, 0, 0, 0]),
        ("", &[]),
    ] {
        let index = Bytes::copy_from_slice(index);
        assert!(
            Document::from_parts(Bytes::from_static(text.as_bytes()), index).is_err(),
            "{text}"
        );
    }
}

#[test]
fn of_equal_keys_the_last_counts() {
    let document = Document::parse(br#"{"a":1,"b":{"x":1,"x":2},"\u0061":3}"#).unwrap();
    assert_eq!(document.text(), br#"{"a":3,"b":{"x":2}}"#);
    let members: Vec<String> = (0..100).map(|n| format!("\"k{}\":{n}", n % 50)).collect();
    let document = Document::parse(format!("{{{}}}", members.join(",")).as_bytes()).unwrap();
    assert_eq!(document.len(), 50);
    assert_eq!(document.get("k7").unwrap().unwrap().as_bytes(), b"57");
}

fn raw(text: &str) -> Box<serde_json::value::RawValue> {
    serde_json::value::RawValue::from_string(text.to_owned()).unwrap()
}

/// A value that its `Serialize` writes with equal keys.
#[derive(Serialize)]
struct Flattened {
    name: &'static str,
    #[serde(flatten)]
    extra: BTreeMap<&'static str, serde_json::Value>,
    last: f64,
}

fn flattened() -> Flattened {
    Flattened {
        name: "first",
        extra: BTreeMap::from([("name", serde_json::Value::Null), ("last", 0.into())]),
        last: 0.5,
    }
}

#[test]
fn of_equal_keys_in_a_written_value_the_last_counts() {
    let mut document = Document::new();
    document.put("v", &[flattened()]).unwrap();
    assert_eq!(document.text(), br#"{"v":[{"name":null,"last":0.5}]}"#);
    assert!(!document.has("v.0.name").unwrap());
    assert!(document.forget("v.0.name").unwrap());
    assert_eq!(document.text(), br#"{"v":[{"last":0.5}]}"#);

    let members: Vec<String> = (0..100).map(|n| format!("\"k{}\":{n}", n % 99)).collect();
    document
        .put("v", &raw(&format!("{{{}}}", members.join(","))))
        .unwrap();
    assert_eq!(document.get("v.k0").unwrap().unwrap().as_bytes(), b"99");

    for (text, expected) in [
        (r#"{"a":1,"a":2,"b":3}"#, r#"{"a":2,"b":3}"#),
        (
            r#"{"a":{"x":1},"a":{"y":[{"z":1,"z":2}]}}"#,
            r#"{"a":{"y":[{"z":2}]}}"#,
        ),
        (
            r#"{"b":{"a":1},"a":0,"\u0061":1.5,"c":{"":1,"":-0.0}}"#,
            r#"{"b":{"a":1},"a":1.5,"c":{"":-0.0}}"#,
        ),
        (
            r#"{"a key of many bytes":1,"a key of many bytes":2}"#,
            r#"{"a key of many bytes":2}"#,
        ),
        (
            r#"{"q\"":340282366920938463463374607431768211455,"n":1,"n":1}"#,
            r#"{"q\"":340282366920938463463374607431768211455,"n":1}"#,
        ),
    ] {
        let mut document = Document::new();
        document.put("at.depth", &raw(text)).unwrap();
        assert_eq!(
            document.get("at.depth").unwrap().unwrap().as_json(),
            Ok(expected)
        );
        let all: serde_json::Value = document.deserialize().unwrap();
        assert_eq!(
            all["at"]["depth"],
            serde_json::from_str::<serde_json::Value>(expected).unwrap()
        );

        let mut merged = Document::new();
        merged.merge(&raw(text)).unwrap();
        assert_eq!(merged.text(), expected.as_bytes());
        assert_eq!(merged, Document::parse(text.as_bytes()).unwrap());
        merged.merge(&BTreeMap::from([("new", raw(text))])).unwrap();
        assert_eq!(merged.get("new").unwrap().unwrap().as_json(), Ok(expected));
    }
}

#[test]
fn equal_keys_below_the_limit_of_depth_are_refused_for_their_depth() {
    let twice = r#"{"a":1,"a":2}"#;
    let nested = |depth: usize| raw(&("[".repeat(depth) + twice + &"]".repeat(depth)));
    for depth in [MAX_DEPTH, 120] {
        let refused = Document::new().put("v", &nested(depth));
        assert!(
            matches!(refused, Err(EditError::TooDeep { .. })),
            "{refused:?}"
        );
    }
    Document::new().put("v", &nested(MAX_DEPTH - 2)).unwrap();
}

#[test]
fn text_from_another_writer_is_made_canonical_on_its_way_in() {
    let raw =
        serde_json::value::RawValue::from_string(r#"{ "\u0061" : [ 1 , "\/" ] }"#.into()).unwrap();
    let mut document = Document::new();
    document.put("x", &raw).unwrap();
    document.merge(&BTreeMap::from([("y", &raw)])).unwrap();
    assert_eq!(document.text(), br#"{"x":{"a":[1,"/"]},"y":{"a":[1,"/"]}}"#);
}

#[test]
fn a_path_says_its_name_in_errors() {
    for (path, name) in [
        (KeyPath::from("a.b[0]"), "a.b.0"),
        (KeyPath::from(["a", "b.c", ""]), "a[\"b.c\"][\"\"]"),
        (KeyPath::from("a["), "a["),
    ] {
        assert_eq!(path.to_string(), name);
    }
}

#[test]
fn a_reused_document_holds_only_what_it_was_given_last() {
    let stored = Document::parse(br#"{"a":{"b":1},"c":2}"#).unwrap();
    let mut index = Vec::new();
    stored.write_index(&mut index);
    let (text, index) = (Bytes::copy_from_slice(stored.text()), Bytes::from(index));
    let mut document = Document::new();
    for _ in 0..3 {
        document.put("other", &"x".repeat(100)).unwrap();
        document.load(text.clone(), index.clone()).unwrap();
        assert_eq!(document, stored);
        document.put("a.b", &2).unwrap();
        assert_eq!(document.text(), br#"{"a":{"b":2},"c":2}"#);
        assert!(document.load(text.clone(), Bytes::new()).is_err());
        assert_eq!(document.text(), br#"{"a":{"b":2},"c":2}"#);
        document.reset();
        assert!(document.is_empty());
    }
    document
        .load_object(stored.get("a").unwrap().unwrap())
        .unwrap();
    assert_eq!(document.text(), br#"{"b":1}"#);
    assert_eq!(document.get("b").unwrap().unwrap().as_bytes(), b"1");
    assert!(
        document
            .load_object(stored.get("c").unwrap().unwrap())
            .is_err()
    );
    assert!(document.is_empty());
}

#[test]
fn keys_and_members_come_in_the_order_of_the_text() {
    let document = Document::parse(br#"{"z":1,"q\"\n":{"a":[]},"a":null}"#).unwrap();
    let keys: Vec<_> = document.keys().map(Result::unwrap).collect();
    assert_eq!(keys, ["z", "q\"\n", "a"]);
    let values: Vec<_> = document
        .members()
        .map(|member| member.unwrap().1.as_json().unwrap())
        .collect();
    assert_eq!(values, ["1", "{\"a\":[]}", "null"]);
}
