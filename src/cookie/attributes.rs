//! The attributes of a cookie.

use std::{fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Unexpected, Visitor},
};

use super::{CookieError, CookieName};

/// Maximum length of an attribute value in bytes. User agents ignore longer values (RFC 6265bis
/// section 5.6).
pub const MAX_ATTRIBUTE_LEN: usize = 1024;

/// The attributes of a cookie, except for its lifetime.
///
/// The default is `Path=/; Secure; HttpOnly; SameSite=Lax`, without `Domain`: only the host that
/// sets the cookie receives it. Attributes are checked when the sessions are built, also against the
/// rules for the cookie's name prefix.
///
/// ```
/// use hyper_session::cookie::{Attributes, SameSite};
///
/// let strict = Attributes::default().same_site(SameSite::Strict);
/// assert!(strict.secure && strict.http_only);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
#[doc(alias = "CookieOptions")]
pub struct Attributes {
    /// The path that the cookie is sent to, including all paths below it. It starts with `/`.
    #[doc(alias = "with_path")]
    #[doc(alias = "cookie_path")]
    pub path: String,
    /// The domain that the cookie is sent to, including its subdomains, without a leading dot. `None`
    /// means exactly the host that sets the cookie, which is safer.
    #[doc(alias = "with_domain")]
    #[doc(alias = "cookie_domain")]
    pub domain: Option<String>,
    /// Sends the cookie over secure connections only.
    pub secure: bool,
    /// Hides the cookie from scripts.
    #[doc(alias = "httpOnly")]
    #[doc(alias = "with_http_only")]
    #[doc(alias = "cookie_http_only")]
    pub http_only: bool,
    /// The requests from other sites that include the cookie. `None` omits the attribute; most user
    /// agents then behave as for [`Lax`](SameSite::Lax).
    #[doc(alias = "sameSite")]
    pub same_site: Option<SameSite>,
    /// Stores the cookie separately for each top-level site that embeds the host (CHIPS). Requires
    /// `secure`.
    pub partitioned: bool,
    /// The order in which a user agent with too many cookies of one site removes them: `Low` first.
    /// `None` omits the attribute, which means [`Medium`](Priority::Medium). It is not part of RFC
    /// 6265bis. Chromium supports it; other user agents ignore it.
    pub priority: Option<Priority>,
    /// Scopes that the cookie had before. A response that sets or removes the id cookie also removes
    /// the cookies of its name in these scopes, which browsers would send along for as long as they
    /// live. The same holds for the data cookies of a [`CookieStore`](crate::store::CookieStore), if the
    /// request carried them. Default: none.
    pub former_scopes: Vec<CookieScope>,
}

/// The domain and path that a cookie is sent to. Browsers keep cookies of one name in several scopes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CookieScope {
    /// The domain, or `None` for exactly the host that set the cookie.
    pub domain: Option<String>,
    /// The path.
    pub path: String,
}

impl CookieScope {
    /// Returns the scope of a cookie with this domain and path.
    pub fn new(domain: Option<&str>, path: impl Into<String>) -> Self {
        Self {
            domain: domain.map(str::to_owned),
            path: path.into(),
        }
    }
}

impl Default for CookieScope {
    /// Returns the scope of exactly the host that set the cookie, with the path `/`.
    fn default() -> Self {
        Self::new(None, "/")
    }
}

impl Default for Attributes {
    fn default() -> Self {
        Self {
            path: "/".to_owned(),
            domain: None,
            secure: true,
            http_only: true,
            same_site: Some(SameSite::Lax),
            partitioned: false,
            priority: None,
            former_scopes: Vec::new(),
        }
    }
}

/// The requests from other sites that include a cookie (RFC 6265bis section 4.1.2.7).
///
/// With serde it is a text: `strict`, `lax` or `none`, in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SameSite {
    /// No requests from other sites.
    Strict,
    /// Requests that navigate to this site with a safe method, like following a link.
    Lax,
    /// All requests. The cookie must be [`secure`](Attributes#structfield.secure).
    None,
}

impl SameSite {
    const ALL: [Self; 3] = [Self::Strict, Self::Lax, Self::None];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}

impl Serialize for SameSite {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.as_str().to_ascii_lowercase())
    }
}

impl<'de> Deserialize<'de> for SameSite {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(SameSiteVisitor)
    }
}

struct SameSiteVisitor;

impl Visitor<'_> for SameSiteVisitor {
    type Value = SameSite;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`strict`, `lax` or `none`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<SameSite, E> {
        let is_named = |value: &SameSite| value.as_str().eq_ignore_ascii_case(text);
        let value = SameSite::ALL.into_iter().find(is_named);
        value.ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

/// The order in which a user agent with too many cookies of one site removes them.
///
/// As a text it is `low`, `medium` or `high`, in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Priority {
    /// Removed first.
    Low,
    /// The priority of cookies without the attribute.
    Medium,
    /// Removed last.
    High,
}

impl Priority {
    const ALL: [Self; 3] = [Self::Low, Self::Medium, Self::High];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "Low",
            Self::Medium => "Medium",
            Self::High => "High",
        }
    }
}

/// The error of reading a [`Priority`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cookie priority is invalid; use `low`, `medium` or `high`")]
pub struct InvalidPriority;

impl FromStr for Priority {
    type Err = InvalidPriority;

    fn from_str(text: &str) -> Result<Self, InvalidPriority> {
        let is_named = |value: &Self| value.as_str().eq_ignore_ascii_case(text);
        Self::ALL.into_iter().find(is_named).ok_or(InvalidPriority)
    }
}

impl Serialize for Priority {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.as_str().to_ascii_lowercase())
    }
}

impl<'de> Deserialize<'de> for Priority {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl Attributes {
    /// Sets [`path`](Self#structfield.path).
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Sets [`domain`](Self#structfield.domain).
    #[must_use]
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Sets [`secure`](Self#structfield.secure).
    #[must_use]
    pub const fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// Sets [`http_only`](Self#structfield.http_only).
    #[must_use]
    pub const fn http_only(mut self, http_only: bool) -> Self {
        self.http_only = http_only;
        self
    }

    /// Sets [`same_site`](Self#structfield.same_site), or omits it if `None`.
    #[must_use]
    pub fn same_site(mut self, same_site: impl Into<Option<SameSite>>) -> Self {
        self.same_site = same_site.into();
        self
    }

    /// Sets [`partitioned`](Self#structfield.partitioned).
    #[must_use]
    pub const fn partitioned(mut self, partitioned: bool) -> Self {
        self.partitioned = partitioned;
        self
    }

    /// Sets [`priority`](Self#structfield.priority), or omits it if `None`.
    #[must_use]
    pub fn priority(mut self, priority: impl Into<Option<Priority>>) -> Self {
        self.priority = priority.into();
        self
    }

    /// Adds a scope to [`former_scopes`](Self#structfield.former_scopes).
    #[must_use]
    pub fn former_scope(mut self, scope: CookieScope) -> Self {
        self.former_scopes.push(scope);
        self
    }

    /// Returns the attributes of the cookies in each former scope.
    ///
    /// # Errors
    /// If a former scope is the scope of these attributes.
    pub(super) fn former(&self) -> Result<Vec<Self>, CookieError> {
        let former = self.former_scopes.iter().map(|scope| {
            // User agents compare domains without case.
            let has_domain = match (&scope.domain, &self.domain) {
                (Some(former), Some(domain)) => former.eq_ignore_ascii_case(domain),
                (former, domain) => former == domain,
            };
            if has_domain && scope.path == self.path {
                return Err(CookieError::FormerScope);
            }
            Ok(Self {
                domain: scope.domain.clone(),
                path: scope.path.clone(),
                former_scopes: Vec::new(),
                ..self.clone()
            })
        });
        former.collect()
    }

    /// Checks that user agents accept a cookie called `name` with these attributes.
    pub(super) fn check(&self, name: &CookieName) -> Result<(), CookieError> {
        if !is_path(&self.path) {
            return Err(CookieError::Path {
                path: self.path.clone(),
            });
        }
        if let Some(domain) = self.domain.as_ref().filter(|domain| !is_domain(domain)) {
            return Err(CookieError::Domain {
                domain: domain.clone(),
            });
        }
        self.check_secure()?;
        self.check_prefix(name)
    }

    fn check_secure(&self) -> Result<(), CookieError> {
        let attribute = match self {
            Self { secure: true, .. } => return Ok(()),
            Self {
                same_site: Some(SameSite::None),
                ..
            } => "SameSite=None",
            Self {
                partitioned: true, ..
            } => "Partitioned",
            _ => return Ok(()),
        };
        Err(CookieError::NotSecure { attribute })
    }

    /// Checks the rules of the name's prefix. Ignores the prefix's case, as user agents do
    /// (RFC 6265bis section 5.4, layered cookies "Cookie Name Prefixes").
    fn check_prefix(&self, name: &CookieName) -> Result<(), CookieError> {
        // Each prefix, whether it requires a host-only cookie, and whether it requires HttpOnly.
        // Longer prefixes come first, because one prefix can start with another.
        const PREFIXES: [(&str, bool, bool); 4] = [
            ("__Host-Http-", true, true),
            ("__Host-", true, false),
            ("__Http-", false, true),
            ("__Secure-", false, false),
        ];
        let Some((prefix, host, http)) = PREFIXES
            .into_iter()
            .find(|(prefix, ..)| has_prefix(name.as_str(), prefix))
        else {
            return Ok(());
        };
        let (rule, field) = if !self.secure {
            ("be Secure", "secure")
        } else if http && !self.http_only {
            ("be HttpOnly", "http_only")
        } else if host && self.path != "/" {
            ("have the path /", "path")
        } else if host && self.domain.is_some() {
            ("have no domain", "domain")
        } else {
            return Ok(());
        };
        Err(CookieError::Prefix {
            prefix,
            rule,
            field,
        })
    }

    /// Appends the attributes in the form of a `Set-Cookie` value, each after `"; "`: Domain, Path,
    /// Secure, HttpOnly, SameSite, Partitioned, Priority.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut put = |parts: [&str; 2]| {
            out.extend_from_slice(b"; ");
            parts
                .iter()
                .for_each(|part| out.extend_from_slice(part.as_bytes()));
        };
        if let Some(domain) = &self.domain {
            put(["Domain=", domain]);
        }
        put(["Path=", &self.path]);
        if self.secure {
            put(["Secure", ""]);
        }
        if self.http_only {
            put(["HttpOnly", ""]);
        }
        if let Some(same_site) = self.same_site {
            put(["SameSite=", same_site.as_str()]);
        }
        if self.partitioned {
            put(["Partitioned", ""]);
        }
        if let Some(priority) = self.priority {
            put(["Priority=", priority.as_str()]);
        }
    }
}

fn has_prefix(name: &str, prefix: &str) -> bool {
    name.as_bytes()
        .get(..prefix.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// Checks a path against RFC 6265bis section 4.1.1, `path-value`. User agents ignore a path without
/// a leading slash.
fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && path.len() <= MAX_ATTRIBUTE_LEN
        && path.bytes().all(|b| matches!(b, b' '..=b'~') && b != b';')
        // User agents trim white space around an attribute's value.
        && !path.ends_with(' ')
}

/// Checks a domain against RFC 1034 section 3.5 and RFC 1123 section 2.1.
fn is_domain(domain: &str) -> bool {
    domain.len() <= 253 && domain.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
}
