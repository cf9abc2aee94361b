//! The error of a section of the configuration, without the section's values.

use std::{fmt, vec::IntoIter};

use serde::{
    Deserializer,
    de::{
        DeserializeOwned, Error, Expected, IntoDeserializer, Unexpected, Visitor,
        value::{MapAccessDeserializer, MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::{Map, Value};

/// Returns the reason why `section` does not fit `C`: the path of a setting, and the expected type or
/// names. No part of the text is a value, because a value may be a secret.
pub(super) fn find_problem<C: DeserializeOwned>(section: Value) -> String {
    let root = SettingValue {
        path: String::new(),
        value: section,
    };
    match C::deserialize(root) {
        Err(error) => error.to_string(),
        Ok(_) => INVALID.to_owned(),
    }
}

const INVALID: &str = "a value is invalid";

/// A value of a section, and its path.
struct SettingValue {
    path: String,
    value: Value,
}

type SettingMembers = MapDeserializer<'static, IntoIter<(String, SettingValue)>, SettingError>;

/// A problem with a value, and the path of the value.
#[derive(Debug)]
struct SettingError {
    path: Option<String>,
    problem: String,
}

impl SettingValue {
    /// Returns the member of this value with a name or an index.
    fn member(path: &str, name: impl fmt::Display, value: Value) -> Self {
        let path = if path.is_empty() {
            name.to_string()
        } else {
            format!("{path}.{name}")
        };
        Self { path, value }
    }

    fn members(path: &str, members: Map<String, Value>) -> SettingMembers {
        let members = members.into_iter().map(|(name, value)| {
            let value = Self::member(path, &name, value);
            (name, value)
        });
        MapDeserializer::new(members.collect::<Vec<_>>().into_iter())
    }

    fn visit<'de, V: Visitor<'de>>(
        path: &str,
        value: Value,
        visitor: V,
    ) -> Result<V::Value, SettingError> {
        match value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_string(text),
            Value::Array(items) => {
                let items = items.into_iter().enumerate();
                let items = items.map(|(index, value)| Self::member(path, index, value));
                let mut items = SeqDeserializer::new(items);
                let result = visitor.visit_seq(&mut items)?;
                items.end().map(|()| result)
            }
            Value::Object(members) => visitor.visit_map(Self::members(path, members)),
        }
    }
}

impl<'de> Deserializer<'de> for SettingValue {
    type Error = SettingError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingError> {
        Self::visit(&self.path, self.value, visitor).map_err(|error| error.at(self.path))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, SettingError> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, SettingError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, SettingError> {
        let Self { path, value } = self;
        let result = match value {
            Value::Object(members) => {
                visitor.visit_enum(MapAccessDeserializer::new(Self::members(&path, members)))
            }
            Value::String(text) => visitor.visit_enum(text.into_deserializer()),
            value => Self::visit(&path, value, visitor),
        };
        result.map_err(|error| error.at(path))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl IntoDeserializer<'_, SettingError> for SettingValue {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl SettingError {
    fn new(problem: impl Into<String>) -> Self {
        Self {
            path: None,
            problem: problem.into(),
        }
    }

    /// Sets the path, unless the error has that of an inner value.
    fn at(mut self, path: String) -> Self {
        self.path.get_or_insert(path);
        self
    }
}

impl Error for SettingError {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::new(INVALID)
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("the value has another type; set {expected}"))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("{INVALID}; set {expected}"))
    }

    fn invalid_length(_: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("the number of values is wrong; set {expected}"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!(
            "the name is unknown; set one of {}",
            expected.join(", ")
        ))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let known = expected.join(", ");
        Self::new(format!(
            "no setting is named {field:?}; the settings are {known}"
        ))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("setting {field:?} is missing; set it"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format!("setting {field:?} is set twice; remove one"))
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_deref().filter(|path| !path.is_empty()) {
            Some(path) => write!(f, "setting {path:?}: {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

impl std::error::Error for SettingError {}
