//! A serializer that refuses values which JSON would store as something else.
//!
//! serde_json writes a float that is not finite as `null`, with no sign of it. serde writes a
//! `SystemTime` as an object of seconds and nanoseconds, which no other program reads as a date. So
//! this serializer checks floats and structs before it passes them on.

use std::{cell::Cell, fmt::Display};

use serde::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// A value that a [`StrictSerializer`] refuses.
#[derive(Clone, Copy)]
pub(super) enum RefusedValue {
    /// A float that is NaN or infinite.
    NotFinite,
    /// A `SystemTime` that is not wrapped in [`IsoDate`](super::IsoDate).
    SystemTime,
}

/// The name of the struct of two fields that serde writes for a `SystemTime`.
const SYSTEM_TIME: &str = "SystemTime";

/// A serializer, or the state of a container, that fails at the first refused value.
pub(super) struct StrictSerializer<'f, S> {
    inner: S,
    /// The refused value, if there is one.
    found: &'f Cell<Option<RefusedValue>>,
}

impl<'f, S> StrictSerializer<'f, S> {
    pub(super) const fn new(inner: S, found: &'f Cell<Option<RefusedValue>>) -> Self {
        Self { inner, found }
    }
}

impl<S: Serializer> StrictSerializer<'_, S> {
    #[inline]
    fn check(&self, is_accepted: bool, value: RefusedValue) -> Result<(), S::Error> {
        if is_accepted {
            return Ok(());
        }
        Err(refuse(self.found, value))
    }
}

#[cold]
fn refuse<E: Error>(found: &Cell<Option<RefusedValue>>, value: RefusedValue) -> E {
    found.set(Some(value));
    E::custom("a value is refused")
}

/// A value that a [`StrictSerializer`] serializes.
struct StrictValue<'v, T: ?Sized> {
    value: &'v T,
    found: &'v Cell<Option<RefusedValue>>,
}

impl<T: Serialize + ?Sized> Serialize for StrictValue<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value
            .serialize(StrictSerializer::new(serializer, self.found))
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
            Ok(StrictSerializer::new(inner, self.found))
        })*
    };
}

impl<'f, S: Serializer> Serializer for StrictSerializer<'f, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = StrictSerializer<'f, S::SerializeSeq>;
    type SerializeTuple = StrictSerializer<'f, S::SerializeTuple>;
    type SerializeTupleStruct = StrictSerializer<'f, S::SerializeTupleStruct>;
    type SerializeTupleVariant = StrictSerializer<'f, S::SerializeTupleVariant>;
    type SerializeMap = StrictSerializer<'f, S::SerializeMap>;
    type SerializeStruct = StrictSerializer<'f, S::SerializeStruct>;
    type SerializeStructVariant = StrictSerializer<'f, S::SerializeStructVariant>;

    #[inline]
    fn serialize_f32(self, float: f32) -> Result<S::Ok, S::Error> {
        self.check(float.is_finite(), RefusedValue::NotFinite)?;
        self.inner.serialize_f32(float)
    }

    #[inline]
    fn serialize_f64(self, float: f64) -> Result<S::Ok, S::Error> {
        self.check(float.is_finite(), RefusedValue::NotFinite)?;
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
        self.inner.serialize_some(&StrictValue { value, found })
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let found = self.found;
        self.inner
            .serialize_newtype_struct(name, &StrictValue { value, found })
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        let value = StrictValue {
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
        serialize_struct_variant(
            name: &'static str,
            index: u32,
            variant: &'static str,
            len: usize
        ) -> SerializeStructVariant;
    }

    #[inline]
    fn serialize_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStruct, S::Error> {
        let is_system_time = name == SYSTEM_TIME && len == 2;
        self.check(!is_system_time, RefusedValue::SystemTime)?;
        let inner = self.inner.serialize_struct(name, len)?;
        Ok(StrictSerializer::new(inner, self.found))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// Wraps each value of a container and passes it on.
macro_rules! values {
    ($($container:ident: [$($method:ident($($key:ident)?)),+] $($skip:ident)?;)*) => {
        $(impl<S: $container> $container for StrictSerializer<'_, S> {
            type Ok = S::Ok;
            type Error = S::Error;

            $(#[inline] fn $method<T: Serialize + ?Sized>(
                &mut self,
                $($key: &'static str,)?
                value: &T,
            ) -> Result<(), S::Error> {
                let found = self.found;
                self.inner.$method($($key,)? &StrictValue { value, found })
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
