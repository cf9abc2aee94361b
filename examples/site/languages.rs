//! The texts of forms and error pages, in English and German.

use hyper_session::service::{Messages, RequestInfo};

use super::BoxError;

/// The catalogues of the site.
#[derive(Clone)]
pub(crate) struct Languages {
    english: Messages,
    german: Messages,
}

impl Languages {
    pub(crate) fn load() -> Result<Self, BoxError> {
        Ok(Self {
            english: toml::from_str(include_str!("messages/english.toml"))?,
            german: toml::from_str(include_str!("messages/german.toml"))?,
        })
    }

    /// Returns the catalogue in the language that the browser prefers.
    pub(crate) fn select(&self, request: &RequestInfo) -> &Messages {
        match request.preferred_language(&["en", "de"]) {
            Some("de") => &self.german,
            _ => &self.english,
        }
    }
}
