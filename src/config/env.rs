//! Settings from the environment.

use super::{ConfigError, Secret, SessionConfig};
use crate::age;

impl SessionConfig {
    /// Overrides settings with those environment variables that are set and not empty:
    ///
    /// | variable | setting |
    /// | --- | --- |
    /// | `SESSION_DRIVER` | `store` |
    /// | `SESSION_AGE` | `age`, such as `2h`, `30 minutes`, or a number of seconds |
    /// | `SESSION_COOKIE` | `cookie_name` |
    /// | `APP_KEY` | `app_key` |
    /// | `APP_KEY_PREVIOUS` | `app_key_previous`, a list with commas between |
    ///
    /// What the environment says wins over what was set before this call; what is set after it wins
    /// over the environment.
    ///
    /// # Errors
    /// When a variable is not Unicode, or its value cannot be read; the error names it.
    pub fn with_env(self) -> Result<Self, ConfigError> {
        self.with_variables(|name| match std::env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(ConfigError::new(name, "its value is not Unicode text"))
            }
        })
    }

    /// As [`with_env`](Self::with_env), with variables from somewhere else.
    ///
    /// # Errors
    /// When a value cannot be read, or `variable` fails.
    pub fn with_variables(
        mut self,
        variable: impl Fn(&'static str) -> Result<Option<String>, ConfigError>,
    ) -> Result<Self, ConfigError> {
        let set = |name| Ok(variable(name)?.filter(|value| !value.trim().is_empty()));
        if let Some(store) = set("SESSION_DRIVER")? {
            self.store = store.trim().to_owned();
        }
        if let Some(text) = set("SESSION_AGE")? {
            let parsed = age::parse(&text);
            self.age = age::Age::new(parsed.map_err(|e| ConfigError::caused("SESSION_AGE", e))?);
        }
        if let Some(name) = set("SESSION_COOKIE")? {
            self.cookie_name = name.trim().to_owned();
        }
        if let Some(key) = set("APP_KEY")? {
            self.app_key = Some(Secret::new(key.trim()));
        }
        if let Some(keys) = set("APP_KEY_PREVIOUS")? {
            let keys = keys.split(',').map(str::trim).filter(|key| !key.is_empty());
            self.app_key_previous = keys.map(Secret::new).collect();
        }
        Ok(self)
    }
}
