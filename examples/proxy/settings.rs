//! The settings of the proxy.

use std::{env, net::IpAddr, net::SocketAddr, path::PathBuf, time::Duration};

use http::{Uri, uri::Authority};

use crate::{BoxError, serve::variable};

/// The settings, from environment variables.
pub(crate) struct Settings {
    pub(crate) address: SocketAddr,
    pub(crate) upstream: Authority,
    pub(crate) users: Option<PathBuf>,
    pub(crate) public_paths: Vec<String>,
    pub(crate) trusted_proxies: Vec<IpAddr>,
    pub(crate) connect_timeout: Duration,
    pub(crate) upstream_timeout: Duration,
    pub(crate) tunnel_timeout: Duration,
    pub(crate) requests: u32,
    pub(crate) tunnels: u32,
    pub(crate) sessions: bool,
}

impl Settings {
    /// Reads the settings from the environment.
    ///
    /// # Errors
    /// If a variable is missing or invalid. The error names it.
    pub(crate) fn from_env() -> Result<Self, BoxError> {
        let address = text("ADDR", "127.0.0.1:3000");
        let address = address
            .parse()
            .map_err(|_| format!("ADDR={address}: not a socket address; use IP:PORT"))?;
        let sessions = match text("SESSIONS", "on").as_str() {
            "on" => true,
            "off" => false,
            other => return Err(format!("SESSIONS={other}: unknown; use `on` or `off`").into()),
        };
        let public_paths = text("PUBLIC_PATHS", "/public/");
        let trusted_proxies = list(&text("TRUSTED_PROXIES", ""))
            .map(|text| {
                let error = || format!("TRUSTED_PROXIES={text}: not an IP address");
                text.parse().map_err(|_| error())
            })
            .collect::<Result<_, _>>()?;
        let seconds = |name, default| variable(name, default).map(Duration::from_secs);
        Ok(Self {
            address,
            upstream: upstream(&text("UPSTREAM", ""))?,
            users: env::var_os("USERS").map(PathBuf::from),
            public_paths: list(&public_paths).map(str::to_owned).collect(),
            trusted_proxies,
            connect_timeout: seconds("CONNECT_TIMEOUT", 5)?,
            upstream_timeout: seconds("UPSTREAM_TIMEOUT", 30)?,
            tunnel_timeout: seconds("TUNNEL_TIMEOUT", 300)?,
            requests: variable("UPSTREAM_REQUESTS", 1000)?,
            tunnels: variable("TUNNELS", 1000)?,
            sessions,
        })
    }
}

fn text(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// Returns the authority of a URL like `http://127.0.0.1:8080`.
fn upstream(url: &str) -> Result<Authority, BoxError> {
    let error = || format!("UPSTREAM={url}: not a server; use http://HOST:PORT");
    let parts = url.parse::<Uri>().map_err(|_| error())?.into_parts();
    let is_server = parts.scheme == Some(http::uri::Scheme::HTTP)
        && parts.path_and_query.is_none_or(|path| path.as_str() == "/");
    parts
        .authority
        .filter(|_| is_server)
        .ok_or_else(|| error().into())
}
