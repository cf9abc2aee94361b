//! From settings to an engine, or to the reason why not.

use std::{ops::RangeInclusive, time::Duration};

use super::{AssuranceLevel, ConfigError, SessionConfig, StoreRegistry, keys, stores::Choice};
use crate::{
    clock::Clock,
    cookie::{CookieError, CookieName, Finder, MAX_AGE, SetCookie},
    duration::DurationSetting,
    session::{Backend, CookieCache, DeadKeys, Engine, Listeners, Policy},
    store::CookieContext,
    wire::native::Native,
};

/// What sealed id cookies are for; part of what is authenticated.
const PURPOSE: &str = "hyper-session id";

pub(super) const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
pub(super) const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

impl SessionConfig {
    pub(crate) fn into_engine(
        self,
        stores: StoreRegistry,
        clock: Clock,
        listeners: Listeners,
    ) -> Result<Engine, ConfigError> {
        let policy = self.policy()?;
        let name = CookieName::new(self.cookie_name.as_str())
            .map_err(|error| ConfigError::caused("cookie_name", error))?;
        let set_cookie = SetCookie::new(name.clone(), self.cookie.clone())
            .map_err(|error| refused_cookie(&name, error))?;
        let keys = keys::ring(self.app_key.as_ref(), &self.app_key_previous)?;
        let ids = keys.codec(PURPOSE, name.as_str());
        let mut context = CookieContext::new(&keys, &name, &self.cookie, policy.idle_ttl());
        context.clear_with_browser = self.clear_with_browser;
        let backend = Backend::new(stores.open(self.choice(&listeners))?, &context)
            .map_err(|error| ConfigError::caused("store", error))?;
        let cut = !policy.clear_with_browser && policy.age > MAX_AGE;
        Ok(Engine {
            backend,
            cookie_cache: CookieCache::new(),
            dead_keys: DeadKeys::new(),
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
        let (age, touch_interval) = self.idle_and_touch()?;
        if !(1..=10_000).contains(&self.max_attempts) {
            return Err(ConfigError::new(
                "max_attempts",
                "choose a number from 1 to 10000",
            ));
        }
        Ok(Policy {
            enabled: self.enabled,
            age,
            absolute_timeout: self.longest()?,
            touch_interval,
            cookie: self.cookie_policy,
            clear_with_browser: self.clear_with_browser,
            on_store_failure: self.on_store_failure,
            on_too_large: self.on_too_large,
            limits: self.limits,
            max_attempts: self.max_attempts,
            fence_ttl: within("fence_ttl", self.fence_ttl, SECOND..=DAY)?,
        })
    }

    /// How long a session lives without a request, and how old a renewal must be before the next.
    fn idle_and_touch(&self) -> Result<(Duration, Duration), ConfigError> {
        let age = within("age", self.age, SECOND..=LONGEST)?;
        let interval = match self.touch_interval {
            None => (age / 60).min(MINUTE),
            Some(interval) if interval.duration() < age => interval.duration(),
            Some(interval) => {
                let why = format!(
                    "{interval} is too long: it must be shorter than `age`, {}",
                    self.age
                );
                return Err(ConfigError::new("touch_interval", why));
            }
        };
        let Some(most) = self.assurance.and_then(AssuranceLevel::idle_timeout) else {
            return Ok((age, interval));
        };
        // The store keeps a session for both together.
        let interval = interval.min(most / 60);
        Ok((age.min(most.saturating_sub(interval)), interval))
    }

    /// How long a session lives at most.
    fn longest(&self) -> Result<Option<Duration>, ConfigError> {
        let own = self
            .absolute_timeout
            .map(|it| within("absolute_timeout", it, SECOND..=LONGEST));
        let own = own.transpose()?;
        let allowed = self.assurance.map(AssuranceLevel::absolute_timeout);
        Ok(own.into_iter().chain(allowed).min())
    }

    fn choice<'c>(&'c self, listeners: &'c Listeners) -> Choice<'c> {
        Choice {
            store: &self.store,
            migrate_from: self.migrate_from.as_deref(),
            migrate_to: self.migrate_to.as_deref(),
            sections: &self.stores,
            listeners,
        }
    }
}

/// What is wrong with the cookie, by the settings that do not go together.
fn refused_cookie(name: &CookieName, error: CookieError) -> ConfigError {
    match error {
        CookieError::Prefix { field, .. } => {
            let pair = format!("{:?} does not go with `cookie.{field}`", name.as_str());
            ConfigError::caused("cookie_name", error).of(pair)
        }
        CookieError::NotSecure { .. } => {
            ConfigError::caused("cookie", error).of("`cookie.secure` is off")
        }
        _ => ConfigError::caused("cookie", error),
    }
}

pub(super) fn within(
    setting: &'static str,
    age: DurationSetting,
    range: RangeInclusive<Duration>,
) -> Result<Duration, ConfigError> {
    let time = age.duration();
    range.contains(&time).then_some(time).ok_or_else(|| {
        let (least, most) = (
            DurationSetting::new(*range.start()),
            DurationSetting::new(*range.end()),
        );
        ConfigError::new(
            setting,
            format!("{age} is out of range: choose {least} to {most}"),
        )
    })
}
