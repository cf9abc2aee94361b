//! The tree of a form's fields.

use std::collections::{BTreeMap, btree_map::Entry};

use serde_json::{Map, Value};

use super::{
    InputLimits,
    error::InputErrorKind,
    field_name::{NameSegment, parse_index, segments},
};

/// The field that contains the CSRF token. It is never part of the tree, nor is a group of this name.
pub(super) const TOKEN_FIELD: &str = "_csrf";

/// The fields of a form as a tree.
#[derive(Debug)]
pub(super) struct Fields {
    root: FieldGroup,
    /// The value of the first field named [`TOKEN_FIELD`].
    pub(super) token: Option<String>,
    count: usize,
    /// The deepest nesting so far.
    depth: usize,
    limits: InputLimits,
}

/// A group of fields by name. A member takes the same memory whatever its index is.
#[derive(Debug, Default)]
struct FieldGroup {
    members: BTreeMap<String, FieldNode>,
    /// The highest index among the names, plus one.
    next_index: u64,
}

#[derive(Debug)]
enum FieldNode {
    Text(String),
    /// The values of a name that was sent more than once.
    Texts(Vec<String>),
    Group(FieldGroup),
}

impl Fields {
    pub(super) fn new(limits: &InputLimits) -> Self {
        Self {
            root: FieldGroup::default(),
            token: None,
            count: 0,
            depth: 0,
            limits: *limits,
        }
    }

    /// Adds a field.
    pub(super) fn add(&mut self, name: &str, value: String) -> Result<(), InputErrorKind> {
        self.count(1)?;
        if name == TOKEN_FIELD {
            self.token.get_or_insert(value);
            return Ok(());
        }
        let segments = segments(name);
        // `_csrf[a]` is no token, but it would become the member `_csrf`.
        if segments.first() == Some(&NameSegment::Key(TOKEN_FIELD)) {
            return Ok(());
        }
        self.nest(segments.len())?;
        self.root.add(&segments, value)
    }

    /// Counts fields against the limit. The caller may store them elsewhere.
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

    /// Checks a depth of nesting against the limit.
    pub(super) fn nest(&mut self, depth: usize) -> Result<(), InputErrorKind> {
        self.depth = self.depth.max(depth);
        let limit = self.limits.effective_depth();
        if self.depth > limit {
            return Err(InputErrorKind::too_large("levels of nesting", limit as u64));
        }
        Ok(())
    }

    /// Replaces the limits. Fails if the fields so far exceed them.
    pub(super) fn set_limits(&mut self, limits: &InputLimits) -> Result<(), InputErrorKind> {
        self.limits = *limits;
        self.nest(0)?;
        self.count(0)
    }

    /// Takes the tree so far. The count continues.
    pub(super) fn take(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.root).into_map()
    }
}

impl FieldGroup {
    fn add(&mut self, segments: &[NameSegment<'_>], value: String) -> Result<(), InputErrorKind> {
        let Some((segment, rest)) = segments.split_first() else {
            return Ok(());
        };
        let key = match segment {
            NameSegment::Key(key) => (*key).to_owned(),
            NameSegment::Append => self.append_key(),
        };
        if let Some(index) = parse_index(&key) {
            self.next_index = self.next_index.max(index.saturating_add(1));
        }
        match self.members.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(FieldNode::new(rest, value)?);
                Ok(())
            }
            Entry::Occupied(mut node) => node.get_mut().add(rest, value),
        }
    }

    /// Returns the key after all indexes, and takes it. A number of ten digits is a key but no index, so
    /// a member with this key may exist.
    fn append_key(&mut self) -> String {
        loop {
            let key = self.next_index.to_string();
            self.next_index += 1;
            if !self.members.contains_key(&key) {
                return key;
            }
        }
    }

    fn into_map(self) -> Map<String, Value> {
        let members = self.members.into_iter();
        members.map(|(key, node)| (key, node.into())).collect()
    }

    /// Returns a list if the names are the numbers from 0 up, in any order; otherwise an object.
    fn into_value(self) -> Value {
        let is_list = self.next_index == self.members.len() as u64
            && self.members.keys().all(|key| parse_index(key).is_some());
        if !is_list {
            return Value::Object(self.into_map());
        }
        let mut items: Vec<(Option<u64>, FieldNode)> = self
            .members
            .into_iter()
            .map(|(key, node)| (parse_index(&key), node))
            .collect();
        items.sort_by_key(|(index, _)| *index);
        Value::Array(items.into_iter().map(|(_, node)| node.into()).collect())
    }
}

impl FieldNode {
    fn new(segments: &[NameSegment<'_>], value: String) -> Result<Self, InputErrorKind> {
        if segments.is_empty() {
            return Ok(Self::Text(value));
        }
        let mut group = FieldGroup::default();
        group.add(segments, value)?;
        Ok(Self::Group(group))
    }

    fn add(&mut self, segments: &[NameSegment<'_>], value: String) -> Result<(), InputErrorKind> {
        match (&mut *self, segments) {
            (Self::Group(group), [_, ..]) => return group.add(segments, value),
            (Self::Text(first), []) => {
                *self = Self::Texts(vec![std::mem::take(first), value]);
            }
            (Self::Texts(values), []) => values.push(value),
            _ => {
                return Err(InputErrorKind::Malformed(
                    "a field name is used for a value and for a group",
                ));
            }
        }
        Ok(())
    }
}

impl From<FieldNode> for Value {
    fn from(node: FieldNode) -> Self {
        match node {
            FieldNode::Text(text) => Self::String(text),
            FieldNode::Texts(values) => values.into(),
            FieldNode::Group(group) => group.into_value(),
        }
    }
}
