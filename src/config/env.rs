//! Settings from environment variables.

use std::ops::RangeInclusive;

use zeroize::Zeroizing;

use super::{
    ConfigError, Secret, SessionConfig, app_key,
    build::{MAX_DURATION, SECOND},
    file_store,
    range::check_range,
};
use crate::{
    cookie::{CookieName, Priority},
    duration::DurationSetting,
};

impl SessionConfig {
    /// Overrides settings with the environment variables that are set and not empty:
    ///
    /// | variable | setting |
    /// | --- | --- |
    /// | `SESSION_DRIVER` | `store` |
    /// | `SESSION_AGE` | `age`, such as `2h`, `30 minutes`, or a number of seconds |
    /// | `SESSION_COOKIE` | `cookie_name` |
    /// | `SESSION_COOKIE_PRIORITY` | `cookie.priority`: `low`, `medium` or `high` |
    /// | `SESSION_KEEP_FLASH_ON_REDIRECT` | `keep_flash_on_redirect`: `true` or `false` |
    /// | `APP_KEY` | `app_key` |
    /// | `APP_KEY_PREVIOUS` | `app_key_previous`, a list separated by commas |
    /// | `SESSION_FILE_LOCATION` | `stores.file.location` |
    /// | `SESSION_FILE_DURABILITY` | `stores.file.durability`: `always`, `os`, or a duration such as `200ms` |
    /// | `SESSION_FILE_ON_DAMAGE` | `stores.file.on_damage`: `refuse`, `drop_uncertain` or `allow_data_loss` |
    /// | `REDIS_URL` | `stores.redis.url` |
    /// | `SESSION_MIGRATE_FROM` | `migrate_from` |
    /// | `SESSION_MIGRATE_TO` | `migrate_to` |
    ///
    /// The environment overrides settings made before this call. Settings made after it override the
    /// environment.
    ///
    /// Variables of stores that are not selected have no effect. So `SESSION_DRIVER` can change while
    /// the rest of the environment stays, and a `REDIS_URL` can be there for another program.
    ///
    /// # Errors
    /// If a variable is not Unicode or its value is invalid, even if the setting is not used. The
    /// error names the variable. Building sessions reports the rest, such as an unknown store or a
    /// wrong URL of the selected store.
    pub fn with_env(self) -> Result<Self, ConfigError> {
        self.with_variables(|name| match std::env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => Err(ConfigError::new(
                name,
                "value is not Unicode; set valid text",
            )),
        })
    }

    /// Overrides settings like [`with_env`](Self::with_env), with variables from another source.
    ///
    /// `variable` returns the value of a variable, or `None` if it is not set.
    ///
    /// # Errors
    /// If a value is invalid, or `variable` returns an error.
    pub fn with_variables(
        mut self,
        variable: impl Fn(&'static str) -> Result<Option<String>, ConfigError>,
    ) -> Result<Self, ConfigError> {
        let value_of = |name| -> Result<Option<String>, ConfigError> {
            // Some variables contain a secret.
            let value = variable(name)?.map(Zeroizing::new);
            let value = value.map(|value| value.trim().to_owned());
            Ok(value.filter(|value| !value.is_empty()))
        };
        replace(&mut self.store, value_of("SESSION_DRIVER")?);
        if let Some(text) = value_of("SESSION_AGE")? {
            self.age = parse_duration("SESSION_AGE", &text, SECOND..=MAX_DURATION)?;
        }
        if let Some(name) = value_of("SESSION_COOKIE")? {
            CookieName::new(&*name).map_err(|e| {
                ConfigError::with_source("SESSION_COOKIE", e).context(format!("{name:?}"))
            })?;
            self.cookie_name = name;
        }
        if let Some(text) = value_of("SESSION_COOKIE_PRIORITY")? {
            self.cookie.priority = Some(parse_priority("SESSION_COOKIE_PRIORITY", &text)?);
        }
        if let Some(text) = value_of("SESSION_KEEP_FLASH_ON_REDIRECT")? {
            self.keep_flash_on_redirect = parse_bool("SESSION_KEEP_FLASH_ON_REDIRECT", &text)?;
        }
        if let Some(text) = value_of("APP_KEY")? {
            let secret = parse_key(&Zeroizing::new(text))?;
            app_key::seal_key("APP_KEY", &secret)?;
            self.app_key = Some(secret);
        }
        if let Some(list) = value_of("APP_KEY_PREVIOUS")? {
            self.app_key_previous = parse_previous_keys(&Zeroizing::new(list))?;
        }
        if let Some(text) = value_of("SESSION_FILE_LOCATION")? {
            self.stores.file.location = text.into();
            self.stores.file.check_location("SESSION_FILE_LOCATION")?;
        }
        if let Some(text) = value_of("SESSION_FILE_DURABILITY")? {
            file_store::check_durability("SESSION_FILE_DURABILITY", &text)?;
            self.stores.file.durability = Some(text);
        }
        if let Some(text) = value_of("SESSION_FILE_ON_DAMAGE")? {
            file_store::check_on_damage("SESSION_FILE_ON_DAMAGE", &text)?;
            self.stores.file.on_damage = Some(text);
        }
        replace(
            &mut self.stores.redis.url,
            value_of("REDIS_URL")?.map(Secret::from_operator),
        );
        replace(
            &mut self.migrate_from,
            value_of("SESSION_MIGRATE_FROM")?.map(Some),
        );
        replace(
            &mut self.migrate_to,
            value_of("SESSION_MIGRATE_TO")?.map(Some),
        );
        Ok(self)
    }
}

fn replace<T>(setting: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *setting = value;
    }
}

fn parse_bool(variable: &'static str, text: &str) -> Result<bool, ConfigError> {
    text.parse().map_err(|_| {
        let problem = format!("{text:?} is not a switch; set `true` or `false`");
        ConfigError::new(variable, problem)
    })
}

fn parse_priority(variable: &'static str, text: &str) -> Result<Priority, ConfigError> {
    let priority = text.parse();
    priority.map_err(|error| ConfigError::with_source(variable, error).context(format!("{text:?}")))
}

fn parse_duration(
    variable: &'static str,
    text: &str,
    range: RangeInclusive<std::time::Duration>,
) -> Result<DurationSetting, ConfigError> {
    let duration: DurationSetting = text
        .parse()
        .map_err(|error| ConfigError::with_source(variable, error))?;
    check_range(variable, duration, range).map(DurationSetting::new)
}

/// Refuses a key with a comma, which would become two keys in `APP_KEY_PREVIOUS` after a rotation.
fn parse_key(text: &str) -> Result<Secret, ConfigError> {
    const PROBLEM: &str = "application key contains a comma, which separates the keys of \
                           `APP_KEY_PREVIOUS`; set a key without a comma";
    if text.contains(',') {
        return Err(ConfigError::new("APP_KEY", PROBLEM));
    }
    Ok(Secret::from_operator(text))
}

fn parse_previous_keys(list: &str) -> Result<Vec<Secret>, ConfigError> {
    const VARIABLE: &str = "APP_KEY_PREVIOUS";
    let texts = list.split(',').map(str::trim);
    let secrets: Vec<_> = texts
        .filter(|text| !text.is_empty())
        .map(Secret::from_operator)
        .collect();
    for (number, secret) in (1..).zip(&secrets) {
        let position = || format!("key {number} of {}", secrets.len());
        app_key::seal_key(VARIABLE, secret).map_err(|error| error.context(position()))?;
    }
    Ok(secrets)
}
