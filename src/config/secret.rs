//! Text that nobody may see, on its way from the operator to where it is used.

use std::fmt;

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// The text of an application key, or an address with a password in it. `Debug` does not show it, it
/// cannot be serialized, and it is wiped from memory when dropped.
#[derive(Clone)]
pub struct Secret {
    text: Zeroizing<String>,
    /// Whether it came from the environment or a file, not from the program's own text.
    is_operators: bool,
}

impl Secret {
    /// A secret of this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: Zeroizing::new(text.into()),
            is_operators: false,
        }
    }

    /// A secret that an operator gave.
    pub(super) fn given(text: impl Into<String>) -> Self {
        Self {
            is_operators: true,
            ..Self::new(text)
        }
    }

    pub(super) fn expose(&self) -> &str {
        &self.text
    }

    pub(super) const fn is_operators(&self) -> bool {
        self.is_operators
    }
}

/// By the text alone.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
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
        String::deserialize(deserializer).map(Self::given)
    }
}
