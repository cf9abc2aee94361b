//! Validation of settings, and the engine that they configure.

use std::time::Duration;

use super::{
    AssuranceLevel, ConfigError, SessionConfig, StoreRegistry, app_key, range::check_range,
    registry::StoreSelection,
};
use crate::{
    clock::Clock,
    cookie::{CookieError, CookieName, CookieStripper, Finder, MAX_AGE, SetCookie},
    duration::DurationSetting,
    seal::KeyRing,
    session::{
        Backend, CommitQueues, CookieCache, Engine, Listeners, OperationMeters, PendingIds, Policy,
        RecentChanges, TouchTimes,
    },
    store::CookieContext,
    wire::native::NativeFormat,
};

/// The purpose of sealed id cookies, which the seal authenticates.
const PURPOSE: &str = "hyper-session id";

pub(super) const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
pub(super) const MAX_DURATION: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

impl SessionConfig {
    pub(crate) fn into_engine(
        self,
        stores: StoreRegistry,
        clock: Clock,
        listeners: Listeners,
    ) -> Result<Engine, ConfigError> {
        let mut policy = self.policy()?;
        let name = CookieName::new(self.cookie_name.as_str()).map_err(|error| {
            let value = format!("{:?}", self.cookie_name);
            ConfigError::with_source("cookie_name", error).context(value)
        })?;
        let set_cookie = SetCookie::new(name.clone(), self.cookie.clone())
            .map_err(|error| cookie_error(&name, error))?;
        let keys = app_key::key_ring(self.app_key.as_ref(), &self.app_key_previous)?;
        let ids = keys.codec(PURPOSE, name.as_str());
        let max_age = match self.max_age_limit {
            Some(_) => policy.age.max(policy.max_age_limit),
            None => policy.age,
        };
        let context = CookieContext::new(&keys, &name, &self.cookie, policy.idle_ttl(max_age));
        let backend = Backend::new(
            stores.open(self.store_selection(&listeners, &keys))?,
            &context,
        )
        .map_err(|error| ConfigError::with_source("store", error))?;
        if backend.has_revocation_list() {
            policy.max_age_limit = policy.max_age_limit.min(max_age);
        }
        let operation_timeout = backend.store().capabilities().operation_timeout;
        self.check_commit_timeout(operation_timeout)?;
        let names = std::iter::once(name.clone()).chain(backend.cookie_names());
        let stripper = CookieStripper::new(names);
        let limits_max_age = !policy.clear_with_browser && policy.age > MAX_AGE;
        Ok(Engine {
            store_name: backend.store().name(),
            meters: OperationMeters::new(backend.store().name()),
            backend,
            cookie_cache: CookieCache::new(),
            recent_changes: RecentChanges::new(),
            touch_times: TouchTimes::new(),
            finder: Finder::new(&name),
            format: Box::new(NativeFormat::new(ids, keys)),
            queues: CommitQueues::default(),
            pending_ids: PendingIds::default(),
            adjusted: limits_max_age.then_some(
                "`age` exceeds 400 days, the maximum of browsers; Max-Age of the cookie is 400 days",
            ),
            touch_interval_millis: whole_millis(policy.touch_interval),
            policy,
            set_cookie,
            stripper,
            clock,
            listeners,
        })
    }

    fn policy(&self) -> Result<Policy, ConfigError> {
        let (age, touch_interval) = self.idle_timeout_and_touch_interval()?;
        Ok(Policy {
            enabled: self.enabled,
            age,
            max_age_limit: self.own_age_limit(age, touch_interval)?,
            absolute_timeout: self.absolute_timeout_limit()?,
            touch_interval,
            touch_timeout: check_range("touch_timeout", self.touch_timeout, MILLISECOND..=MINUTE)?,
            cookie: self.cookie_policy,
            clear_with_browser: self.clear_with_browser,
            on_store_failure: self.on_store_failure,
            on_too_large: self.on_too_large,
            keep_flash_on_redirect: self.keep_flash_on_redirect,
            secret_fields: self.secret_fields.clone().into(),
            limits: self.limits,
            on_conflict: self.on_conflict,
            commit_timeout: check_range("commit_timeout", self.commit_timeout, MILLISECOND..=HOUR)?,
            fence_ttl: check_range("fence_ttl", self.fence_ttl, SECOND..=DAY)?,
        })
    }

    /// Checks that a commit has time for one operation of the store.
    fn check_commit_timeout(&self, operation_timeout: Option<Duration>) -> Result<(), ConfigError> {
        let commit_timeout = self.commit_timeout;
        match operation_timeout {
            Some(timeout) if timeout >= commit_timeout.duration() => {
                let timeout = DurationSetting::new(timeout);
                let problem = format!(
                    "{commit_timeout} is too short; choose more than the operation timeout of the \
                     store, which is {timeout}"
                );
                Err(ConfigError::new("commit_timeout", problem))
            }
            _ => Ok(()),
        }
    }

    /// Returns the idle timeout and the touch interval, limited by the assurance level.
    fn idle_timeout_and_touch_interval(&self) -> Result<(Duration, Duration), ConfigError> {
        let age = check_range("age", self.age, SECOND..=MAX_DURATION)?;
        let interval = match self.touch_interval {
            None => (age / 60).min(MINUTE),
            Some(interval) if interval.duration() < age => interval.duration(),
            Some(interval) => {
                let problem = format!(
                    "{interval} is too long; choose less than `age`, which is {}",
                    self.age
                );
                return Err(ConfigError::new("touch_interval", problem));
            }
        };
        let Some(limit) = self.assurance.and_then(AssuranceLevel::idle_timeout) else {
            return Ok((age, interval));
        };
        // The store keeps a session for `age` plus `interval`.
        let interval = interval.min(limit / 60);
        Ok((age.min(limit.saturating_sub(interval)), interval))
    }

    /// Returns the longest idle timeout that a session may set for itself, limited by the assurance level.
    fn own_age_limit(&self, age: Duration, interval: Duration) -> Result<Duration, ConfigError> {
        let configured = self
            .max_age_limit
            .map(|limit| check_range("max_age_limit", limit, SECOND..=MAX_DURATION));
        let limit = configured.transpose()?.unwrap_or(MAX_AGE.max(age));
        if limit <= interval {
            let (limit, interval) = (DurationSetting::new(limit), DurationSetting::new(interval));
            let problem = format!(
                "{limit} is too short; choose more than `touch_interval`, which is {interval}"
            );
            return Err(ConfigError::new("max_age_limit", problem));
        }
        let idle_timeout = self.assurance.and_then(AssuranceLevel::idle_timeout);
        let assured = idle_timeout.map(|idle| idle.saturating_sub(interval));
        Ok(assured.map_or(limit, |assured| assured.min(limit)))
    }

    /// Returns the absolute timeout, limited by the assurance level.
    fn absolute_timeout_limit(&self) -> Result<Option<Duration>, ConfigError> {
        let configured = self
            .absolute_timeout
            .map(|timeout| check_range("absolute_timeout", timeout, SECOND..=MAX_DURATION));
        let configured = configured.transpose()?;
        let limit = self.assurance.map(AssuranceLevel::absolute_timeout);
        Ok(configured.into_iter().chain(limit).min())
    }

    fn store_selection<'c>(
        &'c self,
        listeners: &'c Listeners,
        keys: &'c KeyRing,
    ) -> StoreSelection<'c> {
        StoreSelection {
            store: &self.store,
            migrate_from: self.migrate_from.as_deref(),
            migrate_to: self.migrate_to.as_deref(),
            configs: &self.stores,
            listeners,
            keys,
        }
    }
}

/// Names the settings that conflict.
fn cookie_error(name: &CookieName, error: CookieError) -> ConfigError {
    match error {
        CookieError::Prefix { field, .. } => {
            let pair = format!("{:?} conflicts with `cookie.{field}`", name.as_str());
            ConfigError::with_source("cookie_name", error).context(pair)
        }
        CookieError::NotSecure { .. } => {
            ConfigError::with_source("cookie", error).context("`cookie.secure` is off")
        }
        _ => ConfigError::with_source("cookie", error),
    }
}

/// Returns a duration in milliseconds, rounded up.
fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
