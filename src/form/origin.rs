//! Which origin a request was sent to, and whether a URL is on it.

use std::str::FromStr;

use http::{HeaderValue, Uri, uri::Authority};

/// A scheme, a host and a port: what a browser calls an origin (RFC 6454, 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

/// The text is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an origin is a scheme and a host, such as `https://www.example.com`")]
pub struct InvalidOrigin;

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let uri: Uri = text.parse().map_err(|_| InvalidOrigin)?;
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        Self::of(&uri).filter(|_| bare).ok_or(InvalidOrigin)
    }
}

impl Origin {
    /// The origin of an absolute URL. One that names a user is none: `https://own@other/`.
    pub(super) fn of(url: &Uri) -> Option<Self> {
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

    /// Whether a request was sent to this origin. Which scheme the browser used is not known, since
    /// TLS may have ended before us, so either will do here.
    fn is_of(&self, uri: &Uri, host: Option<&HeaderValue>) -> bool {
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

/// The host, without case, and the port; none where a user is named or the port is no port.
fn host_and_port(authority: &Authority) -> Option<(String, Option<u16>)> {
    let port = authority.port_u16();
    let host = authority.host();
    let bare = authority.as_str() == host;
    let whole = !authority.as_str().contains('@') && (bare || port.is_some());
    (whole && !host.is_empty()).then(|| (host.to_ascii_lowercase(), port))
}

/// The origins that are ours: those that are known, or else the one that a request was sent to.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins(pub(super) Vec<Origin>);

impl Origins {
    /// Whether `url`, an absolute one, is on one of these, where a request has this URL and `Host`.
    pub(super) fn own(&self, url: &Uri, uri: &Uri, host: Option<&HeaderValue>) -> bool {
        let Some(origin) = Origin::of(url) else {
            return false;
        };
        if self.0.is_empty() {
            return origin.is_of(uri, host);
        }
        self.0.contains(&origin)
    }
}
