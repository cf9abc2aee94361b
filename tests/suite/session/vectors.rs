//! Sequences of requests, compared with recorded results of the @adonisjs/session package.
//!
//! Each intended difference has a name in [`Difference`] and is counted. No result is skipped.

use std::collections::BTreeMap;

use hyper_session::{Session, SessionError, document::Number};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::support::{config, test_server};

#[derive(Deserialize)]
struct Sequence {
    id: String,
    requests: Vec<Visit>,
}

/// One request: its data at the start, its steps, and its data at the end.
#[derive(Deserialize)]
struct Visit {
    input: Value,
    start: String,
    flashed: String,
    steps: Vec<(String, Vec<Value>, Value)>,
    all: String,
    empty: bool,
    modified: bool,
    fresh: bool,
    regenerated: bool,
    migrated: bool,
}

/// An intended difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// Theirs: `flash(key, value)` ignores falsy values. Ours keeps them.
    FalsyFlash,
    /// Theirs: the messages `input` and `reflashed` are merged into the others. Ours are ordinary names.
    MergedName,
    /// Theirs: `has` is truthiness. Ours is `true` for any value but null.
    HasOfFalsy,
    /// Theirs: any absolute URL is stored. Ours must be a path on this origin.
    ForeignUrl,
    /// Theirs: any stored URL is returned. Ours must be a path on this origin.
    ForeignUrlRead,
    /// Theirs: flash messages are no modification before the commit. Ours are.
    FlashModifies,
    /// Theirs: an empty set of messages is stored and removed again. Ours is not stored.
    EmptyMessages,
    /// Theirs: pull of a missing value is a modification. Ours is not: another request may put a value.
    AbsentPull,
    /// Theirs: regenerate keeps the id of a new visitor. Ours replaces it.
    FreshRegeneration,
    /// Theirs: no event if an empty session gets a new id. Ours emits one.
    EmptyRegeneration,
}

type Differences = BTreeMap<Difference, usize>;

#[tokio::test]
async fn every_request_of_every_sequence_goes_as_with_the_real_package() {
    let sequences: Vec<Sequence> =
        serde_json::from_str(include_str!("../../data/session_sequences.json")).unwrap();
    let (mut requests, mut steps) = (0, 0);
    let mut differences = Differences::new();
    for sequence in &sequences {
        let server = test_server(config());
        let mut browser = server.browser();
        for (at, visit) in sequence.requests.iter().enumerate() {
            let place = format!("{} request {at}", sequence.id);
            server.events.clear();
            browser
                .visit(async |session| replay(session, visit, &mut differences, &place))
                .await;
            let migrated = !server.events.with_name("migrated").is_empty();
            assert_eq!(migrated, visit.regenerated, "{place}");
            if migrated != visit.migrated {
                *differences
                    .entry(Difference::EmptyRegeneration)
                    .or_default() += 1;
            }
            requests += 1;
            steps += visit.steps.len();
        }
    }
    assert_eq!((sequences.len(), requests, steps), (240, 800, 3002));
    assert_eq!(differences, COUNTS.into());
}

const COUNTS: [(Difference, usize); 10] = [
    (Difference::FalsyFlash, 23),
    (Difference::MergedName, 54),
    (Difference::HasOfFalsy, 3),
    (Difference::ForeignUrl, 16),
    (Difference::ForeignUrlRead, 6),
    (Difference::FlashModifies, 92),
    (Difference::EmptyMessages, 7),
    (Difference::AbsentPull, 13),
    (Difference::FreshRegeneration, 29),
    (Difference::EmptyRegeneration, 2),
];

fn replay(session: &Session, visit: &Visit, differences: &mut Differences, place: &str) {
    assert_eq!(
        data(session),
        parse_js(&visit.start),
        "{place}: at the start"
    );
    assert_eq!(
        messages(session),
        parse_js(&visit.flashed),
        "{place}: messages"
    );
    assert_eq!(session.is_fresh(), visit.fresh, "{place}");
    let (mut flashed, mut merged) = (false, MergedMessages::default());
    for (at, (op, args, answer)) in visit.steps.iter().enumerate() {
        let place = format!("{place} step {at}: {op} {args:?}");
        let mut differs = |difference| *differences.entry(difference).or_default() += 1;
        flashed |= op.starts_with("flash") && !op.contains('.') || op.starts_with("reflash");
        let expected = expected(session, op, args, answer, &mut differs);
        let ours = run(session, (op, args), &visit.input, &mut merged, &mut differs);
        assert_eq!(ours, expected, "{place}");
    }
    assert_eq!(data(session), parse_js(&visit.all), "{place}: at the end");
    assert_eq!(session.is_empty().unwrap(), visit.empty, "{place}");
    if session.has_regenerated() != visit.regenerated {
        assert!(visit.fresh, "{place}: regenerated");
        *differences
            .entry(Difference::FreshRegeneration)
            .or_default() += 1;
    }
    match (session.is_modified(), visit.modified) {
        (true, false) => {
            assert!(flashed, "{place}: modified");
            *differences.entry(Difference::FlashModifies).or_default() += 1;
        }
        (false, true) => {
            assert_eq!(
                (&visit.all, &*visit.flashed),
                (&visit.start, "{}"),
                "{place}"
            );
            let pulls = visit.steps.iter().any(|(op, ..)| op.starts_with("pull"));
            let difference = match pulls {
                true => Difference::AbsentPull,
                false => Difference::EmptyMessages,
            };
            *differences.entry(difference).or_default() += 1;
        }
        _ => {}
    }
}

/// The result of a step: a value, nothing, or the refusal to increment a value that is no number.
#[derive(Debug, PartialEq)]
enum StepResult {
    Nothing,
    Value(Value),
    Refused,
}

fn expected(
    session: &Session,
    op: &str,
    args: &[Value],
    theirs: &Value,
    differs: &mut impl FnMut(Difference),
) -> StepResult {
    let Some(value) = theirs.get("value") else {
        return if theirs == "error" {
            StepResult::Refused
        } else {
            StepResult::Nothing
        };
    };
    match op {
        "has" | "flashed.has" => {
            let key = args[0].as_str().unwrap();
            let exists = match op {
                "has" => session.has(key).unwrap(),
                _ => session.flash_messages().unwrap().has(key).unwrap(),
            };
            if json!(exists) != *value {
                assert!(exists, "only a falsy value may differ");
                differs(Difference::HasOfFalsy);
            }
            StepResult::Value(json!(exists))
        }
        "getIntendedUrl" | "pullIntendedUrl"
            if value.as_str().is_some_and(|url| !url.starts_with('/')) =>
        {
            differs(Difference::ForeignUrlRead);
            StepResult::Nothing
        }
        "get" | "pull" | "flashed.get" | "getIntendedUrl" | "pullIntendedUrl"
            if value.is_null() && args.len() < 2 =>
        {
            StepResult::Nothing
        }
        _ => StepResult::Value(as_js(value.clone())),
    }
}

fn run(
    session: &Session,
    (op, args): (&str, &[Value]),
    input: &Value,
    merged: &mut MergedMessages,
    differs: &mut impl FnMut(Difference),
) -> StepResult {
    let key = args.first().and_then(Value::as_str).unwrap_or_default();
    let keys = args.first().and_then(Value::as_array).into_iter().flatten();
    let keys: Vec<&str> = keys.filter_map(Value::as_str).collect();
    match op {
        "get" => value_result(session.get(key).unwrap(), args.get(1)),
        "pull" => value_result(session.pull(key).unwrap(), args.get(1)),
        "has" => StepResult::Value(session.has(key).unwrap().into()),
        "all" => StepResult::Value(data(session)),
        "put" => unit_result(session.put(key, &args[1])),
        "forget" => unit_result(session.forget(key)),
        "increment" => unit_result(session.increment_by(key, increment_of(args))),
        "decrement" => unit_result(session.decrement_by(key, increment_of(args))),
        "clear" => unit_result(session.clear()),
        "regenerate" => unit_result(session.regenerate()),
        "setIntendedUrl" => set_intended(session, key, differs),
        "getIntendedUrl" => value_result(session.intended_url().unwrap().map(Value::from), None),
        "pullIntendedUrl" => {
            value_result(session.pull_intended_url().unwrap().map(Value::from), None)
        }
        "flashAll" | "flashOnly" | "flashExcept" => merged.flash_input(session, op, input, &keys),
        "reflash" => merged.reflash(session.reflash(), session),
        "reflashOnly" => merged.reflash(session.reflash_only(&keys), session),
        "reflashExcept" => merged.reflash(session.reflash_except(&keys), session),
        "flashObject" => unit_result(session.flash_many(&args[0])),
        "flashErrors" => unit_result(session.flash_many(json!({"errorsBag": args[0]}))),
        "flashValidationErrors" => validation_errors(session, args, input, merged),
        "flash" => merged.flash(session, (key, &args[1]), differs),
        "flashed.get" => {
            let messages = session.flash_messages().unwrap();
            value_result(messages.get(key).unwrap(), args.get(1))
        }
        "flashed.has" => {
            StepResult::Value(session.flash_messages().unwrap().has(key).unwrap().into())
        }
        other => panic!("an operation without a replay: {other}"),
    }
}

/// Their messages `input` and `reflashed` in one request. Both are merged into the others, and `input`
/// wins.
#[derive(Default)]
struct MergedMessages {
    input: Map<String, Value>,
    reflashed: Map<String, Value>,
}

impl MergedMessages {
    /// Flashes the input of a form with the method of this name.
    fn flash_input(
        &mut self,
        session: &Session,
        op: &str,
        input: &Value,
        keys: &[&str],
    ) -> StepResult {
        let done = match op {
            "flashAll" => session.flash_all_of(input),
            "flashOnly" => session.flash_only_of(input, keys),
            _ => session.flash_except_of(input, keys),
        };
        self.input = input.as_object().unwrap().clone();
        self.input.retain(|key, _| match op {
            "flashAll" => true,
            "flashOnly" => keys.contains(&&**key),
            _ => !keys.contains(&&**key),
        });
        if !self.reflashed.is_empty() {
            self.flash_merged(session);
        }
        unit_result(done)
    }

    /// Flashes the merged messages.
    fn flash_merged(&self, session: &Session) {
        let mut all = self.reflashed.clone();
        all.extend(self.input.clone());
        session.flash_all_of(all).unwrap();
    }

    fn reflash(&mut self, done: Result<(), SessionError>, session: &Session) -> StepResult {
        if !self.reflashed.is_empty() {
            self.reflashed.clear();
            self.flash_merged(session);
        }
        unit_result(done)
    }

    fn flash(
        &mut self,
        session: &Session,
        (key, value): (&str, &Value),
        differs: &mut impl FnMut(Difference),
    ) -> StepResult {
        if !is_truthy(value) {
            // Skip values that theirs ignores, so that the other messages can be compared.
            differs(Difference::FalsyFlash);
            return StepResult::Nothing;
        }
        match key {
            "input" => self.input = value.as_object().unwrap().clone(),
            "input.a" => drop(self.input.insert("a".to_owned(), value.clone())),
            "reflashed" => {
                session.reflash_only(&[""; 0]).unwrap();
                self.reflashed = value.as_object().unwrap().clone();
            }
            _ => return unit_result(session.flash(key, value)),
        }
        differs(Difference::MergedName);
        self.flash_merged(session);
        StepResult::Nothing
    }
}

fn set_intended(session: &Session, url: &str, differs: &mut impl FnMut(Difference)) -> StepResult {
    match session.set_intended_url(url) {
        Ok(()) => {}
        Err(SessionError::ForeignUrl) if url.starts_with("http") => {
            differs(Difference::ForeignUrl);
            session.put("redirect.intendedUrl", url).unwrap();
        }
        Err(SessionError::ForeignUrl) => {}
        Err(other) => panic!("{other}"),
    }
    StepResult::Nothing
}

/// Executes the steps of their method `flashValidationErrors`.
fn validation_errors(
    session: &Session,
    args: &[Value],
    input: &Value,
    merged: &mut MergedMessages,
) -> StepResult {
    let hidden = ["_csrf", "_method", "password", "password_confirmation"];
    if args.get(1) != Some(&json!(false)) {
        merged.flash_input(session, "flashExcept", input, &hidden);
    }
    let mut fields: Map<String, Value> = Map::new();
    for error in args[0]["messages"].as_array().unwrap() {
        let messages = fields
            .entry(error["field"].as_str().unwrap())
            .or_insert(json!([]));
        messages
            .as_array_mut()
            .unwrap()
            .push(error["message"].clone());
    }
    let summary = "The form could not be saved. Please check the errors below.";
    let code = args[0]["code"].as_str().unwrap();
    session
        .flash_many(json!({"errorsBag": {code: summary}}))
        .unwrap();
    unit_result(session.flash("inputErrorsBag", fields))
}

fn value_result(value: Option<Value>, default: Option<&Value>) -> StepResult {
    match value.or_else(|| default.cloned()) {
        Some(value) => StepResult::Value(as_js(value)),
        None => StepResult::Nothing,
    }
}

fn unit_result<T>(done: Result<T, SessionError>) -> StepResult {
    match done {
        Ok(_) => StepResult::Nothing,
        Err(SessionError::Change(_)) => StepResult::Refused,
        Err(other) => panic!("an error that the real package does not have: {other}"),
    }
}

fn increment_of(args: &[Value]) -> Number {
    let Some(by) = args.get(1) else {
        return 1.into();
    };
    by.as_i64()
        .map_or_else(|| by.as_f64().unwrap().into(), Number::from)
}

fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(bool) => *bool,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

fn data(session: &Session) -> Value {
    as_js(session.all().unwrap())
}

fn messages(session: &Session) -> Value {
    as_js(session.flash_messages().unwrap().all().unwrap())
}

fn parse_js(json: &str) -> Value {
    as_js(serde_json::from_str(json).unwrap())
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
