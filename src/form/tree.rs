//! Fields, as they come, made into a tree.

use std::collections::{BTreeMap, btree_map::Entry};

use serde_json::{Map, Value};

use super::{
    InputLimits,
    error::InputErrorKind,
    name::{Step, index_of, steps},
};

/// The name of the field that carries a token. It never gets into the tree.
pub(super) const TOKEN_FIELD: &str = "_csrf";

/// Collects the fields of a form.
#[derive(Debug)]
pub(super) struct Fields {
    root: Group,
    /// The value of the first field named [`TOKEN_FIELD`].
    pub(super) token: Option<String>,
    count: usize,
    limits: InputLimits,
}

/// Members under names. Each takes memory for itself alone, whatever index it claims.
#[derive(Debug, Default)]
struct Group {
    members: BTreeMap<String, Node>,
    /// One more than the highest index among the names.
    next: u64,
}

#[derive(Debug)]
enum Node {
    Text(String),
    /// Values of one name that came more than once.
    Several(Vec<String>),
    Group(Group),
}

impl Fields {
    pub(super) fn new(limits: &InputLimits) -> Self {
        Self {
            root: Group::default(),
            token: None,
            count: 0,
            limits: *limits,
        }
    }

    /// Takes one field in.
    pub(super) fn add(&mut self, name: &str, value: String) -> Result<(), InputErrorKind> {
        self.count(1)?;
        if name == TOKEN_FIELD {
            self.token.get_or_insert(value);
            return Ok(());
        }
        let steps = steps(name);
        if steps.len() > self.limits.depth() {
            let limit = self.limits.depth() as u64;
            return Err(InputErrorKind::too_large("levels of nesting", limit));
        }
        self.root.add(&steps, value)
    }

    /// Counts fields that are there, wherever they are kept.
    pub(super) fn count(&mut self, more: usize) -> Result<(), InputErrorKind> {
        self.count = self.count.saturating_add(more);
        if self.count > self.limits.fields {
            return Err(InputErrorKind::too_large(
                "fields",
                self.limits.fields as u64,
            ));
        }
        Ok(())
    }

    /// Goes on under other limits, which what was counted so far must keep as well.
    pub(super) fn relimit(&mut self, limits: &InputLimits) -> Result<(), InputErrorKind> {
        self.limits = *limits;
        self.count(0)
    }

    /// The tree so far; what comes after is counted on.
    pub(super) fn take(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.root).into_map()
    }
}

impl Group {
    fn add(&mut self, steps: &[Step<'_>], value: String) -> Result<(), InputErrorKind> {
        let Some((step, rest)) = steps.split_first() else {
            return Ok(());
        };
        let key = match step {
            Step::Named(key) => (*key).to_owned(),
            Step::Next => self.next.to_string(),
        };
        if let Some(index) = index_of(&key) {
            self.next = self.next.max(index.saturating_add(1));
        }
        match self.members.entry(key) {
            Entry::Vacant(place) => {
                place.insert(Node::new(rest, value)?);
                Ok(())
            }
            Entry::Occupied(mut node) => node.get_mut().add(rest, value),
        }
    }

    fn into_map(self) -> Map<String, Value> {
        let members = self.members.into_iter();
        members.map(|(key, node)| (key, node.into())).collect()
    }

    /// A list, where the names are the numbers from 0 on, in any order.
    fn into_value(self) -> Value {
        let is_list = self.next == self.members.len() as u64
            && self.members.keys().all(|key| index_of(key).is_some());
        if !is_list {
            return Value::Object(self.into_map());
        }
        let mut items: Vec<(Option<u64>, Node)> = self
            .members
            .into_iter()
            .map(|(key, node)| (index_of(&key), node))
            .collect();
        items.sort_by_key(|(index, _)| *index);
        Value::Array(items.into_iter().map(|(_, node)| node.into()).collect())
    }
}

impl Node {
    fn new(steps: &[Step<'_>], value: String) -> Result<Self, InputErrorKind> {
        if steps.is_empty() {
            return Ok(Self::Text(value));
        }
        let mut group = Group::default();
        group.add(steps, value)?;
        Ok(Self::Group(group))
    }

    fn add(&mut self, steps: &[Step<'_>], value: String) -> Result<(), InputErrorKind> {
        match (&mut *self, steps) {
            (Self::Group(group), [_, ..]) => return group.add(steps, value),
            (Self::Text(first), []) => {
                *self = Self::Several(vec![std::mem::take(first), value]);
            }
            (Self::Several(values), []) => values.push(value),
            _ => {
                return Err(InputErrorKind::Malformed(
                    "one name stands for a value and for a group of fields",
                ));
            }
        }
        Ok(())
    }
}

impl From<Node> for Value {
    fn from(node: Node) -> Self {
        match node {
            Node::Text(text) => Self::String(text),
            Node::Several(values) => values.into(),
            Node::Group(group) => group.into_value(),
        }
    }
}
