//! Two requests on one snapshot, with any operations: the rebase of the second request's patch onto the
//! first request's result agrees with a simple model.
#![no_main]

#[path = "../../tests/suite/model/exact.rs"]
mod exact;
#[path = "../../tests/suite/model/real.rs"]
mod real;
#[path = "../../tests/suite/model/reference.rs"]
mod reference;

use arbitrary::{Arbitrary, Unstructured};
use hyper_session::{
    document::Document,
    patch::{ChangeLimits, Patch},
};
use libfuzzer_sys::fuzz_target;
use reference::{Edit, Path};
use serde_json::{Map, Value};

fuzz_target!(|input: &[u8]| {
    let mut input = Unstructured::new(input);
    let _ = run(&mut input);
});

fn run(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let start = object(input, 3)?;
    let base = Document::parse(start.to_string().as_bytes()).expect("JSON");
    let (_, mut newer, _) = request(&base, input)?;
    let (patch, seen, recorded) = request(&base, input)?;

    let mut again = real::reload(&base);
    let rebased = patch.rebase(&base, &mut again);
    rebased.expect("an operation fits the snapshot that it was recorded on");
    assert_eq!(again.text(), seen.text());

    let mut model = real::checked_value(&newer);
    let failed = real::rebase(&base, &newer, &mut model, &recorded);
    match patch.rebase(&base, &mut newer) {
        Ok(()) => assert_eq!(real::checked_value(&newer), model),
        Err(error) => assert!(failed > 0, "{error}"),
    }
    Ok(())
}

/// Makes the edits of one request. Returns its patch, its document, and the edits that succeeded.
fn request(
    base: &Document,
    input: &mut Unstructured<'_>,
) -> arbitrary::Result<(Patch, Document, Vec<Edit>)> {
    let (mut patch, mut document) = (Patch::new(ChangeLimits::default()), base.clone());
    let mut model = real::checked_value(base);
    let mut recorded = Vec::new();
    for _ in 0..input.int_in_range(0..=6)? {
        let edit = edit(input)?;
        let expected = reference::edit(&mut model, &edit);
        let result = real::record(&mut patch, &mut document, &edit);
        assert_eq!(result.is_ok(), expected.is_ok(), "{edit:?}: {result:?}");
        assert_eq!(real::checked_value(&document), model, "{edit:?}");
        if result.is_ok() {
            recorded.push(edit);
        }
    }
    Ok((patch, document, recorded))
}

fn edit(input: &mut Unstructured<'_>) -> arbitrary::Result<Edit> {
    Ok(match input.int_in_range(0..=17)? {
        0..=3 => Edit::Put(path(input)?, value(input, 3)?),
        4..=5 => Edit::Forget(path(input)?),
        6..=7 => Edit::Add(path(input)?, i8::arbitrary(input)?.into()),
        8 => Edit::Subtract(path(input)?, i64::arbitrary(input)?),
        9..=10 => Edit::Merge(object(input, 3)?),
        11 => Edit::PutIfAbsent(path(input)?, value(input, 2)?),
        12..=13 => Edit::Push(path(input)?, value(input, 2)?),
        14 => Edit::PushUnique(path(input)?, value(input, 1)?),
        15 => Edit::RemoveValue(path(input)?, value(input, 1)?),
        16 => Edit::Replace(object(input, 3)?),
        _ => Edit::Clear,
    })
}

fn path(input: &mut Unstructured<'_>) -> arbitrary::Result<Path> {
    let keys = (0..input.int_in_range(0..=3)?)
        .map(|_| key(input))
        .collect::<arbitrary::Result<Vec<_>>>()?;
    Ok(match input.int_in_range(0..=3)? {
        0 => Path::Keys(keys),
        1 => Path::Text(keys.join("][")),
        _ => Path::Text(keys.join(".")),
    })
}

fn key(input: &mut Unstructured<'_>) -> arbitrary::Result<String> {
    const KEYS: [&str; 12] = [
        "a",
        "b",
        "c",
        "0",
        "1",
        "2",
        "a.b",
        "",
        "1024",
        "9007199254740991",
        "\"\\",
        "é",
    ];
    match input.int_in_range(0..=15)? {
        15 => Ok(<&str>::arbitrary(input)?.chars().take(8).collect()),
        _ => Ok((*input.choose(&KEYS)?).to_owned()),
    }
}

fn object(input: &mut Unstructured<'_>, depth: usize) -> arbitrary::Result<Value> {
    let mut members = Map::new();
    for _ in 0..input.int_in_range(0..=5)? {
        members.insert(key(input)?, value(input, depth - 1)?);
    }
    Ok(members.into())
}

fn value(input: &mut Unstructured<'_>, depth: usize) -> arbitrary::Result<Value> {
    let kinds = if depth == 0 { 5 } else { 7 };
    Ok(match input.int_in_range(0..=kinds)? {
        0 => Value::Null,
        1 => bool::arbitrary(input)?.into(),
        2 => i8::arbitrary(input)?.into(),
        3 => i64::arbitrary(input)?.into(),
        4 => f64::arbitrary(input)?.into(),
        5 => key(input)?.into(),
        6 => object(input, depth)?,
        _ => {
            let elements = (0..input.int_in_range(0..=4)?).map(|_| value(input, depth - 1));
            elements.collect::<arbitrary::Result<Vec<_>>>()?.into()
        }
    })
}
