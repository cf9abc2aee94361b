//! The settings of sessions, with their defaults.

use std::{net::IpAddr, time::Duration};

use serde::Deserialize;

use super::{AssuranceLevel, Secret, StoreConfigs};
use crate::{
    cookie::{Attributes, Priority, SameSite},
    duration::DurationSetting,
    patch::ChangeLimits,
    session::{CookiePolicy, OnConflict, OnStoreFailure, OnTooLarge},
};

/// The settings of sessions.
///
/// Set them in code, or read them with serde. Durations are texts such as `"2h"` or numbers of
/// seconds:
///
/// ```
/// use hyper_session::SessionConfig;
///
/// let config: SessionConfig = toml::from_str(r#"
///     age = "2h"
///     cookie_name = "__Host-session"
///     cookie_policy = "when_used"
///     [cookie]
///     same_site = "strict"
/// "#)?;
/// # Ok::<(), toml::de::Error>(())
/// ```
///
/// Take the application key from the environment: see [`with_env`](Self::with_env). The
/// [module](super) documents which value wins if several sources set the same setting.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SessionConfig {
    /// Enables sessions. If this is off, handlers get an empty read-only session, no store is used and
    /// responses contain no session headers. Default: on.
    pub enabled: bool,
    /// The name of the id cookie. A prefix `__Host-` or `__Secure-` requires matching attributes.
    /// Default: `session`.
    pub cookie_name: String,
    /// Leaves out `Max-Age`, so that browsers drop the cookie when they close. Default: off.
    #[doc(alias = "session_cookie")]
    pub clear_with_browser: bool,
    /// The idle timeout, the maximum time between two requests of a session: 1 second to 10 years. The
    /// store enforces it, to within `touch_interval`. Default: 2 hours.
    #[doc(alias = "idle_timeout")]
    #[doc(alias = "ttl")]
    #[doc(alias = "maxAge")]
    pub age: DurationSetting,
    /// The longest timeout that [`set_max_age`](crate::Session::set_max_age) accepts for one session: 1
    /// second to 10 years. Default: 400 days, the maximum of browsers, or `age` if that is longer. With a
    /// cookie store that has a revocation list, the default is `age`, because an entry of the list lives as
    /// long as the longest session. Also limits timeouts that are stored already.
    pub max_age_limit: Option<DurationSetting>,
    /// The maximum age of a session, however often it is used: 1 second to 10 years. The visitor then
    /// gets a new session. Default: no limit.
    #[doc(alias = "lifetime")]
    pub absolute_timeout: Option<DurationSetting>,
    /// Limits `age`, `max_age_limit`, `touch_interval` and `absolute_timeout` to the timeouts of an assurance level.
    /// Default: none.
    pub assurance: Option<AssuranceLevel>,
    /// The attributes of the id cookie. Default: `Path=/; HttpOnly; Secure; SameSite=Lax`.
    pub cookie: Attributes,
    /// The name of the store: `memory`, `file`, `cookie`, `redis`, or a name in the program's
    /// [registry](super::StoreRegistry). Default: `memory`.
    #[doc(alias = "driver")]
    pub store: String,
    /// The name of the previous store. Sessions migrate from it to `store` as they are used; see
    /// [`MigratingStore`](crate::store::MigratingStore). From `cookie`, sessions migrate to a store at
    /// the server. Excludes `migrate_to`. Default: none.
    pub migrate_from: Option<String>,
    /// The name of the next store. Sessions stay in `store`, but sessions that other machines have
    /// already migrated are found. Excludes `migrate_from`. Default: none.
    pub migrate_to: Option<String>,
    /// The settings of the stores `memory`, `file`, `cookie` and `redis`.
    pub stores: StoreConfigs,
    /// The responses that send the id cookie. Default: those that used the session, and those of a due
    /// renewal.
    #[doc(alias = "rolling")]
    #[doc(alias = "saveUninitialized")]
    pub cookie_policy: CookiePolicy,
    /// The minimum time between two touches of a session in the store; zero touches it on every
    /// request. Less than `age`. Default: a sixtieth of `age`, at most a minute.
    pub touch_interval: Option<DurationSetting>,
    /// The time for which a response waits for the touch of a session that its handler did not load: 1
    /// millisecond to 1 minute. The next touch is then due after `touch_interval`. Default: 100
    /// milliseconds.
    pub touch_timeout: DurationSetting,
    /// The response to a request when the store fails. Default: 503.
    pub on_store_failure: OnStoreFailure,
    /// The response to a request whose session is too large for its store, or exceeds `limits.document` together with
    /// changes of other requests. Default: an error.
    pub on_too_large: OnTooLarge,
    /// Keeps flash messages for the next request if the response is a redirect (3xx), which no visitor
    /// sees. Messages that do not fit into `limits.document` are not kept. Default: off.
    pub keep_flash_on_redirect: bool,
    /// Names of form fields that are never flashed as old input, at any level and in any case, by no
    /// method. The redirect of an invalid form leaves out passwords besides, whatever this list
    /// holds. Default: none.
    #[doc(alias = "dontFlash")]
    pub secret_fields: Vec<String>,
    /// The response to a request whose changes do not fit the changes of another request. Default: 409.
    pub on_conflict: OnConflict,
    /// Limits of the changes of one request between two commits, and of the size of a session.
    pub limits: ChangeLimits,
    /// The time in which a commit retries while requests on other machines write the same session, and
    /// in which a load looks up the ids of a request that carries several. More than the
    /// [operation timeout](crate::store::Capabilities::operation_timeout) of the store, 1 millisecond to an
    /// hour. Default: 5 seconds.
    pub commit_timeout: DurationSetting,
    /// The time to live of the fence under a regenerated id, which stops writes of slower requests.
    /// Longer than the longest request, 1 second to a day. Default: 60 seconds. A fence that names the new id lives
    /// for 20 seconds at least, because collections look for it.
    ///
    /// The store's tombstone TTL does the same for destroyed sessions.
    pub fence_ttl: DurationSetting,
    /// The key that seals cookies: 32 bytes as base64 or hexadecimal (the program `session-key`
    /// prints such a key), or a secret of at least 32 characters. Required.
    ///
    /// A repetition of a shorter text is rejected. A key from this crate's documentation is rejected
    /// unless it is set in the program's code.
    pub app_key: Option<Secret>,
    /// Previous keys, at most 15. They open cookies but do not seal any. Sessions are sealed again
    /// with `app_key` as they are used.
    pub app_key_previous: Vec<Secret>,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            cookie_name: "session".to_owned(),
            clear_with_browser: false,
            age: DurationSetting::new(Duration::from_secs(2 * 60 * 60)),
            max_age_limit: None,
            absolute_timeout: None,
            cookie: Attributes::default(),
            assurance: None,
            store: "memory".to_owned(),
            migrate_from: None,
            migrate_to: None,
            stores: StoreConfigs::default(),
            cookie_policy: CookiePolicy::default(),
            touch_interval: None,
            touch_timeout: DurationSetting::new(Duration::from_millis(100)),
            on_store_failure: OnStoreFailure::default(),
            on_too_large: OnTooLarge::default(),
            keep_flash_on_redirect: false,
            secret_fields: Vec::new(),
            on_conflict: OnConflict::default(),
            limits: ChangeLimits::default(),
            commit_timeout: DurationSetting::new(Duration::from_secs(5)),
            fence_ttl: DurationSetting::new(Duration::from_secs(60)),
            app_key: None,
            app_key_previous: Vec::new(),
        }
    }
}

/// Each method sets the field of its name. Building sessions checks the values.
impl SessionConfig {
    /// Sets [`enabled`](#structfield.enabled).
    #[must_use]
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Sets [`cookie_name`](#structfield.cookie_name).
    #[doc(alias = "with_name")]
    #[must_use]
    pub fn cookie_name(mut self, name: impl Into<String>) -> Self {
        self.cookie_name = name.into();
        self
    }

    /// Adds the `__Host-` prefix to the cookie's name and sets the attributes that it requires:
    /// `Secure`, no `Domain`, `Path=/`. Browsers then send the cookie only over HTTPS and only to this
    /// host.
    #[must_use]
    pub fn host_cookie(mut self) -> Self {
        if !self.cookie_name.starts_with("__Host-") {
            self.cookie_name.insert_str(0, "__Host-");
        }
        self.cookie.secure = true;
        self.cookie.domain = None;
        self.cookie.path = "/".into();
        self
    }

    /// Sets [`clear_with_browser`](#structfield.clear_with_browser).
    #[must_use]
    pub fn clear_with_browser(mut self, clear: bool) -> Self {
        self.clear_with_browser = clear;
        self
    }

    /// Sets [`age`](#structfield.age), the idle timeout.
    #[doc(alias = "idle_timeout")]
    #[doc(alias = "session_ttl")]
    #[doc(alias = "with_expiry")]
    #[doc(alias = "set_expiry")]
    #[must_use]
    pub fn age(mut self, age: Duration) -> Self {
        self.age = DurationSetting::new(age);
        self
    }

    /// Sets [`max_age_limit`](#structfield.max_age_limit).
    #[must_use]
    pub fn max_age_limit(mut self, limit: Duration) -> Self {
        self.max_age_limit = Some(DurationSetting::new(limit));
        self
    }

    /// Sets [`absolute_timeout`](#structfield.absolute_timeout).
    #[doc(alias = "lifetime")]
    #[must_use]
    pub fn absolute_timeout(mut self, absolute_timeout: Duration) -> Self {
        self.absolute_timeout = Some(DurationSetting::new(absolute_timeout));
        self
    }

    /// Sets [`assurance`](#structfield.assurance).
    #[must_use]
    pub fn assurance(mut self, level: AssuranceLevel) -> Self {
        self.assurance = Some(level);
        self
    }

    /// Sets [`cookie`](#structfield.cookie).
    #[must_use]
    pub fn cookie(mut self, attributes: Attributes) -> Self {
        self.cookie = attributes;
        self
    }

    /// Sets the cookie's `Secure` attribute. Turn it off only for plain HTTP.
    #[doc(alias = "with_secure")]
    #[doc(alias = "cookie_secure")]
    #[must_use]
    pub fn secure(mut self, secure: bool) -> Self {
        self.cookie.secure = secure;
        self
    }

    /// Leaves out the cookie's `Secure` attribute if `address`, on which the service listens, is a
    /// loopback address.
    ///
    /// This is for development over plain HTTP. Most browsers accept Secure cookies from
    /// `http://localhost`, but Safari, curl and many HTTP clients do not.
    ///
    /// Do not use it behind a proxy that terminates TLS: the service then listens on a loopback
    /// address too, but its visitors are on other machines. The `Host` header of a request is
    /// ignored, since a client can forge it.
    #[must_use]
    pub fn secure_unless_loopback(mut self, address: IpAddr) -> Self {
        self.cookie.secure = !address.to_canonical().is_loopback();
        self
    }

    /// Sets the cookie's `SameSite` attribute.
    #[doc(alias = "with_same_site")]
    #[doc(alias = "cookie_same_site")]
    #[must_use]
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.cookie.same_site = Some(same_site);
        self
    }

    /// Sets the cookie's `Priority` attribute.
    #[must_use]
    pub fn cookie_priority(mut self, priority: Priority) -> Self {
        self.cookie.priority = Some(priority);
        self
    }

    /// Sets [`store`](#structfield.store).
    #[must_use]
    pub fn store(mut self, name: impl Into<String>) -> Self {
        self.store = name.into();
        self
    }

    /// Sets [`migrate_from`](#structfield.migrate_from).
    #[must_use]
    pub fn migrate_from(mut self, name: impl Into<String>) -> Self {
        self.migrate_from = Some(name.into());
        self
    }

    /// Sets [`migrate_to`](#structfield.migrate_to).
    #[must_use]
    pub fn migrate_to(mut self, name: impl Into<String>) -> Self {
        self.migrate_to = Some(name.into());
        self
    }

    /// Sets [`cookie_policy`](#structfield.cookie_policy).
    #[doc(alias = "with_always_save")]
    #[must_use]
    pub fn cookie_policy(mut self, policy: CookiePolicy) -> Self {
        self.cookie_policy = policy;
        self
    }

    /// Sets [`touch_interval`](#structfield.touch_interval).
    #[must_use]
    pub fn touch_interval(mut self, interval: Duration) -> Self {
        self.touch_interval = Some(DurationSetting::new(interval));
        self
    }

    /// Sets [`touch_timeout`](#structfield.touch_timeout).
    #[must_use]
    pub fn touch_timeout(mut self, timeout: Duration) -> Self {
        self.touch_timeout = DurationSetting::new(timeout);
        self
    }

    /// Sets [`on_store_failure`](#structfield.on_store_failure).
    #[must_use]
    pub fn on_store_failure(mut self, choice: OnStoreFailure) -> Self {
        self.on_store_failure = choice;
        self
    }

    /// Sets [`on_too_large`](#structfield.on_too_large).
    #[must_use]
    pub fn on_too_large(mut self, choice: OnTooLarge) -> Self {
        self.on_too_large = choice;
        self
    }

    /// Sets [`keep_flash_on_redirect`](#structfield.keep_flash_on_redirect).
    #[must_use]
    pub fn keep_flash_on_redirect(mut self, keep: bool) -> Self {
        self.keep_flash_on_redirect = keep;
        self
    }

    /// Adds names to [`secret_fields`](#structfield.secret_fields).
    #[must_use]
    pub fn secret_fields(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.secret_fields.extend(names.into_iter().map(Into::into));
        self
    }

    /// Sets [`on_conflict`](#structfield.on_conflict).
    #[must_use]
    pub fn on_conflict(mut self, choice: OnConflict) -> Self {
        self.on_conflict = choice;
        self
    }

    /// Sets [`limits`](#structfield.limits).
    #[must_use]
    pub fn limits(mut self, limits: ChangeLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets [`commit_timeout`](#structfield.commit_timeout).
    #[must_use]
    pub fn commit_timeout(mut self, timeout: Duration) -> Self {
        self.commit_timeout = DurationSetting::new(timeout);
        self
    }

    /// Sets [`app_key`](#structfield.app_key).
    #[doc(alias = "with_private")]
    #[doc(alias = "with_signed")]
    #[doc(alias = "secret")]
    #[must_use]
    pub fn app_key(mut self, key: impl Into<String>) -> Self {
        self.app_key = Some(Secret::new(key));
        self
    }

    /// Adds a key to [`app_key_previous`](#structfield.app_key_previous).
    #[must_use]
    pub fn previous_key(mut self, key: impl Into<String>) -> Self {
        self.app_key_previous.push(Secret::new(key));
        self
    }
}
