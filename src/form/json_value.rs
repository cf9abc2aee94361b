//! JSON values in which no name is special.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// A JSON value of a client.
///
/// `Value` parses the text of a member `$serde_json::private::RawValue` again if any crate of the build has
/// enabled `raw_value`, as axum does. That value would be within no limit.
pub(super) struct JsonValue(pub(super) Value);

/// The name under which serde_json passes a number, if a crate of the build has enabled
/// `arbitrary_precision`.
const NUMBER: &str = "$serde_json::private::Number";

struct JsonVisitor;

impl<'de> Deserialize<'de> for JsonValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor).map(Self)
    }
}

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(JsonValue(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, JsonValue(value))) = access.next_entry()? {
            members.insert(name, value);
        }
        Ok(number(&members).map_or(Value::Object(members), Value::Number))
    }
}

/// Returns the number that serde_json has passed as `members`; `None` if it has passed an object.
fn number(members: &Map<String, Value>) -> Option<Number> {
    let text = members
        .get(NUMBER)
        .filter(|_| members.len() == 1)?
        .as_str()?;
    // Without the feature, this number does not parse, and a client has sent the name.
    let has_feature = "1e400".parse::<Number>().is_ok();
    has_feature.then(|| text.parse().ok()).flatten()
}
