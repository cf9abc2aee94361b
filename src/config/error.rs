//! The error of a wrong setting.

use std::{error::Error as StdError, fmt};

use crate::error_chain::ErrorChain;

/// Settings with an environment variable, and that variable.
pub(super) const VARIABLES: [(&str, &str); 13] = [
    ("store", "SESSION_DRIVER"),
    ("age", "SESSION_AGE"),
    ("cookie_name", "SESSION_COOKIE"),
    ("cookie.priority", "SESSION_COOKIE_PRIORITY"),
    ("keep_flash_on_redirect", "SESSION_KEEP_FLASH_ON_REDIRECT"),
    ("app_key", "APP_KEY"),
    ("app_key_previous", "APP_KEY_PREVIOUS"),
    ("migrate_from", "SESSION_MIGRATE_FROM"),
    ("migrate_to", "SESSION_MIGRATE_TO"),
    ("stores.file.location", "SESSION_FILE_LOCATION"),
    ("stores.file.durability", "SESSION_FILE_DURABILITY"),
    ("stores.file.on_damage", "SESSION_FILE_ON_DAMAGE"),
    ("stores.redis.url", "REDIS_URL"),
];

/// A setting with an invalid value.
///
/// `Display` names the setting and its environment variable, the problem and the remedy. It never
/// contains a secret. `Debug`, which a `main` that returns the error prints, adds the
/// [sources](StdError::source).
pub struct ConfigError {
    setting: &'static str,
    problem: String,
    /// The error whose text is part of `problem`.
    inlined: Option<Box<dyn StdError + Send + Sync>>,
}

impl ConfigError {
    pub(super) fn new(setting: &'static str, problem: impl Into<String>) -> Self {
        Self {
            setting,
            problem: problem.into(),
            inlined: None,
        }
    }

    /// Returns an error with the text of `source` as its problem.
    pub(super) fn with_source(
        setting: &'static str,
        source: impl StdError + Send + Sync + 'static,
    ) -> Self {
        Self {
            setting,
            problem: source.to_string(),
            inlined: Some(Box::new(source)),
        }
    }

    /// Puts `context` before the problem: the value, if it is not secret, or its position.
    pub(super) fn context(self, context: impl fmt::Display) -> Self {
        Self {
            problem: format!("{context}: {}", self.problem),
            ..self
        }
    }

    /// Returns the setting's name: a field of [`SessionConfig`](super::SessionConfig), or the
    /// environment variable that contained the value.
    pub const fn setting(&self) -> &'static str {
        self.setting
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            setting, problem, ..
        } = self;
        match VARIABLES
            .iter()
            .find(|(field, name)| field == setting || name == setting)
        {
            Some((_, name)) if name == setting => {
                write!(f, "environment variable `{name}`: {problem}")
            }
            Some((_, name)) => {
                write!(
                    f,
                    "session setting `{setting}` (environment variable `{name}`): {problem}"
                )
            }
            None => write!(f, "session setting `{setting}`: {problem}"),
        }
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&ErrorChain(self), f)
    }
}

impl StdError for ConfigError {
    /// Returns the source of the error that `Display` already contains.
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.inlined.as_deref()?.source()
    }
}
