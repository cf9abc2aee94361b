//! JSON values whose integers are exact, as those of the crate are.
//!
//! `serde_json::Value` turns an integer beyond 64 bits into a float.
#![allow(dead_code, reason = "the fuzz targets need a part of it")]

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// A JSON value. Two numbers are equal if they are both integers or both floats.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i128),
    /// An integer above `i128::MAX`.
    UInt(u128),
    Float(f64),
    String(String),
    Array(Vec<Value>),
    Object(BTreeMap<String, Value>),
}

impl Value {
    /// Reads a text that is known to be JSON. Of equal keys, the last one counts.
    pub(crate) fn parse(text: &str) -> Self {
        fn read<'t, T: serde::Deserialize<'t>>(text: &'t str) -> T {
            serde_json::from_str(text).expect("JSON")
        }
        let text = text.trim_ascii();
        match text.as_bytes() {
            [b'n', ..] => Self::Null,
            [b't' | b'f', ..] => Self::Bool(read(text)),
            [b'"', ..] => Self::String(read(text)),
            [b'[', ..] => {
                let elements = read::<Vec<&RawValue>>(text).into_iter();
                Self::Array(elements.map(|element| Self::parse(element.get())).collect())
            }
            [b'{', ..] => {
                let members = read::<BTreeMap<String, &RawValue>>(text).into_iter();
                let parsed = members.map(|(key, value)| (key, Self::parse(value.get())));
                Self::Object(parsed.collect())
            }
            _ => Self::number(text),
        }
    }

    fn number(text: &str) -> Self {
        match (text.parse(), text.parse()) {
            (Ok(int), _) => Self::Int(int),
            (_, Ok(uint)) => Self::UInt(uint),
            _ => Self::Float(serde_json::from_str(text).expect("a number")),
        }
    }

    /// Returns the sum of a number and an integer; `None` if it overflows, or this is no number.
    pub(crate) fn plus(&self, by: i128) -> Option<Self> {
        match *self {
            Self::Int(int) => match int.checked_add(by) {
                Some(sum) => Some(Self::Int(sum)),
                // Both have the same sign, and the sum of two negative numbers does not fit.
                None if by < 0 => None,
                None => Some(Self::UInt(int.unsigned_abs() + by.unsigned_abs())),
            },
            Self::UInt(uint) => {
                let sum = uint.checked_add_signed(by)?;
                Some(i128::try_from(sum).map_or(Self::UInt(sum), Self::Int))
            }
            Self::Float(float) => {
                let sum = float + by as f64;
                sum.is_finite().then_some(Self::Float(sum))
            }
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Returns `true` for an array or an object.
    pub(crate) fn is_container(&self) -> bool {
        matches!(self, Self::Array(_) | Self::Object(_))
    }

    /// Returns the members of an object; `None` for any other value.
    pub(crate) fn as_object_mut(&mut self) -> Option<&mut BTreeMap<String, Value>> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }
}

impl From<&serde_json::Value> for Value {
    fn from(value: &serde_json::Value) -> Self {
        Self::parse(&value.to_string())
    }
}
