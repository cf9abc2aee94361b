//! Operations on a document, compared with recorded results of the @adonisjs/session package.
//!
//! `expected_has` describes the one intended difference.

use hyper_session::document::{Document, EditError, Number, RawValue};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
struct Vectors {
    sequences: Vec<Sequence>,
}

#[derive(Deserialize)]
struct Sequence {
    id: String,
    initial: Value,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    op: String,
    args: Vec<Value>,
    r: Map<String, Value>,
    /// The values as JSON text after the step.
    all: String,
}

/// The result of a step.
#[derive(Debug, PartialEq)]
enum StepResult {
    Nothing,
    Value(Value),
    NotANumber,
}

#[test]
fn every_step_of_every_sequence_answers_as_the_real_package_does() {
    let vectors: Vectors = serde_json::from_str(include_str!("../../data/values_store.json"))
        .expect("the vectors parse");
    let mut replayed = 0;
    for sequence in &vectors.sequences {
        let mut document = Document::new();
        document.merge(&sequence.initial).unwrap();
        for (at, step) in sequence.steps.iter().enumerate() {
            let place = format!("{} step {at}: {} {:?}", sequence.id, step.op, step.args);
            let answer = run(&mut document, step);
            assert_eq!(answer, expected(&document, step), "{place}");
            let all = read(&document);
            let text: Value = serde_json::from_slice(document.text()).unwrap();
            assert_eq!(all, as_js(text), "{place}");
            assert_eq!(
                all,
                as_js(serde_json::from_str(&step.all).unwrap()),
                "{place}"
            );
            assert_eq!(document.is_empty(), step.all == "{}", "{place}");
            replayed += 1;
        }
    }
    assert_eq!((vectors.sequences.len(), replayed), (420, STEPS));
}

const STEPS: usize = 4370;

fn run(document: &mut Document, step: &Step) -> StepResult {
    let key = step
        .args
        .first()
        .and_then(Value::as_str)
        .unwrap_or_default();
    match step.op.as_str() {
        "get" => get(document, key, step.args.get(1)),
        "has" => StepResult::Value(document.has(key).unwrap().into()),
        "all" => StepResult::Value(read(document)),
        "put" => unit_result(document.put(key, &step.args[1])),
        "forget" => unit_result(document.forget(key)),
        "pull" => {
            let answer = get(document, key, step.args.get(1));
            document.forget(key).unwrap();
            answer
        }
        "increment" => unit_result(document.add(key, increment_of(step))),
        "decrement" => unit_result(document.subtract(key, increment_of(step))),
        "merge" => unit_result(document.merge(&step.args[0])),
        "update" => {
            document.clear();
            unit_result(document.merge(&step.args[0]))
        }
        "clear" => {
            document.clear();
            StepResult::Nothing
        }
        other => panic!("an operation without a replay: {other}"),
    }
}

fn get(document: &Document, key: &str, default: Option<&Value>) -> StepResult {
    let found = document.get(key).unwrap().filter(|value| !value.is_null());
    match (found, default) {
        (Some(value), _) => StepResult::Value(as_js(value.deserialize().unwrap())),
        (None, Some(default)) => StepResult::Value(as_js(default.clone())),
        // The package distinguishes undefined from null. Here both read as `None`.
        (None, None) => StepResult::Nothing,
    }
}

fn increment_of(step: &Step) -> Number {
    step.args.get(1).map_or(Number::Int(1), |by| {
        by.as_i64()
            .map_or_else(|| by.as_f64().unwrap().into(), Number::from)
    })
}

fn unit_result<T>(edit: Result<T, EditError>) -> StepResult {
    match edit {
        Ok(_) => StepResult::Nothing,
        Err(EditError::NotANumber { .. }) => StepResult::NotANumber,
        Err(other) => panic!("an error that the real package does not have: {other}"),
    }
}

fn expected(document: &Document, step: &Step) -> StepResult {
    match step.r.get("value") {
        Some(Value::Bool(theirs)) if step.op == "has" => expected_has(document, step, *theirs),
        Some(Value::Null) if step.op == "get" || step.op == "pull" => {
            StepResult::Nothing.value_or(step)
        }
        Some(value) => StepResult::Value(as_js(value.clone())),
        None if step.r.contains_key("undefined") => StepResult::Nothing,
        None => {
            assert_eq!(step.r["code"], "E_RUNTIME_EXCEPTION");
            StepResult::NotANumber
        }
    }
}

impl StepResult {
    /// A null that is returned as the default is a value.
    fn value_or(self, step: &Step) -> Self {
        match step.args.get(1) {
            Some(_) => Self::Value(Value::Null),
            None => self,
        }
    }
}

/// Returns the intended difference of `has`. Theirs is `true` if the value is truthy in JavaScript, and an array
/// not empty. Ours is `true` for any value but null.
fn expected_has(document: &Document, step: &Step, theirs: bool) -> StepResult {
    let value = document.get(step.args[0].as_str().unwrap()).unwrap();
    let value: Option<Value> = value.map(|value| value.deserialize().unwrap());
    let truthy = match &value {
        None | Some(Value::Null) => false,
        Some(Value::Bool(bool)) => *bool,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(elements)) => !elements.is_empty(),
        Some(Value::Object(_)) => true,
    };
    assert_eq!(truthy, theirs, "the value itself differs: {:?}", step.args);
    StepResult::Value(value.is_some_and(|value| !value.is_null()).into())
}

fn read(document: &Document) -> Value {
    as_js(document.deserialize().unwrap())
}

/// Converts every number to a float, as in JavaScript.
fn as_js(value: Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(elements) => elements.into_iter().map(as_js).collect(),
        Value::Object(members) => {
            let members = members.into_iter();
            members.map(|(key, value)| (key, as_js(value))).collect()
        }
        other => other,
    }
}

#[test]
fn a_value_of_a_document_reads_on_its_own() {
    let document = Document::parse(br#"{"a":{"b":[1,"x"]}}"#).unwrap();
    let value = document.get("a.b.1").unwrap();
    assert_eq!(value.map(RawValue::deserialize::<&str>), Some(Ok("x")));
}
