//! A setting is wrong.

use std::error::Error as StdError;

/// A setting cannot be used. The text names the setting or variable, says what is wrong with it and
/// what would be right; it never holds a secret.
#[derive(Debug, thiserror::Error)]
#[error("session setting `{setting}`: {problem}")]
pub struct ConfigError {
    setting: &'static str,
    problem: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl ConfigError {
    pub(super) fn new(setting: &'static str, problem: impl Into<String>) -> Self {
        Self {
            setting,
            problem: problem.into(),
            source: None,
        }
    }

    pub(super) fn caused(
        setting: &'static str,
        source: impl StdError + Send + Sync + 'static,
    ) -> Self {
        Self {
            setting,
            problem: source.to_string(),
            source: Some(Box::new(source)),
        }
    }

    /// The setting's name: a field of [`SessionConfig`](super::SessionConfig), or the environment
    /// variable that it was read from.
    pub const fn setting(&self) -> &'static str {
        self.setting
    }
}
