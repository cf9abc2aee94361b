//! Secret text in a configuration.

use std::fmt;

use ctutils::CtEq;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// The text of an application key, or a URL with a password.
///
/// `Debug` does not show the text. The type cannot be serialized. The text is
/// zeroized on drop.
#[derive(Clone)]
pub struct Secret {
    text: Zeroizing<String>,
    /// The text came from the environment or a file, not from the program's code.
    is_from_operator: bool,
}

impl Secret {
    /// Returns a secret with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: Zeroizing::new(text.into()),
            is_from_operator: false,
        }
    }

    /// Returns a secret that an operator set.
    pub(super) fn from_operator(text: impl Into<String>) -> Self {
        Self {
            is_from_operator: true,
            ..Self::new(text)
        }
    }

    pub(super) fn expose(&self) -> &str {
        &self.text
    }

    pub(super) const fn is_from_operator(&self) -> bool {
        self.is_from_operator
    }
}

/// Compares only the text, in constant time for texts of one length.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.text.as_bytes().ct_eq(other.text.as_bytes()).to_bool()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from_operator)
    }
}
