//! The settings, with their defaults.

use std::{net::IpAddr, time::Duration};

use serde::Deserialize;

use super::{AssuranceLevel, Secret, StoreConfigs};
use crate::{
    cookie::{Attributes, SameSite},
    duration::DurationSetting,
    patch::ChangeLimits,
    session::{CookiePolicy, OnStoreFailure, OnTooLarge},
};

/// How sessions behave. Build one in code, or read it with serde (times are text such as `"2h"` or
/// numbers of seconds):
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
/// The application key comes best from the environment: [`with_env`](Self::with_env). Which of them
/// counts where several set the same is told in the [module](super).
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionConfig {
    /// Whether sessions work. When off, handlers get an empty read-only session, no store is asked,
    /// and responses say nothing of sessions. Default: on.
    pub enabled: bool,
    /// The id cookie's name. The prefixes `__Host-` and `__Secure-` are checked against the
    /// attributes. Default: `session`.
    pub cookie_name: String,
    /// Leaves out Max-Age, so that browsers drop the cookie when they close. Default: off.
    pub clear_with_browser: bool,
    /// How long a session lives without a request, from a second to 10 years. Enforced by the
    /// store, to within `touch_interval`. Default: 2 hours.
    pub age: DurationSetting,
    /// How long a session lives at most, however busy: at its end the visitor starts anew. Default:
    /// no end.
    pub absolute_timeout: Option<DurationSetting>,
    /// Keeps both times within those of an assurance level: `age`, and `touch_interval` with it,
    /// and `lifetime` count for no more than the level allows. Default: none.
    pub assurance: Option<AssuranceLevel>,
    /// The id cookie's attributes. Default: `Path=/; HttpOnly; Secure; SameSite=Lax`.
    pub cookie: Attributes,
    /// Which of the stores to use, by name: `memory`, `file`, `cookie`, `redis`, or one that the
    /// program has [added](super::StoreRegistry). Default: `memory`.
    pub store: String,
    /// The store that sessions were in before, by name: they move from it to `store` as they are
    /// used; see [`MigratingStore`](crate::store::MigratingStore). It may be `cookie`, from which sessions move
    /// to a store at the server. Default: none.
    pub migrate_from: Option<String>,
    /// The store that sessions will be in, by name: they stay in `store`, and those that other
    /// machines have moved already are found. Not together with `migrate_from`. Default: none.
    pub migrate_to: Option<String>,
    /// The sections of the stores `memory`, `file`, `cookie` and `redis`.
    pub stores: StoreConfigs,
    /// When the id cookie is sent. Default: on every response.
    pub cookie_policy: CookiePolicy,
    /// How old the last renewal must be before a request renews the session in the store again;
    /// zero renews on every request. Less than `age`. Default: a sixtieth of `age`, at most a minute.
    pub touch_interval: Option<DurationSetting>,
    /// What a request gets when the store fails. Default: 503.
    pub on_store_failure: OnStoreFailure,
    /// What becomes of a response whose session is too large for its store: an error, or the write
    /// is dropped. Default: an error.
    pub on_too_large: OnTooLarge,
    /// How many operations one request may do between two commits, how many bytes they may take,
    /// and how large a session may get.
    pub limits: ChangeLimits,
    /// How often a commit is tried against writes of other requests, 1 to 10,000. Default: 256.
    pub max_attempts: u32,
    /// How long a slower request is kept from writing under an id that was regenerated away: longer
    /// than the longest request, 1 second to a day. Default: 60 seconds. (What keeps it from
    /// bringing back a destroyed session is the store's tombstone.)
    pub fence_ttl: DurationSetting,
    /// The key that seals cookies: 32 bytes as base64 or hexadecimal (the program `session-key`
    /// prints such a key), or a secret text of at least 32 characters. It must be set. A key that
    /// is a shorter text over and over is refused, and so is one that stands in this crate's
    /// documentation, unless it stands in the program itself.
    pub app_key: Option<Secret>,
    /// Older keys, at most 15, which still open cookies but seal none. Sessions move to `app_key` as
    /// they are used.
    pub app_key_previous: Vec<Secret>,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            cookie_name: "session".to_owned(),
            clear_with_browser: false,
            age: DurationSetting::new(Duration::from_secs(2 * 60 * 60)),
            absolute_timeout: None,
            cookie: Attributes::default(),
            assurance: None,
            store: "memory".to_owned(),
            migrate_from: None,
            migrate_to: None,
            stores: StoreConfigs::default(),
            cookie_policy: CookiePolicy::default(),
            touch_interval: None,
            on_store_failure: OnStoreFailure::default(),
            on_too_large: OnTooLarge::default(),
            limits: ChangeLimits::default(),
            max_attempts: 256,
            fence_ttl: DurationSetting::new(Duration::from_secs(60)),
            app_key: None,
            app_key_previous: Vec::new(),
        }
    }
}

/// The builder: each method sets the field of its name. All are checked when sessions are built.
impl SessionConfig {
    /// Sets [`enabled`](#structfield.enabled).
    #[must_use]
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Sets [`cookie_name`](#structfield.cookie_name).
    #[must_use]
    pub fn cookie_name(mut self, name: impl Into<String>) -> Self {
        self.cookie_name = name.into();
        self
    }

    /// Names the cookie with the `__Host-` prefix and sets the attributes that it asks for: sent
    /// back only over HTTPS and only to this very host.
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

    /// Sets [`age`](#structfield.age).
    #[must_use]
    pub fn age(mut self, age: Duration) -> Self {
        self.age = DurationSetting::new(age);
        self
    }

    /// Sets [`lifetime`](#structfield.absolute_timeout).
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

    /// Sets the cookie's `Secure` attribute. Turn it off for plain HTTP only.
    #[must_use]
    pub fn secure(mut self, secure: bool) -> Self {
        self.cookie.secure = secure;
        self
    }

    /// Leaves out the cookie's `Secure` attribute where the service listens on a loopback address,
    /// for development over plain HTTP: most browsers take Secure cookies from `http://localhost`,
    /// but Safari, curl and many HTTP clients do not.
    ///
    /// Not for a service behind a proxy that speaks HTTPS for it: its address may be a loopback one
    /// too, and its visitors are elsewhere. What a request says of its host is no help either, since
    /// anyone can say anything; so this goes by the address that the program listens on.
    #[must_use]
    pub fn secure_unless_loopback(mut self, address: IpAddr) -> Self {
        self.cookie.secure = !address.to_canonical().is_loopback();
        self
    }

    /// Sets the cookie's `SameSite` attribute.
    #[must_use]
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.cookie.same_site = Some(same_site);
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

    /// Sets [`limits`](#structfield.limits).
    #[must_use]
    pub fn limits(mut self, limits: ChangeLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets [`max_attempts`](#structfield.max_attempts).
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Sets [`app_key`](#structfield.app_key).
    #[must_use]
    pub fn app_key(mut self, key: impl Into<String>) -> Self {
        self.app_key = Some(Secret::new(key));
        self
    }

    /// Adds one of [`app_key_previous`](#structfield.app_key_previous).
    #[must_use]
    pub fn previous_key(mut self, key: impl Into<String>) -> Self {
        self.app_key_previous.push(Secret::new(key));
        self
    }
}
