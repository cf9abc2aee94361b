//! Web origins: of a URL, of a request, and of this service.

use http::{HeaderValue, Uri, uri::Authority};

/// A web origin: scheme, host and port (RFC 6454, 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// Returns the origin of an absolute URL; `None` for a URL with a user name, such as
    /// `https://own@other/`.
    pub(crate) fn from_url(url: &Uri) -> Option<Self> {
        let secure = match url.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let (host, port) = host_and_port(url.authority()?)?;
        Some(Self {
            secure,
            host,
            port: port.unwrap_or(if secure { 443 } else { 80 }),
        })
    }

    /// Returns `true` if a request with this URL and `Host` was sent to this origin. A proxy may have
    /// terminated TLS, so the scheme of the request is unknown and either scheme matches.
    fn matches_request(&self, uri: &Uri, host: Option<&HeaderValue>) -> bool {
        let authority = match uri.authority() {
            Some(authority) => Some(authority.clone()),
            None => host.and_then(|host| Authority::try_from(host.as_bytes()).ok()),
        };
        let Some((host, port)) = authority.as_ref().and_then(host_and_port) else {
            return false;
        };
        let default = if self.secure { 443 } else { 80 };
        host == self.host && port.unwrap_or(default) == self.port
    }
}

/// Returns the host in lower case and the port; `None` if there is a user name or an invalid port.
fn host_and_port(authority: &Authority) -> Option<(String, Option<u16>)> {
    let port = authority.port_u16();
    let host = authority.host();
    let has_no_port = authority.as_str() == host;
    let is_valid = !authority.as_str().contains('@') && (has_no_port || port.is_some());
    (is_valid && !host.is_empty()).then(|| (host.to_ascii_lowercase(), port))
}

/// The origins of this service: those that are configured, or else the origin of the request.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnOrigins(pub(crate) Vec<Origin>);

impl OwnOrigins {
    /// Returns `true` if the absolute `url` has one of these origins. `uri` and `host` are the URL and
    /// the `Host` header of the current request.
    pub(crate) fn contains(&self, url: &Uri, uri: &Uri, host: Option<&HeaderValue>) -> bool {
        let Some(origin) = Origin::from_url(url) else {
            return false;
        };
        if self.0.is_empty() {
            return origin.matches_request(uri, host);
        }
        self.0.contains(&origin)
    }
}
