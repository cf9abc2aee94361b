//! Settings from the environment.

use std::ops::RangeInclusive;

use super::{
    ConfigError, Secret, SessionConfig,
    build::{LONGEST, SECOND, within},
    file_store, keys,
};
use crate::{cookie::CookieName, duration::DurationSetting};

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
    /// | `SESSION_FILE_LOCATION` | `stores.file.location` |
    /// | `SESSION_FILE_DURABILITY` | `stores.file.durability`: `always`, `os`, or a time such as `200ms` |
    /// | `REDIS_URL` | `stores.redis.url` |
    /// | `SESSION_MIGRATE_FROM` | `migrate_from` |
    /// | `SESSION_MIGRATE_TO` | `migrate_to` |
    ///
    /// What the environment says wins over what was set before this call; what is set after it wins
    /// over the environment.
    ///
    /// Variables of stores that are not chosen may be set all the same, and have no effect: one
    /// environment may serve while `SESSION_DRIVER` goes to and fro, and a `REDIS_URL` is often there
    /// for somebody else.
    ///
    /// # Errors
    /// When a variable is not Unicode, or its value cannot be used, whatever else is set; the error
    /// names the variable. What can be told only later, such as whether there is a store of that
    /// name, or what a chosen store thinks of its address, is an error when sessions are built.
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
    /// When a value cannot be used, or `variable` fails.
    pub fn with_variables(
        mut self,
        variable: impl Fn(&'static str) -> Result<Option<String>, ConfigError>,
    ) -> Result<Self, ConfigError> {
        let set = |name| -> Result<Option<String>, ConfigError> {
            let value = variable(name)?.map(|value| value.trim().to_owned());
            Ok(value.filter(|value| !value.is_empty()))
        };
        replace(&mut self.store, set("SESSION_DRIVER")?);
        if let Some(text) = set("SESSION_AGE")? {
            self.age = age("SESSION_AGE", &text, SECOND..=LONGEST)?;
        }
        if let Some(name) = set("SESSION_COOKIE")? {
            CookieName::new(&*name)
                .map_err(|e| ConfigError::caused("SESSION_COOKIE", e).of(format!("{name:?}")))?;
            self.cookie_name = name;
        }
        if let Some(text) = set("APP_KEY")? {
            let secret = Secret::given(text);
            keys::key("APP_KEY", &secret)?;
            self.app_key = Some(secret);
        }
        if let Some(list) = set("APP_KEY_PREVIOUS")? {
            self.app_key_previous = older(&list)?;
        }
        replace(
            &mut self.stores.file.location,
            set("SESSION_FILE_LOCATION")?.map(Into::into),
        );
        if let Some(text) = set("SESSION_FILE_DURABILITY")? {
            file_store::check_durability("SESSION_FILE_DURABILITY", &text)?;
            self.stores.file.durability = Some(text);
        }
        replace(
            &mut self.stores.redis.url,
            set("REDIS_URL")?.map(Secret::given),
        );
        replace(
            &mut self.migrate_from,
            set("SESSION_MIGRATE_FROM")?.map(Some),
        );
        replace(&mut self.migrate_to, set("SESSION_MIGRATE_TO")?.map(Some));
        Ok(self)
    }
}

fn replace<T>(setting: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *setting = value;
    }
}

fn age(
    variable: &'static str,
    text: &str,
    range: RangeInclusive<std::time::Duration>,
) -> Result<DurationSetting, ConfigError> {
    let age: DurationSetting = text
        .parse()
        .map_err(|error| ConfigError::caused(variable, error))?;
    within(variable, age, range).map(DurationSetting::new)
}

fn older(list: &str) -> Result<Vec<Secret>, ConfigError> {
    const NAME: &str = "APP_KEY_PREVIOUS";
    let texts = list.split(',').map(str::trim);
    let secrets: Vec<_> = texts
        .filter(|text| !text.is_empty())
        .map(Secret::given)
        .collect();
    for (number, secret) in (1..).zip(&secrets) {
        let place = || format!("key {number} of {}", secrets.len());
        keys::key(NAME, secret).map_err(|error| error.of(place()))?;
    }
    Ok(secrets)
}
