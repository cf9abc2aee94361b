//! The configuration of `fred`, from a URL and the settings of the store.

use std::sync::Arc;

use fred::{
    clients::Client as Fred,
    error::{Error as FredError, ErrorKind},
    rustls,
    types::{
        RespVersion,
        config::{
            Config, ConnectionConfig, PerformanceConfig, ReconnectError, ReconnectPolicy,
            ServerConfig, TcpConfig, TlsConnector,
        },
    },
};

use crate::{
    id::SessionId,
    store::redis::{RedisError, settings::Settings},
};

/// The events that each event channel of a client holds.
///
/// `fred` has nine channels for each client and allocates all slots at once: about 860 bytes for each event of
/// this capacity. Receivers of connection events need only the latest.
pub(super) const EVENTS: usize = 32;

/// The events that each event channel of a client holds that reports changes.
///
/// Changes arrive in bursts, for example if another process destroys the sessions of a tag. A missed one drops
/// all copies that were read over the connection.
pub(super) const TRACKED_EVENTS: usize = 1024;

/// Makes a client that is not connected yet. `events` is the capacity of its event channels.
pub(super) fn new_fred(config: Config, settings: &Settings, events: usize) -> Fred {
    let performance = PerformanceConfig {
        broadcast_channel_capacity: events,
        ..PerformanceConfig::default()
    };
    let connection = ConnectionConfig {
        connection_timeout: settings.connect_timeout,
        internal_command_timeout: settings.connect_timeout,
        max_redirections: 0,
        reconnect_on_auth_error: false,
        reconnect_errors: vec![
            ReconnectError::ClusterDown,
            ReconnectError::Loading,
            ReconnectError::ReadOnly,
            ReconnectError::MasterDown,
        ],
        tcp: TcpConfig {
            nodelay: Some(true),
            ..TcpConfig::default()
        },
        ..ConnectionConfig::default()
    };
    let spread = SessionId::generate().map_or(0, |id| 4 * u32::from(id.as_bytes()[0]));
    let policy = ReconnectPolicy::Exponential {
        attempts: 0,
        // Unlimited.
        max_attempts: 0,
        min_delay: 20,
        max_delay: 1_500 + spread,
        base: 2,
        jitter: 100,
    };
    Fred::new(config, Some(performance), Some(connection), Some(policy))
}

/// The schemes of URLs.
pub(crate) const SCHEMES: [&str; 7] = [
    "redis",
    "rediss",
    "redis+unix",
    "redis-sentinel",
    "rediss-sentinel",
    "redis-cluster",
    "rediss-cluster",
];

/// Parses the URL of a server.
pub(super) fn parse_url(url: &str) -> Result<Config, RedisError> {
    let invalid = |problem: &str| RedisError::InvalidUrl(problem.to_owned());
    let (scheme, rest) = url
        .split_once("://")
        .ok_or_else(|| invalid("scheme is missing; use for example redis://host"))?;
    if !SCHEMES.contains(&scheme) {
        return Err(invalid(&format!(
            "unknown scheme; use one of {}",
            SCHEMES.join(", ")
        )));
    }
    check_encoding(scheme, rest)?;
    let tls = scheme.starts_with("rediss");
    // TLS is set up below. It must use the provider that is compiled in, not the process default.
    let plain = format!("{}://{rest}", scheme.replacen("rediss", "redis", 1));
    let config = Config::from_url(&plain).map_err(|error| invalid(url_problem(&error)));
    let mut config = config?;
    if let ServerConfig::Clustered { hosts, .. } | ServerConfig::Sentinel { hosts, .. } =
        &config.server
        && hosts.iter().any(|one| one.host.contains('@'))
    {
        return Err(invalid(NODE_PROBLEM));
    }
    config.fail_fast = false;
    config.version = RespVersion::RESP3;
    if let ServerConfig::Unix { .. } = config.server {
        config.database = unix_database(rest)?;
    }
    if tls {
        config.tls = Some(tls_connector()?.into());
    }
    Ok(config)
}

const NODE_PROBLEM: &str =
    "a `node` is not `host:port`; the user or password before the first host applies to all nodes";

/// Returns the problem of a URL. The text of `fred` may repeat a part of the URL, so also a password.
fn url_problem(error: &FredError) -> &'static str {
    match (error.kind(), error.details()) {
        (_, text) if text.contains("cluster node") => NODE_PROBLEM,
        (_, text) if text.contains("sentinel service name") => {
            "`sentinelServiceName` is missing; add the name that Sentinel monitors"
        }
        (ErrorKind::Url, "InvalidPort") => "port is not a number up to 65535",
        (_, text) if text.contains("port") => "port is missing",
        (ErrorKind::Url, _) => "host is missing or not valid",
        (_, text) if text.contains("host") => "host is missing",
        (_, text) if text.contains("UTF-8") => "user or password is not UTF-8",
        _ => "database or a port is not valid; the database is a number from 0 to 255",
    }
}

/// Rejects a URL whose user or password contains characters that end it early. The rest of the
/// password would be taken for a host.
fn check_encoding(scheme: &str, rest: &str) -> Result<(), RedisError> {
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, _) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    // The values of these parameters may contain `@`.
    const PARAMETERS: [&str; 4] = [
        "sentinelServiceName=",
        "sentinelUsername=",
        "sentinelPassword=",
        "node=",
    ];
    let is_parameter = |pair: &str| PARAMETERS.iter().any(|start| pair.starts_with(start));
    // So may the path of a socket.
    let ends_early = scheme != "redis+unix" && path.contains('@')
        || query
            .split('&')
            .any(|pair| pair.contains('@') && !is_parameter(pair));
    let has_bare_percent = user.split('%').skip(1).any(|digits| {
        let digits = digits.as_bytes().get(..2).unwrap_or_default();
        digits.len() < 2 || !digits.iter().all(u8::is_ascii_hexdigit)
    });
    if ends_early || has_bare_percent || user.contains('@') {
        let problem = "user or password contains a special character; percent-encode it, for example \
                       `@` as `%40`, `/` as `%2F`, `#` as `%23`, `?` as `%3F`, `%` as `%25`";
        return Err(RedisError::InvalidUrl(problem.into()));
    }
    Ok(())
}

/// Makes the configuration of one server of a cluster.
pub(super) fn node_config(cluster: &Config, host: &str, port: u16) -> Config {
    Config {
        server: ServerConfig::new_centralized(host, port),
        database: None,
        ..cluster.clone()
    }
}

/// Returns the hosts and ports of a cluster's URL, or `None` if it is not that of a cluster.
pub(super) fn cluster_seeds(config: &Config) -> Option<Vec<(String, u16)>> {
    let ServerConfig::Clustered { hosts, .. } = &config.server else {
        return None;
    };
    let seeds = hosts.iter().map(|one| (one.host.to_string(), one.port));
    Some(seeds.collect())
}

/// Parses the database number of a Unix socket's URL, whose path is the path of the socket.
fn unix_database(rest: &str) -> Result<Option<u8>, RedisError> {
    let Some((_, query)) = rest.split_once('?') else {
        return Ok(None);
    };
    let number = query.split('&').find_map(|pair| pair.strip_prefix("db="));
    number
        .map(str::parse)
        .transpose()
        .map_err(|_| RedisError::InvalidUrl("db must be a number from 0 to 255".into()))
}

/// Returns the first message of a TLS handshake.
pub(super) fn tls_hello() -> Option<Vec<u8>> {
    let config = tls_config(rustls::RootCertStore::empty()).ok()?;
    let name = rustls::pki_types::ServerName::try_from("localhost").ok()?;
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).ok()?;
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).ok()?;
    Some(hello)
}

/// Configures TLS with the roots that the system trusts, or those in `SSL_CERT_FILE`.
fn tls_connector() -> Result<TlsConnector, RedisError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(fred::rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let problem = "TLS needs trusted root certificates and the system has none; \
                       install them, or set SSL_CERT_FILE";
        return Err(RedisError::InvalidUrl(problem.into()));
    }
    Ok(tls_config(roots)?.into())
}

fn tls_config(roots: rustls::RootCertStore) -> Result<rustls::ClientConfig, RedisError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| RedisError::InvalidUrl(format!("TLS is not available: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
