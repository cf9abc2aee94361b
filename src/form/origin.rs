//! The origins that the configuration names.

use std::{fmt, str::FromStr};

use http::Uri;

use crate::service::Origin;

/// The error of [`Forms::origin`](super::Forms::origin) for a string that is not an origin.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("origin is invalid; use a scheme and a host, such as `https://www.example.com`")]
pub struct InvalidOrigin;

impl fmt::Debug for InvalidOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `main` prints the `Debug` text of an error that it returns.
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let uri: Uri = text.parse().map_err(|_| InvalidOrigin)?;
        let has_no_path = matches!(uri.path(), "" | "/") && uri.query().is_none();
        Self::from_url(&uri)
            .filter(|_| has_no_path)
            .ok_or(InvalidOrigin)
    }
}
