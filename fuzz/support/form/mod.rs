//! A model of the input of a form: the documented rules, without the parsers of the library.

pub mod json;
pub mod multipart;
mod tree;

use hyper_session::form::{InputErrorKind, InputLimits};
use serde_json::{Map, Value};

use self::{json::Json, tree::Tree};

/// The reason why an input is refused.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// With the unit of the limit.
    TooLarge(&'static str),
    Malformed,
}

/// The input of a request.
#[derive(Debug)]
pub struct Expected {
    pub tree: Value,
    /// The field, the name, the type and the size of each file.
    pub files: Vec<(String, String, Option<String>, u64)>,
}

/// The result of reading a request; `None` if the model does not know.
pub type Outcome = Option<Result<Expected, Refusal>>;

/// The content type of a body.
#[derive(Clone, Copy)]
pub enum ContentType {
    Urlencoded,
    Json,
    /// With the boundary.
    Multipart(&'static str),
}

/// The fields of a query or a body, within the limits of the request.
pub struct Fields<'a> {
    limits: &'a InputLimits,
    count: usize,
    tree: Tree,
}

impl Fields<'_> {
    fn count(&mut self, more: usize) -> Result<(), Refusal> {
        self.count += more;
        let is_within = self.count <= self.limits.fields;
        is_within.then_some(()).ok_or(Refusal::TooLarge("fields"))
    }

    fn add(&mut self, name: &str, value: String) -> Result<(), Refusal> {
        self.count(1)?;
        let path = tree::path(name);
        if path[0].as_deref() == Some("_csrf") {
            return Ok(());
        }
        if path.len() > self.limits.depth {
            return Err(Refusal::TooLarge("levels of nesting"));
        }
        self.tree.insert(&path, value)
    }

    /// Adds the fields of an urlencoded text.
    fn urlencoded(&mut self, text: &[u8]) -> Result<(), Refusal> {
        for pair in text.split(|byte| *byte == b'&') {
            if pair.is_empty() {
                continue;
            }
            let at = pair.iter().position(|byte| *byte == b'=');
            let (name, value) = at.map_or((pair, &b""[..]), |at| (&pair[..at], &pair[at + 1..]));
            self.add(&decode(name)?, decode(value)?)?;
        }
        Ok(())
    }

    fn take_members(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.tree).into_members()
    }
}

fn decode(text: &[u8]) -> Result<String, Refusal> {
    let hex = |at: usize| char::from(*text.get(at)?).to_digit(16);
    let (mut bytes, mut at) = (Vec::new(), 0);
    while at < text.len() {
        match (text[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) => bytes.push(b' '),
            (byte, ..) => bytes.push(byte),
        }
        at += 1;
    }
    String::from_utf8(bytes).map_err(|_| Refusal::Malformed)
}

/// Returns the input of a request with this query and this body.
pub fn expected(kind: ContentType, query: &str, body: &[u8], limits: &InputLimits) -> Outcome {
    let mut fields = Fields {
        limits,
        count: 0,
        tree: Tree::default(),
    };
    if query.len() as u64 > limits.bytes {
        return Some(Err(Refusal::TooLarge("bytes")));
    }
    if let Err(refusal) = fields.urlencoded(query.as_bytes()) {
        return Some(Err(refusal));
    }
    let members = fields.take_members();
    if body.is_empty() {
        return Some(Ok(input(members, Vec::new())));
    }
    if let ContentType::Multipart(boundary) = kind {
        let parts = multipart::parse(body, boundary)?;
        return Some(multipart::read(parts, &mut fields).map(|files| {
            let body = fields.take_members();
            input(merge(members, body), files)
        }));
    }
    if body.len() as u64 > limits.bytes {
        return Some(Err(Refusal::TooLarge("bytes")));
    }
    let body = match kind {
        ContentType::Urlencoded => fields.urlencoded(body).map(|()| fields.take_members()),
        // The library may find a limit or a mistake first.
        _ => Json::parse(body)?.into_members(&mut fields),
    };
    Some(body.map(|body| input(merge(members, body), Vec::new())))
}

fn merge(mut members: Map<String, Value>, body: Map<String, Value>) -> Map<String, Value> {
    members.extend(body);
    members
}

fn input(members: Map<String, Value>, files: Vec<multipart::File>) -> Expected {
    Expected {
        tree: Value::Object(members),
        files,
    }
}

/// Returns `true` if the library refused an input for this reason.
pub fn is_refused_for(kind: &InputErrorKind, refusal: &Refusal) -> bool {
    match (kind, refusal) {
        (InputErrorKind::TooLarge { unit, .. }, Refusal::TooLarge(expected)) => unit == expected,
        (InputErrorKind::Malformed(_), Refusal::Malformed) => true,
        _ => false,
    }
}
