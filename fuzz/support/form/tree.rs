//! The tree of fields.

use serde_json::{Map, Value};

use super::Refusal;

/// A group of fields, in the order of their first values.
#[derive(Default)]
pub struct Tree(Vec<(String, Node)>);

enum Node {
    Texts(Vec<String>),
    Group(Tree),
}

/// Splits a field name. `None` is a pair of empty brackets.
pub fn path(name: &str) -> Vec<Option<String>> {
    let whole = || vec![Some(name.to_owned())];
    let Some(start) = name.find('[').filter(|start| *start > 0) else {
        return whole();
    };
    let Some(inner) = name[start + 1..].strip_suffix(']') else {
        return whole();
    };
    let keys: Vec<&str> = inner.split("][").collect();
    if keys.iter().any(|key| key.contains(['[', ']'])) {
        return whole();
    }
    let key = |key: &&str| (!key.is_empty()).then(|| (*key).to_owned());
    let first = std::iter::once(Some(name[..start].to_owned()));
    first.chain(keys.iter().map(key)).collect()
}

/// Returns the number of a list index: below a billion, without leading zeros.
pub fn index(key: &str) -> Option<u64> {
    let number: u64 = key.parse().ok()?;
    (number < 1_000_000_000 && number.to_string() == key).then_some(number)
}

impl Tree {
    pub fn insert(&mut self, path: &[Option<String>], value: String) -> Result<(), Refusal> {
        let (first, rest) = path.split_first().expect("a path has a key");
        let key = first.clone().unwrap_or_else(|| self.next_key());
        let at = self.0.iter().position(|(name, _)| *name == key);
        let at = at.unwrap_or_else(|| {
            let empty = match rest {
                [] => Node::Texts(Vec::new()),
                _ => Node::Group(Self::default()),
            };
            self.0.push((key, empty));
            self.0.len() - 1
        });
        match (&mut self.0[at].1, rest) {
            (Node::Texts(texts), []) => texts.push(value),
            (Node::Group(group), [_, ..]) => return group.insert(rest, value),
            _ => return Err(Refusal::Malformed),
        }
        Ok(())
    }

    /// Returns the first free number after the largest index.
    fn next_key(&self) -> String {
        let indexes = self.0.iter().filter_map(|(name, _)| index(name));
        let start = indexes.max().map_or(0, |index| index + 1);
        let is_free = |key: &String| self.0.iter().all(|(name, _)| name != key);
        let mut keys = (start..).map(|number| number.to_string());
        keys.find(is_free).expect("a number is free")
    }

    pub fn into_members(self) -> Map<String, Value> {
        let nodes = self.0.into_iter();
        nodes.map(|(key, node)| (key, node.into_value())).collect()
    }

    fn into_value(self) -> Value {
        let count = self.0.len() as u64;
        let mut members = self.into_members();
        if (0..count).all(|index| members.contains_key(&index.to_string())) {
            let items = (0..count).filter_map(|index| members.remove(&index.to_string()));
            return Value::Array(items.collect());
        }
        Value::Object(members)
    }
}

impl Node {
    fn into_value(self) -> Value {
        match self {
            Self::Texts(texts) => match <[String; 1]>::try_from(texts) {
                Ok([text]) => Value::String(text),
                Err(texts) => texts.into(),
            },
            Self::Group(group) => group.into_value(),
        }
    }
}
