//! A serializer that refuses NaN and infinity.
//!
//! serde_json writes a float that is not finite as `null`, with no sign of it. So this serializer
//! checks each float before it passes the float on.

use std::{cell::Cell, fmt::Display};

use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// A serializer, or the state of a container, that fails at the first float that is not finite.
pub(super) struct FiniteSerializer<'f, S> {
    inner: S,
    /// Set at a float that is not finite.
    found: &'f Cell<bool>,
}

impl<'f, S> FiniteSerializer<'f, S> {
    pub(super) const fn new(inner: S, found: &'f Cell<bool>) -> Self {
        Self { inner, found }
    }
}

impl<S: Serializer> FiniteSerializer<'_, S> {
    #[inline]
    fn check(&self, is_finite: bool) -> Result<(), S::Error> {
        if is_finite {
            return Ok(());
        }
        Err(refuse(self.found))
    }
}

#[cold]
fn refuse<E: Error>(found: &Cell<bool>) -> E {
    found.set(true);
    E::custom("a number is not finite")
}

/// A value that a [`FiniteSerializer`] serializes.
struct FiniteValue<'v, T: ?Sized> {
    value: &'v T,
    found: &'v Cell<bool>,
}

impl<T: Serialize + ?Sized> Serialize for FiniteValue<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value
            .serialize(FiniteSerializer::new(serializer, self.found))
    }
}

/// Passes a scalar on.
macro_rules! scalars {
    ($($method:ident($scalar:ty),)*) => {
        $(#[inline] fn $method(self, scalar: $scalar) -> Result<S::Ok, S::Error> {
            self.inner.$method(scalar)
        })*
    };
}

/// Passes the start of a container on.
macro_rules! containers {
    ($($method:ident($($name:ident: $argument:ty),*) -> $container:ident;)*) => {
        $(#[inline] fn $method(self, $($name: $argument),*) -> Result<Self::$container, S::Error> {
            let inner = self.inner.$method($($name),*)?;
            Ok(FiniteSerializer::new(inner, self.found))
        })*
    };
}

impl<'f, S: Serializer> Serializer for FiniteSerializer<'f, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = FiniteSerializer<'f, S::SerializeSeq>;
    type SerializeTuple = FiniteSerializer<'f, S::SerializeTuple>;
    type SerializeTupleStruct = FiniteSerializer<'f, S::SerializeTupleStruct>;
    type SerializeTupleVariant = FiniteSerializer<'f, S::SerializeTupleVariant>;
    type SerializeMap = FiniteSerializer<'f, S::SerializeMap>;
    type SerializeStruct = FiniteSerializer<'f, S::SerializeStruct>;
    type SerializeStructVariant = FiniteSerializer<'f, S::SerializeStructVariant>;

    #[inline]
    fn serialize_f32(self, float: f32) -> Result<S::Ok, S::Error> {
        self.check(float.is_finite())?;
        self.inner.serialize_f32(float)
    }

    #[inline]
    fn serialize_f64(self, float: f64) -> Result<S::Ok, S::Error> {
        self.check(float.is_finite())?;
        self.inner.serialize_f64(float)
    }

    scalars! {
        serialize_bool(bool),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_i128(i128),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_u128(u128),
        serialize_char(char),
        serialize_str(&str),
        serialize_bytes(&[u8]),
        serialize_unit_struct(&'static str),
    }

    #[inline]
    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_none()
    }

    #[inline]
    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit()
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit_variant(name, index, variant)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let found = self.found;
        self.inner.serialize_some(&FiniteValue { value, found })
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let found = self.found;
        self.inner
            .serialize_newtype_struct(name, &FiniteValue { value, found })
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let value = FiniteValue {
            value,
            found: self.found,
        };
        self.inner
            .serialize_newtype_variant(name, index, variant, &value)
    }

    #[inline]
    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    containers! {
        serialize_seq(len: Option<usize>) -> SerializeSeq;
        serialize_tuple(len: usize) -> SerializeTuple;
        serialize_tuple_struct(name: &'static str, len: usize) -> SerializeTupleStruct;
        serialize_tuple_variant(
            name: &'static str,
            index: u32,
            variant: &'static str,
            len: usize
        ) -> SerializeTupleVariant;
        serialize_map(len: Option<usize>) -> SerializeMap;
        serialize_struct(name: &'static str, len: usize) -> SerializeStruct;
        serialize_struct_variant(
            name: &'static str,
            index: u32,
            variant: &'static str,
            len: usize
        ) -> SerializeStructVariant;
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Wraps each value of a container and passes it on.
macro_rules! values {
    ($($container:ident: [$($method:ident($($key:ident)?)),+] $($skip:ident)?;)*) => {
        $(impl<S: $container> $container for FiniteSerializer<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            $(#[inline] fn $method<T: Serialize + ?Sized>(
                &mut self,
                $($key: &'static str,)?
                value: &T,
            ) -> Result<(), S::Error> {
                let found = self.found;
                self.inner.$method($($key,)? &FiniteValue { value, found })
            })+

            $(#[inline] fn $skip(&mut self, key: &'static str) -> Result<(), S::Error> {
                self.inner.$skip(key)
            })?

            #[inline]
            fn end(self) -> Result<S::Ok, S::Error> {
                self.inner.end()
            }
        })*
    };
}

values! {
    SerializeSeq: [serialize_element()];
    SerializeTuple: [serialize_element()];
    SerializeTupleStruct: [serialize_field()];
    SerializeTupleVariant: [serialize_field()];
    SerializeMap: [serialize_key(), serialize_value()];
    SerializeStruct: [serialize_field(key)] skip_field;
    SerializeStructVariant: [serialize_field(key)] skip_field;
}
