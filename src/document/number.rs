//! JSON numbers with exact integers.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A JSON number: an exact integer from `i128::MIN` to `u128::MAX`, or a float.
///
/// The sum or difference of two integers is an integer. If either number is a float, the result is a
/// float. Two numbers are equal if they have the same variant and value, so `1` and `1.0` differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// An integer up to `i128::MAX`.
    Int(i128),
    /// An integer above `i128::MAX`.
    UInt(u128),
    /// A number with a fraction or an exponent. Numbers from a document are finite.
    Float(f64),
}

impl Number {
    /// Parses a JSON number. Integers beyond 128 bits become floats.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        if let Some(int) = parse_short(text) {
            return Some(Self::Int(int.into()));
        }
        let text = std::str::from_utf8(text).ok()?;
        if !text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
            return None;
        }
        if let Ok(int) = text.parse() {
            return Some(Self::Int(int));
        }
        if let Ok(uint) = text.parse() {
            return Some(Self::UInt(uint));
        }
        let float = serde_json::from_str(text).ok()?;
        Some(Self::Float(float))
    }

    /// Maximum length of the text that [`write_json`](Self::write_json) writes.
    pub(super) const MAX_JSON_LEN: usize = 40;

    /// Writes the number's JSON text into `space`, and returns the text.
    pub(super) fn write_json<'s>(&self, space: &'s mut [u8; Self::MAX_JSON_LEN]) -> &'s [u8] {
        if let Some(int) = self.as_short() {
            return write_int(int, space);
        }
        let mut rest = &mut space[..];
        // Every number fits: an integer has at most 39 digits and a sign, a float at most 24 bytes.
        let _ = serde_json::to_writer(&mut rest, self);
        let len = Self::MAX_JSON_LEN - rest.len();
        space.get(..len).unwrap_or_default()
    }

    /// Appends the number's JSON text to `out` if it is an integer of 64 bits. Returns `false` for other
    /// numbers.
    pub(crate) fn append_short(self, out: &mut Vec<u8>) -> bool {
        // The usual amount of an increment is 1.
        if let Self::Int(digit @ 0..=9) = self {
            out.push(b'0' + digit as u8);
            return true;
        }
        let mut space = [0; Self::MAX_JSON_LEN];
        let text = self.as_short().map(|int| write_int(int, &mut space));
        out.extend_from_slice(text.unwrap_or_default());
        text.is_some()
    }

    /// Returns an integer that fits into 64 bits. Usual numbers do.
    pub(super) fn as_short(self) -> Option<i64> {
        match self {
            Self::Int(int) => int.try_into().ok(),
            Self::UInt(_) | Self::Float(_) => None,
        }
    }

    /// Returns the sum, or `None` if it overflows.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.combine(other, false)
    }

    /// Returns the difference, or `None` if it overflows.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.combine(other, true)
    }

    /// Returns the nearest `f64`.
    pub const fn as_f64(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::UInt(uint) => uint as f64,
            Self::Float(float) => float,
        }
    }

    /// Returns `false` for a float that is NaN or infinite.
    pub(super) const fn is_finite(self) -> bool {
        match self {
            Self::Int(_) | Self::UInt(_) => true,
            Self::Float(float) => float.is_finite(),
        }
    }

    fn combine(self, other: Self, subtract: bool) -> Option<Self> {
        if let (Self::Int(a), Self::Int(b)) = (self, other) {
            let result = match subtract {
                true => a.checked_sub(b),
                false => a.checked_add(b),
            };
            if let Some(int) = result {
                return Some(Self::Int(int));
            }
        }
        let (Some((sign_a, a)), Some((sign_b, b))) =
            (self.sign_and_magnitude(), other.sign_and_magnitude())
        else {
            let b = if subtract {
                -other.as_f64()
            } else {
                other.as_f64()
            };
            let sum = self.as_f64() + b;
            return sum.is_finite().then_some(Self::Float(sum));
        };
        let sign_b = sign_b ^ subtract;
        match (sign_a == sign_b, a >= b) {
            (true, _) => Self::from_sign_and_magnitude(sign_a, a.checked_add(b)?),
            (false, true) => Self::from_sign_and_magnitude(sign_a, a - b),
            (false, false) => Self::from_sign_and_magnitude(sign_b, b - a),
        }
    }

    /// Returns an integer's sign (`true` if negative) and magnitude, or `None` for a float.
    const fn sign_and_magnitude(self) -> Option<(bool, u128)> {
        match self {
            Self::Int(int) => Some((int < 0, int.unsigned_abs())),
            Self::UInt(uint) => Some((false, uint)),
            Self::Float(_) => None,
        }
    }

    fn from_sign_and_magnitude(negative: bool, magnitude: u128) -> Option<Self> {
        if negative {
            return 0i128.checked_sub_unsigned(magnitude).map(Self::Int);
        }
        Some(magnitude.into())
    }
}

/// Parses an integer that fits into 64 bits, whatever its digits are. Usual numbers are that short.
pub(super) fn parse_short(text: &[u8]) -> Option<i64> {
    const MAX_DIGITS: usize = 18;
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || digits.len() > MAX_DIGITS {
        return None;
    }
    let mut magnitude = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        magnitude = magnitude * 10 + i64::from(digit);
    }
    Some(if is_negative { -magnitude } else { magnitude })
}

/// Writes an integer to the end of `space`, and returns its text.
pub(super) fn write_int(int: i64, space: &mut [u8; Number::MAX_JSON_LEN]) -> &[u8] {
    let mut magnitude = int.unsigned_abs();
    let mut start = space.len();
    // A magnitude of 64 bits has at most 20 digits, so there is space for all and a sign.
    let mut prepend = |byte| {
        start -= 1;
        if let Some(free) = space.get_mut(start) {
            *free = byte;
        }
    };
    loop {
        prepend(b'0' + (magnitude % 10) as u8);
        magnitude /= 10;
        if magnitude == 0 {
            break;
        }
    }
    if int < 0 {
        prepend(b'-');
    }
    space.get(start..).unwrap_or_default()
}

impl From<u128> for Number {
    fn from(uint: u128) -> Self {
        i128::try_from(uint).map_or(Self::UInt(uint), Self::Int)
    }
}

macro_rules! from_primitive {
    ($variant:ident($wide:ty): $($narrow:ty),*) => {$(
        impl From<$narrow> for Number {
            fn from(number: $narrow) -> Self {
                Self::$variant(number as $wide)
            }
        }
    )*};
}

from_primitive!(Int(i128): i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, usize);
from_primitive!(Float(f64): f32, f64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Int(int) => match (i64::try_from(int), u64::try_from(int)) {
                (Ok(int), _) => serializer.serialize_i64(int),
                (_, Ok(uint)) => serializer.serialize_u64(uint),
                _ => serializer.serialize_i128(int),
            },
            Self::UInt(uint) => serializer.serialize_u128(uint),
            Self::Float(float) => serializer.serialize_f64(float),
        }
    }
}

/// The error of parsing a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("text is not a number; write it as in JSON, for example 12, -3.5 or 1e6")]
#[non_exhaustive]
pub struct ParseNumberError;

impl FromStr for Number {
    type Err = ParseNumberError;

    /// Parses a number in JSON syntax. Integers of up to 128 bits keep all their digits.
    ///
    /// # Errors
    /// If the text is not a JSON number, or is a number that neither an integer nor a float can hold.
    fn from_str(text: &str) -> Result<Self, ParseNumberError> {
        Self::parse(text.as_bytes()).ok_or(ParseNumberError)
    }
}

impl<'de> Deserialize<'de> for Number {
    /// Deserializes any number of the format. Some formats, `serde_json` among them, pass integers
    /// beyond 64 bits as floats; [`RawValue::number`](super::RawValue::number) is exact.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;

        impl de::Visitor<'_> for NumberVisitor {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_i64<E>(self, int: i64) -> Result<Number, E> {
                Ok(int.into())
            }

            fn visit_u64<E>(self, uint: u64) -> Result<Number, E> {
                Ok(uint.into())
            }

            fn visit_i128<E>(self, int: i128) -> Result<Number, E> {
                Ok(int.into())
            }

            fn visit_u128<E>(self, uint: u128) -> Result<Number, E> {
                Ok(uint.into())
            }

            fn visit_f64<E>(self, float: f64) -> Result<Number, E> {
                Ok(float.into())
            }
        }

        deserializer.deserialize_any(NumberVisitor)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(int) => int.fmt(f),
            Self::UInt(uint) => uint.fmt(f),
            Self::Float(float) => write!(f, "{float:?}"),
        }
    }
}
