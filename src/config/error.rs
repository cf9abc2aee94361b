//! A setting is wrong.

use std::{error::Error as StdError, fmt};

/// The settings that the environment may set, by the variables that do.
pub(super) const VARIABLES: [(&str, &str); 10] = [
    ("store", "SESSION_DRIVER"),
    ("age", "SESSION_AGE"),
    ("cookie_name", "SESSION_COOKIE"),
    ("app_key", "APP_KEY"),
    ("app_key_previous", "APP_KEY_PREVIOUS"),
    ("migrate_from", "SESSION_MIGRATE_FROM"),
    ("migrate_to", "SESSION_MIGRATE_TO"),
    ("stores.file.location", "SESSION_FILE_LOCATION"),
    ("stores.file.durability", "SESSION_FILE_DURABILITY"),
    ("stores.redis.url", "REDIS_URL"),
];

/// A setting cannot be used. The text names the setting, and the variable that may have set it,
/// says what is wrong with it and what would be right; it never holds a secret.
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

    /// The same, with what is wrong before it: a value, if it is not secret, or a place.
    pub(super) fn of(self, what: impl fmt::Display) -> Self {
        Self {
            problem: format!("{what}: {}", self.problem),
            ..self
        }
    }

    /// The setting's name: a field of [`SessionConfig`](super::SessionConfig), or the environment
    /// variable that it was read from.
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
                    "session setting `{setting}` (in the environment `{name}`): {problem}"
                )
            }
            None => write!(f, "session setting `{setting}`: {problem}"),
        }
    }
}

/// The same text, since that is what a `main` shows that returns the error.
impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConfigError({self})")
    }
}

impl StdError for ConfigError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
