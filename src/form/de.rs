//! A tree of input read as a type: text stands for numbers where numbers are asked for.

use std::{borrow::Cow, str::FromStr};

use serde::{
    Deserializer,
    de::{
        DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor,
        value::MapAccessDeserializer,
    },
    forward_to_deserialize_any,
};
use serde_json::Value;

use super::{misfit::Misfit, name::index_of};

/// A value, read as a form means it.
#[derive(Clone, Copy)]
pub(super) struct Lenient<'a>(pub(super) &'a Value);

/// A text, of a value or of a name.
struct Text<'a>(Cow<'a, str>);

fn number<T: FromStr>(text: &str) -> Result<T, Misfit> {
    text.trim()
        .parse()
        .map_err(|_| Misfit::new("must be a number of the kind that is asked for"))
}

fn truth(text: &str) -> Result<bool, Misfit> {
    match text {
        "true" | "on" | "yes" | "1" => Ok(true),
        "false" | "off" | "no" | "0" | "" => Ok(false),
        _ => Err(Misfit::new("must be yes or no")),
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $number:ty,)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
            match self.text() {
                Some(text) => visitor.$visit(number::<$number>(text)?),
                None => self.plain(visitor),
            }
        })*
    };
}

macro_rules! all_numbers {
    () => {
        numbers! {
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
            deserialize_f32 visit_f32 f32,
            deserialize_f64 visit_f64 f64,
        }

        fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
            match self.text() {
                Some(text) => visitor.visit_bool(truth(text)?),
                None => self.plain(visitor),
            }
        }
    };
}

impl<'de> Text<'de> {
    fn text(&self) -> Option<&str> {
        Some(&self.0)
    }

    fn plain<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }
}

impl<'de> Deserializer<'de> for Text<'de> {
    type Error = Misfit;

    all_numbers!();

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.plain(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_enum((&*self.0).into_deserializer())
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf option unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

impl<'de> Lenient<'de> {
    fn text(&self) -> Option<&str> {
        self.0.as_str()
    }

    /// As the value itself is.
    fn plain<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(truth) => visitor.visit_bool(*truth),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), ..) => visitor.visit_u64(number),
                (_, Some(number), _) => visitor.visit_i64(number),
                (.., number) => visitor.visit_f64(number.unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(_) => self.list(visitor),
            Value::Object(_) => self.group(visitor),
        }
    }

    fn list<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_seq(Items(self.entries()?.into_iter()))
    }

    fn group<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_map(Members {
            entries: self.members()?.into_iter(),
            value: None,
        })
    }

    /// The items of what can be a list, with the names that they go by.
    fn entries(self) -> Result<Vec<(Name<'de>, &'de Value)>, Misfit> {
        let Value::Object(members) = self.0 else {
            return Ok(match self.0 {
                Value::Array(_) => self.members()?,
                single => vec![(Name::None, single)],
            });
        };
        let mut entries: Vec<(u64, Name<'de>, &'de Value)> = members
            .iter()
            .map(|(name, value)| Some((index_of(name)?, Name::Key(name), value)))
            .collect::<Option<_>>()
            .ok_or(Misfit::new("must be a list"))?;
        entries.sort_by_key(|(index, ..)| *index);
        Ok(entries
            .into_iter()
            .map(|(_, name, value)| (name, value))
            .collect())
    }

    fn members(self) -> Result<Vec<(Name<'de>, &'de Value)>, Misfit> {
        match self.0 {
            Value::Object(members) => Ok(members
                .iter()
                .map(|(name, value)| (Name::Key(name), value))
                .collect()),
            Value::Array(items) => Ok(items
                .iter()
                .enumerate()
                .map(|(index, value)| (Name::Index(index), value))
                .collect()),
            _ => Err(Misfit::new("must be a group of fields")),
        }
    }
}

/// What an item or a member goes by.
#[derive(Clone, Copy)]
enum Name<'a> {
    None,
    Index(usize),
    Key(&'a str),
}

impl Name<'_> {
    fn locate(self, wrong: Misfit) -> Misfit {
        match self {
            Self::None => wrong,
            Self::Index(index) => wrong.under(&index.to_string()),
            Self::Key(key) => wrong.under(key),
        }
    }
}

struct Items<I>(I);

impl<'de, I: Iterator<Item = (Name<'de>, &'de Value)>> SeqAccess<'de> for Items<I> {
    type Error = Misfit;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Misfit> {
        let Some((name, value)) = self.0.next() else {
            return Ok(None);
        };
        let read = seed.deserialize(Lenient(value));
        read.map(Some).map_err(|wrong| name.locate(wrong))
    }
}

struct Members<'a, I> {
    entries: I,
    value: Option<(Name<'a>, &'a Value)>,
}

impl<'de, I: Iterator<Item = (Name<'de>, &'de Value)>> MapAccess<'de> for Members<'de, I> {
    type Error = Misfit;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Misfit> {
        let Some((name, value)) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some((name, value));
        let read = match name {
            Name::Key(key) => seed.deserialize(Text(key.into())),
            Name::Index(index) => seed.deserialize(Text(index.to_string().into())),
            Name::None => return Ok(None),
        };
        read.map(Some).map_err(|wrong| name.locate(wrong))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Misfit> {
        let Some((name, value)) = self.value.take() else {
            return Err(Misfit::new("must be a group of fields"));
        };
        let read = seed.deserialize(Lenient(value));
        read.map_err(|wrong| name.locate(wrong))
    }
}

impl<'de> Deserializer<'de> for Lenient<'de> {
    type Error = Misfit;

    all_numbers!();

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.plain(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
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
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.list(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Misfit> {
        self.list(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.list(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.group(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        self.group(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::String(text) => Text(text.into()).deserialize_enum(name, variants, visitor),
            _ => visitor.visit_enum(MapAccessDeserializer::new(Members {
                entries: self.members()?.into_iter(),
                value: None,
            })),
        }
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct identifier ignored_any
    }
}
