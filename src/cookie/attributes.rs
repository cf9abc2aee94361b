//! Where a cookie goes and who may see it.

use serde::{Deserialize, Serialize};

use super::{CookieError, CookieName};

/// The longest value of one attribute, in bytes. User agents ignore longer ones (RFC 6265bis
/// section 5.6).
pub const MAX_ATTRIBUTE_LEN: usize = 1024;

/// The attributes of a cookie, but for its lifetime.
///
/// The default is `Path=/; Secure; HttpOnly; SameSite=Lax`, for the host that sets it alone.
/// They are checked, against the cookie's name too, by [`SetCookie::new`](super::SetCookie::new).
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
pub struct Attributes {
    /// The paths that the cookie is sent to: this one and all below it. It starts with `/`.
    pub path: String,
    /// The domain that the cookie is sent to, with all its subdomains; `None` for exactly the host
    /// that set it, which is safer. No leading dot.
    pub domain: Option<String>,
    /// Sent over secure connections only.
    pub secure: bool,
    /// Out of reach of scripts.
    pub http_only: bool,
    /// Whether requests from other sites carry it; `None` leaves that to the user agent, most of
    /// which then act as for [`Lax`](SameSite::Lax).
    pub same_site: Option<SameSite>,
    /// Kept apart for each top-level site that the host is embedded in (CHIPS). Needs `secure`.
    pub partitioned: bool,
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
        }
    }
}

/// Which requests from other sites carry a cookie (RFC 6265bis section 4.1.2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SameSite {
    /// None of them.
    Strict,
    /// Those that take the visitor to this site by a safe method, such as following a link.
    Lax,
    /// All of them; the cookie must be [`secure`](Attributes::secure).
    None,
}

impl SameSite {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
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

    /// Whether user agents would take a cookie called `name` with these attributes.
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

    /// The rules that a name's prefix brings with it, ignoring its case as user agents do
    /// (RFC 6265bis section 5.4, layered cookies "Cookie Name Prefixes").
    fn check_prefix(&self, name: &CookieName) -> Result<(), CookieError> {
        // The longest first, as one begins with another. What follows is whether the prefix ties
        // the cookie to the host, and whether to HTTP.
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

    /// Appends the attributes as they stand in a Set-Cookie value, each led by `"; "`: Domain,
    /// Path, Secure, HttpOnly, SameSite, Partitioned.
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
    }
}

fn has_prefix(name: &str, prefix: &str) -> bool {
    name.as_bytes()
        .get(..prefix.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(prefix.as_bytes()))
}

/// RFC 6265bis section 4.1.1, `path-value`; without the leading slash user agents would ignore it.
fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && path.len() <= MAX_ATTRIBUTE_LEN
        && path.bytes().all(|b| matches!(b, b' '..=b'~') && b != b';')
        // It would be cut off as white space around the attribute's value.
        && !path.ends_with(' ')
}

/// RFC 1034 section 3.5 and RFC 1123 section 2.1.
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
