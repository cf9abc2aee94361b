//! Errors with their causes, on one line.

use std::{error::Error, fmt};

/// An error and its sources: `error: source: source of the source`.
///
/// For logs and for the `Debug` of errors that `main` may return, since `Display` leaves the sources
/// out.
pub(crate) struct ErrorChain<'e>(pub(crate) &'e dyn Error);

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0, f)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
