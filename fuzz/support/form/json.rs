//! JSON values, and their size.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};

use super::{Fields, Refusal};

/// A JSON value. `Value` itself gives meaning to some names of members.
pub struct Json {
    pub value: Value,
    depth: usize,
    /// The number of arrays, objects and commas.
    size: usize,
}

impl Json {
    pub fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// Returns the members of the object, except for the CSRF token.
    pub fn into_members(self, fields: &mut Fields<'_>) -> Result<Map<String, Value>, Refusal> {
        if self.depth > fields.limits.depth {
            return Err(Refusal::TooLarge("levels of nesting"));
        }
        fields.count(self.size)?;
        match self.value {
            Value::Object(mut members) => {
                members.remove("_csrf");
                Ok(members)
            }
            _ => Err(Refusal::Malformed),
        }
    }

    fn leaf(value: impl Into<Value>) -> Self {
        Self {
            value: value.into(),
            depth: 0,
            size: 0,
        }
    }

    /// Makes the value of an array or an object with this number of items.
    fn container(value: impl Into<Value>, count: usize, depth: usize, size: usize) -> Self {
        Self {
            value: value.into(),
            depth: depth + 1,
            size: size + count.max(1),
        }
    }
}

struct JsonVisitor;

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::leaf(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::leaf(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::leaf(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::leaf(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::leaf(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::leaf(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let (mut items, mut depth, mut size) = (Vec::new(), 0, 0);
        while let Some(item) = access.next_element::<Json>()? {
            items.push(item.value);
            (depth, size) = (depth.max(item.depth), size + item.size);
        }
        let count = items.len();
        Ok(Json::container(items, count, depth, size))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let (mut members, mut count, mut depth, mut size) = (Map::new(), 0, 0, 0);
        while let Some((name, member)) = access.next_entry::<String, Json>()? {
            members.insert(name, member.value);
            (depth, size) = (depth.max(member.depth), size + member.size);
            count += 1;
        }
        Ok(Json::container(members, count, depth, size))
    }
}
