//! Lenient deserialization of input. A string is accepted for a number or a `bool`.

use std::{borrow::Cow, fmt, str::FromStr};

use serde::{
    Deserializer,
    de::{
        DeserializeSeed, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
        value::MapAccessDeserializer,
    },
    forward_to_deserialize_any,
};
use serde_json::Value;

use super::{
    ValidationErrors,
    field_name::parse_index,
    message_value::{MessageValue, format_message},
};
use crate::service::Messages;

/// A deserializer of a value of the input.
#[derive(Clone, Copy)]
pub(super) struct ValueDeserializer<'a>(pub(super) &'a Value);

/// A deserializer of a string: a value or a key.
struct TextDeserializer<'a>(Cow<'a, str>);

const NOT_A_NUMBER: FieldError = FieldError::new("validation.number");

fn parse_number<T: FromStr>(text: &str) -> Result<T, FieldError> {
    text.trim().parse().map_err(|_| NOT_A_NUMBER)
}

/// Parses a float. Rust also parses `NaN` and `inf`, and `1e400` as infinity.
fn parse_finite<T: FromStr + Copy + Into<f64>>(text: &str) -> Result<T, FieldError> {
    let number: T = parse_number(text)?;
    let is_finite = number.into().is_finite();
    is_finite.then_some(number).ok_or(NOT_A_NUMBER)
}

fn parse_bool(text: &str) -> Result<bool, FieldError> {
    match text {
        "true" | "on" | "yes" | "1" => Ok(true),
        "false" | "off" | "no" | "0" | "" => Ok(false),
        _ => Err(FieldError::new("validation.boolean")),
    }
}

macro_rules! numbers {
    ($parse:ident: $($method:ident $visit:ident $number:ty,)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
            match self.text() {
                Some(text) => visitor.$visit($parse::<$number>(text)?),
                None => self.visit_as_is(visitor),
            }
        })*
    };
}

macro_rules! all_numbers {
    () => {
        numbers! {
            parse_number:
            deserialize_i8 visit_i8 i8,
            deserialize_i16 visit_i16 i16,
            deserialize_i32 visit_i32 i32,
            deserialize_i64 visit_i64 i64,
            deserialize_i128 visit_i128 i128,
            deserialize_u8 visit_u8 u8,
            deserialize_u16 visit_u16 u16,
            deserialize_u32 visit_u32 u32,
            deserialize_u64 visit_u64 u64,
            deserialize_u128 visit_u128 u128,
        }

        numbers! {
            parse_finite:
            deserialize_f64 visit_f64 f64,
        }

        fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
            match (self.text(), self.number()) {
                (Some(text), _) => visitor.visit_f32(parse_finite(text)?),
                // The visitor would turn a larger float into infinity.
                (_, Some(number)) if !(number as f32).is_finite() => Err(NOT_A_NUMBER),
                _ => self.visit_as_is(visitor),
            }
        }

        fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
            match self.text() {
                Some(text) => visitor.visit_bool(parse_bool(text)?),
                None => self.visit_as_is(visitor),
            }
        }
    };
}

impl<'de> TextDeserializer<'de> {
    fn text(&self) -> Option<&str> {
        Some(&self.0)
    }

    /// A key is a text, never a number.
    const fn number(&self) -> Option<f64> {
        None
    }

    fn visit_as_is<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        match self.0 {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }
}

impl<'de> Deserializer<'de> for TextDeserializer<'de> {
    type Error = FieldError;

    all_numbers!();

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        self.visit_as_is(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        visitor.visit_enum((&*self.0).into_deserializer())
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf option unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

impl<'de> ValueDeserializer<'de> {
    fn text(&self) -> Option<&str> {
        self.0.as_str()
    }

    fn number(&self) -> Option<f64> {
        self.0.as_f64()
    }

    /// Visits the value as its own type.
    fn visit_as_is<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), ..) => visitor.visit_u64(number),
                (_, Some(number), _) => visitor.visit_i64(number),
                (.., Some(number)) => visitor.visit_f64(number),
                // Only with `arbitrary_precision`, a feature of serde_json: the number is too large.
                _ => Err(NOT_A_NUMBER),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(_) => self.visit_list(visitor),
            Value::Object(_) => self.visit_group(visitor),
        }
    }

    fn visit_list<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        visitor.visit_seq(ListAccess(self.items()?.into_iter()))
    }

    fn visit_group<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        visitor.visit_map(GroupAccess {
            entries: self.members()?.into_iter(),
            value: None,
        })
    }

    /// Returns the items of a list, of a group with numeric keys, or of a single value.
    fn items(self) -> Result<Vec<(ItemName<'de>, &'de Value)>, FieldError> {
        let Value::Object(members) = self.0 else {
            return Ok(match self.0 {
                Value::Array(_) => self.members()?,
                single => vec![(ItemName::None, single)],
            });
        };
        let mut items: Vec<(u64, ItemName<'de>, &'de Value)> = members
            .iter()
            .map(|(name, value)| Some((parse_index(name)?, ItemName::Key(name), value)))
            .collect::<Option<_>>()
            .ok_or(FieldError::new("validation.list"))?;
        items.sort_by_key(|(index, ..)| *index);
        Ok(items
            .into_iter()
            .map(|(_, name, value)| (name, value))
            .collect())
    }

    fn members(self) -> Result<Vec<(ItemName<'de>, &'de Value)>, FieldError> {
        match self.0 {
            Value::Object(members) => Ok(members
                .iter()
                .map(|(name, value)| (ItemName::Key(name), value))
                .collect()),
            Value::Array(items) => Ok(items
                .iter()
                .enumerate()
                .map(|(index, value)| (ItemName::Index(index), value))
                .collect()),
            _ => Err(FieldError::new("validation.group")),
        }
    }
}

/// The name of an item or a member, for the path in an error.
#[derive(Clone, Copy)]
enum ItemName<'a> {
    None,
    Index(usize),
    Key(&'a str),
}

impl ItemName<'_> {
    fn add_to_path(self, error: FieldError) -> FieldError {
        match self {
            Self::None => error,
            Self::Index(index) => error.prepend_name(&index.to_string()),
            Self::Key(key) => error.prepend_name(key),
        }
    }
}

struct ListAccess<I>(I);

impl<'de, I: Iterator<Item = (ItemName<'de>, &'de Value)>> SeqAccess<'de> for ListAccess<I> {
    type Error = FieldError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, FieldError> {
        let Some((name, value)) = self.0.next() else {
            return Ok(None);
        };
        let result = seed.deserialize(ValueDeserializer(value));
        result.map(Some).map_err(|error| name.add_to_path(error))
    }
}

struct GroupAccess<'a, I> {
    entries: I,
    value: Option<(ItemName<'a>, &'a Value)>,
}

impl<'de, I: Iterator<Item = (ItemName<'de>, &'de Value)>> MapAccess<'de> for GroupAccess<'de, I> {
    type Error = FieldError;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, FieldError> {
        let Some((name, value)) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some((name, value));
        let result = match name {
            ItemName::Key(key) => seed.deserialize(TextDeserializer(key.into())),
            ItemName::Index(index) => seed.deserialize(TextDeserializer(index.to_string().into())),
            ItemName::None => return Ok(None),
        };
        result.map(Some).map_err(|error| name.add_to_path(error))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, FieldError> {
        let Some((name, value)) = self.value.take() else {
            return Err(FieldError::new("validation.group"));
        };
        let result = seed.deserialize(ValueDeserializer(value));
        result.map_err(|error| name.add_to_path(error))
    }
}

impl<'de> Deserializer<'de> for ValueDeserializer<'de> {
    type Error = FieldError;

    all_numbers!();

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        self.visit_as_is(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            Value::String(text) if text.is_empty() => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        self.visit_list(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        self.visit_list(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        self.visit_list(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        self.visit_group(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        self.visit_group(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        match self.0 {
            Value::String(text) => {
                TextDeserializer(text.into()).deserialize_enum(name, variants, visitor)
            }
            _ => visitor.visit_enum(MapAccessDeserializer::new(GroupAccess {
                entries: self.members()?.into_iter(),
                value: None,
            })),
        }
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct identifier ignored_any
    }
}

/// A field whose value does not fit the requested type.
#[derive(Debug)]
pub(super) struct FieldError {
    /// The path of the field, in dot notation.
    path: String,
    /// The key of the message in the catalogue.
    key: &'static str,
    values: Vec<(&'static str, MessageValue)>,
}

impl FieldError {
    const fn new(key: &'static str) -> Self {
        Self {
            path: String::new(),
            key,
            values: Vec::new(),
        }
    }

    fn with_value(mut self, name: &'static str, value: String) -> Self {
        self.values.push((name, MessageValue::Text(value)));
        self
    }

    fn with_type(mut self, expected: &dyn Expected) -> Self {
        let value = MessageValue::Type(expected.to_string());
        self.values.push(("expected", value));
        self
    }

    /// Prepends the name of the enclosing field to the path.
    pub(super) fn prepend_name(mut self, name: &str) -> Self {
        if self.path.is_empty() {
            self.path.push_str(name);
        } else {
            self.path.insert(0, '.');
            self.path.insert_str(0, name);
        }
        self
    }
}

impl serde::de::Error for FieldError {
    /// Called with the text of a `Deserialize` implementation.
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new("validation.other").with_value("text", message.to_string())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new("validation.missing").prepend_name(field)
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new("validation.duplicate").with_value("name", field.to_owned())
    }

    /// Does not repeat the value. It may be a password.
    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new("validation.type").with_type(expected)
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new("validation.type").with_type(expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new("validation.length")
            .with_value("length", length.to_string())
            .with_type(expected)
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Self::new("validation.choice").with_value("choices", known.join(", "))
    }

    /// The map adds the name of the key.
    fn unknown_field(_: &str, _: &'static [&'static str]) -> Self {
        Self::new("validation.unknown")
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format_message(&Messages::default(), self.key, &self.values);
        write!(f, "{} {text}", self.path)
    }
}

impl std::error::Error for FieldError {}

impl From<FieldError> for ValidationErrors {
    fn from(error: FieldError) -> Self {
        let mut errors = Self::new();
        errors.add_with_values(error.path, error.key.into(), error.values);
        errors
    }
}
