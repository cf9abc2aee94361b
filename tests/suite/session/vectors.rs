//! Whole visits of many requests, replayed against the answers of the real @adonisjs/session package.
//!
//! Where this crate differs on purpose, the difference has a name in [`Difference`] and is counted:
//! nothing is skipped in silence.

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

/// One request: what it saw, did, and had at its end.
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

/// Where we differ, and say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// Their `flash(key, value)` ignores falsy values; ours keeps them.
    FalsyFlash,
    /// Their messages `input` and `reflashed` spill into the others; ours are ordinary names.
    SpillingName,
    /// Their `has` is truthiness; ours says whether there is a value.
    HasOfFalsy,
    /// They remember any absolute URL; ours is a path on this origin.
    ForeignUrl,
    /// They hand any URL out that was remembered.
    ForeignUrlRead,
    /// Their flash messages are no modification before the commit.
    FlashModifies,
    /// They store messages that are none, and take them out again.
    EmptyMessages,
    /// Their new visitor's id is not replaced by a regenerate; ours is, as the handler asked.
    FreshMove,
    /// They do not tell of a session that moved while it was empty.
    EmptyMove,
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
                *differences.entry(Difference::EmptyMove).or_default() += 1;
            }
            requests += 1;
            steps += visit.steps.len();
        }
    }
    assert_eq!((sequences.len(), requests, steps), (240, 800, 3002));
    assert_eq!(differences, COUNTS.into());
}

const COUNTS: [(Difference, usize); 9] = [
    (Difference::FalsyFlash, 23),
    (Difference::SpillingName, 54),
    (Difference::HasOfFalsy, 3),
    (Difference::ForeignUrl, 16),
    (Difference::ForeignUrlRead, 6),
    (Difference::FlashModifies, 103),
    (Difference::EmptyMessages, 5),
    (Difference::FreshMove, 29),
    (Difference::EmptyMove, 2),
];

fn replay(session: &Session, visit: &Visit, differences: &mut Differences, place: &str) {
    assert_eq!(data(session), parsed(&visit.start), "{place}: at the start");
    assert_eq!(
        messages(session),
        parsed(&visit.flashed),
        "{place}: messages"
    );
    assert_eq!(session.is_fresh(), visit.fresh, "{place}");
    let (mut flashed, mut bags) = (false, Bags::default());
    for (at, (op, args, answer)) in visit.steps.iter().enumerate() {
        let place = format!("{place} step {at}: {op} {args:?}");
        let mut differs = |difference| *differences.entry(difference).or_default() += 1;
        flashed |= op.starts_with("flash") && !op.contains('.') || op.starts_with("reflash");
        let expected = expected(session, op, args, answer, &mut differs);
        let ours = run(session, (op, args), &visit.input, &mut bags, &mut differs);
        assert_eq!(ours, expected, "{place}");
    }
    assert_eq!(data(session), parsed(&visit.all), "{place}: at the end");
    assert_eq!(session.is_empty().unwrap(), visit.empty, "{place}");
    if session.has_regenerated() != visit.regenerated {
        assert!(visit.fresh, "{place}: regenerated");
        *differences.entry(Difference::FreshMove).or_default() += 1;
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
            *differences.entry(Difference::EmptyMessages).or_default() += 1;
        }
        _ => {}
    }
}

/// What a step gave: a value, nothing, or the refusal of what is no number.
#[derive(Debug, PartialEq)]
enum Answer {
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
) -> Answer {
    let Some(value) = theirs.get("value") else {
        return if theirs == "error" {
            Answer::Refused
        } else {
            Answer::Nothing
        };
    };
    match op {
        "has" | "flashed.has" => {
            let key = args[0].as_str().unwrap();
            let there = match op {
                "has" => session.has(key).unwrap(),
                _ => session.flash_messages().unwrap().has(key).unwrap(),
            };
            if json!(there) != *value {
                assert!(there, "only a falsy value may differ");
                differs(Difference::HasOfFalsy);
            }
            Answer::Value(json!(there))
        }
        "getIntendedUrl" | "pullIntendedUrl"
            if value.as_str().is_some_and(|url| !url.starts_with('/')) =>
        {
            differs(Difference::ForeignUrlRead);
            Answer::Nothing
        }
        "get" | "pull" | "flashed.get" | "getIntendedUrl" | "pullIntendedUrl"
            if value.is_null() && args.len() < 2 =>
        {
            Answer::Nothing
        }
        _ => Answer::Value(as_js(value.clone())),
    }
}

fn run(
    session: &Session,
    (op, args): (&str, &[Value]),
    input: &Value,
    bags: &mut Bags,
    differs: &mut impl FnMut(Difference),
) -> Answer {
    let key = args.first().and_then(Value::as_str).unwrap_or_default();
    let keys = args.first().and_then(Value::as_array).into_iter().flatten();
    let keys: Vec<&str> = keys.filter_map(Value::as_str).collect();
    match op {
        "get" => found(session.get(key).unwrap(), args.get(1)),
        "pull" => found(session.pull(key).unwrap(), args.get(1)),
        "has" => Answer::Value(session.has(key).unwrap().into()),
        "all" => Answer::Value(data(session)),
        "put" => nothing(session.put(key, &args[1])),
        "forget" => nothing(session.forget(key)),
        "increment" => nothing(session.increment_by(key, by(args))),
        "decrement" => nothing(session.decrement_by(key, by(args))),
        "clear" => nothing(session.clear()),
        "regenerate" => nothing(session.regenerate()),
        "setIntendedUrl" => set_intended(session, key, differs),
        "getIntendedUrl" => found(session.intended_url().unwrap().map(Value::from), None),
        "pullIntendedUrl" => found(session.pull_intended_url().unwrap().map(Value::from), None),
        "flashAll" | "flashOnly" | "flashExcept" => bags.fill(session, op, input, &keys),
        "reflash" => bags.reflash(session.reflash(), session),
        "reflashOnly" => bags.reflash(session.reflash_only(&keys), session),
        "reflashExcept" => bags.reflash(session.reflash_except(&keys), session),
        "flashObject" => nothing(session.flash_many(&args[0])),
        "flashErrors" => nothing(session.flash_many(&json!({"errorsBag": args[0]}))),
        "flashValidationErrors" => validation_errors(session, args, input, bags),
        "flash" => bags.flash(session, (key, &args[1]), differs),
        "flashed.get" => {
            let messages = session.flash_messages().unwrap();
            found(messages.get(key).unwrap(), args.get(1))
        }
        "flashed.has" => Answer::Value(session.flash_messages().unwrap().has(key).unwrap().into()),
        other => panic!("an operation without a replay: {other}"),
    }
}

/// What their messages `input` and `reflashed` hold in one request: both spill into the others, the
/// reflashed below the input.
#[derive(Default)]
struct Bags {
    input: Map<String, Value>,
    reflashed: Map<String, Value>,
}

impl Bags {
    /// The input of a form, as it was flashed with the method of this name.
    fn fill(&mut self, session: &Session, op: &str, input: &Value, keys: &[&str]) -> Answer {
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
            self.spill(session);
        }
        nothing(done)
    }

    /// Leaves by our methods what their names spill.
    fn spill(&self, session: &Session) {
        let mut all = self.reflashed.clone();
        all.extend(self.input.clone());
        session.flash_all_of(&all).unwrap();
    }

    fn reflash(&mut self, done: Result<(), SessionError>, session: &Session) -> Answer {
        if !self.reflashed.is_empty() {
            self.reflashed.clear();
            self.spill(session);
        }
        nothing(done)
    }

    fn flash(
        &mut self,
        session: &Session,
        (key, value): (&str, &Value),
        differs: &mut impl FnMut(Difference),
    ) -> Answer {
        if !is_truthy(value) {
            // What they do not keep is not flashed here either, so that the rest can be compared.
            differs(Difference::FalsyFlash);
            return Answer::Nothing;
        }
        match key {
            "input" => self.input = value.as_object().unwrap().clone(),
            "input.a" => drop(self.input.insert("a".to_owned(), value.clone())),
            "reflashed" => {
                session.reflash_only(&[""; 0]).unwrap();
                self.reflashed = value.as_object().unwrap().clone();
            }
            _ => return nothing(session.flash(key, value)),
        }
        differs(Difference::SpillingName);
        self.spill(session);
        Answer::Nothing
    }
}

fn set_intended(session: &Session, url: &str, differs: &mut impl FnMut(Difference)) -> Answer {
    match session.set_intended_url(url) {
        Ok(()) => {}
        Err(SessionError::ForeignUrl) if url.starts_with("http") => {
            differs(Difference::ForeignUrl);
            session.put("redirect.intendedUrl", url).unwrap();
        }
        Err(SessionError::ForeignUrl) => {}
        Err(other) => panic!("{other}"),
    }
    Answer::Nothing
}

/// What their method does, by the methods that it is made of.
fn validation_errors(session: &Session, args: &[Value], input: &Value, bags: &mut Bags) -> Answer {
    let hidden = ["_csrf", "_method", "password", "password_confirmation"];
    if args.get(1) != Some(&json!(false)) {
        bags.fill(session, "flashExcept", input, &hidden);
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
        .flash_many(&json!({"errorsBag": {code: summary}}))
        .unwrap();
    nothing(session.flash("inputErrorsBag", &fields))
}

fn found(value: Option<Value>, default: Option<&Value>) -> Answer {
    match value.or_else(|| default.cloned()) {
        Some(value) => Answer::Value(as_js(value)),
        None => Answer::Nothing,
    }
}

fn nothing<T>(done: Result<T, SessionError>) -> Answer {
    match done {
        Ok(_) => Answer::Nothing,
        Err(SessionError::Change(_)) => Answer::Refused,
        Err(other) => panic!("an error that the real package does not have: {other}"),
    }
}

fn by(args: &[Value]) -> Number {
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

fn parsed(json: &str) -> Value {
    as_js(serde_json::from_str(json).unwrap())
}

/// The value with every number as JavaScript has it: a float.
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
