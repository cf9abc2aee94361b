//! From settings to an engine, or to the reason why not.

use std::{ops::RangeInclusive, time::Duration};

use super::{ConfigError, Secret, SessionConfig, Stores};
use crate::{
    age::Age,
    clock::Clock,
    cookie::{CookieName, Finder, MAX_AGE, SetCookie},
    seal::{KeyRing, SealKey},
    session::{Backing, Engine, Listeners, Memo, Policy, Retired},
    store::Binding,
    wire::native::Native,
};

/// What sealed id cookies are for; part of what is authenticated.
const PURPOSE: &str = "hyper-session id";

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

impl SessionConfig {
    pub(crate) fn into_engine(
        self,
        stores: Stores,
        clock: Clock,
        listeners: Listeners,
    ) -> Result<Engine, ConfigError> {
        let policy = self.policy()?;
        let name = CookieName::new(self.cookie_name.as_str())
            .map_err(|error| ConfigError::caused("cookie_name", error))?;
        let set_cookie = SetCookie::new(name.clone(), self.cookie.clone())
            .map_err(|error| ConfigError::caused("cookie", error))?;
        let keys = self.key_ring()?;
        let ids = keys.codec(PURPOSE, name.as_str());
        let binding = Binding {
            keys: &keys,
            name: &name,
            attributes: &self.cookie,
            clear_with_browser: self.clear_with_browser,
            longest: policy.time_to_live(),
        };
        let backing = Backing::new(stores.open(&self.store)?, &binding)
            .map_err(|error| ConfigError::caused("store", error))?;
        let cut = !policy.clear_with_browser && policy.age > MAX_AGE;
        Ok(Engine {
            backing,
            memo: Memo::new(),
            retired: Retired::new(),
            finder: Finder::new(&name),
            format: Box::new(Native::new(ids)),
            adjusted: cut
                .then_some("the cookie's Max-Age is cut to 400 days, the most that browsers take"),
            policy,
            set_cookie,
            clock,
            listeners,
        })
    }

    fn policy(&self) -> Result<Policy, ConfigError> {
        let age = within("age", self.age, SECOND..=LONGEST)?;
        let touch_interval = match self.touch_interval {
            None => (age / 60).min(Duration::from_secs(60)),
            Some(interval) if interval.duration() < age => interval.duration(),
            Some(_) => {
                return Err(ConfigError::new(
                    "touch_interval",
                    "it must be shorter than `age`",
                ));
            }
        };
        if !(1..=10_000).contains(&self.max_attempts) {
            return Err(ConfigError::new(
                "max_attempts",
                "choose a number from 1 to 10000",
            ));
        }
        Ok(Policy {
            enabled: self.enabled,
            age,
            lifetime: self
                .lifetime
                .map(|it| within("lifetime", it, SECOND..=LONGEST))
                .transpose()?,
            touch_interval,
            cookie: self.cookie_policy,
            clear_with_browser: self.clear_with_browser,
            on_store_failure: self.on_store_failure,
            on_too_large: self.on_too_large,
            limits: self.limits,
            max_attempts: self.max_attempts,
            fence: within("fence", self.fence, SECOND..=DAY)?,
        })
    }

    fn key_ring(&self) -> Result<KeyRing, ConfigError> {
        let missing =
            "set it to 32 random bytes as base64, or to a secret of at least 32 characters";
        let first = self
            .app_key
            .as_ref()
            .ok_or_else(|| ConfigError::new("app_key", missing))?;
        let key = |setting, secret: &Secret| {
            SealKey::from_text(secret.expose()).map_err(|error| ConfigError::caused(setting, error))
        };
        let ring = KeyRing::new(key("app_key", first)?);
        self.app_key_previous.iter().try_fold(ring, |ring, older| {
            let older = key("app_key_previous", older)?;
            ring.with_older(older)
                .map_err(|error| ConfigError::caused("app_key_previous", error))
        })
    }
}

fn within(
    setting: &'static str,
    age: Age,
    range: RangeInclusive<Duration>,
) -> Result<Duration, ConfigError> {
    let time = age.duration();
    range.contains(&time).then_some(time).ok_or_else(|| {
        let (least, most) = (Age::new(*range.start()), Age::new(*range.end()));
        ConfigError::new(
            setting,
            format!("{age} is out of range: choose {least} to {most}"),
        )
    })
}
