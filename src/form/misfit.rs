//! A field that does not fit the type that is asked for.

use std::{borrow::Cow, fmt};

use super::ValidationErrors;

/// Where, and what would fit.
#[derive(Debug)]
pub(super) struct Misfit {
    field: String,
    message: Cow<'static, str>,
}

impl Misfit {
    pub(super) const fn new(message: &'static str) -> Self {
        Self {
            field: String::new(),
            message: Cow::Borrowed(message),
        }
    }

    /// The same, one level further out.
    pub(super) fn under(mut self, name: &str) -> Self {
        if self.field.is_empty() {
            self.field.push_str(name);
        } else {
            self.field.insert(0, '.');
            self.field.insert_str(0, name);
        }
        self
    }
}

impl serde::de::Error for Misfit {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            field: String::new(),
            message: message.to_string().into(),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new("is missing").under(field)
    }

    /// The value that came is the visitor's, and may be a password: it is not repeated.
    fn invalid_type(_: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self::custom(format_args!("must be {expected}"))
    }

    fn invalid_value(_: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self::custom(format_args!("must be {expected}"))
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Self::custom(format_args!("must be one of: {}", known.join(", ")))
    }

    fn unknown_field(field: &str, _: &'static [&'static str]) -> Self {
        Self::new("is not known here").under(field)
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.message)
    }
}

impl std::error::Error for Misfit {}

impl From<Misfit> for ValidationErrors {
    fn from(wrong: Misfit) -> Self {
        Self::new().with(wrong.field, wrong.message)
    }
}
