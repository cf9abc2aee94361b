//! Errors with their causes, on one line.

use std::{error::Error, fmt};

/// An error and its sources: `error: source: source of the source`. A source with the text of its error
/// is left out.
///
/// For logs and for the `Debug` of errors that `main` may return, since `Display` leaves the sources
/// out.
pub(crate) struct ErrorChain<'e>(pub(crate) &'e dyn Error);

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            let text = error.to_string();
            if text != last {
                write!(f, ": {text}")?;
                last = text;
            }
            source = error.source();
        }
        Ok(())
    }
}
