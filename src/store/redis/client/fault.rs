//! The reasons why a server cannot be connected to.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use fred::{
    error::{Error as FredError, ErrorKind},
    types::config::{Config, ServerConfig},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{
    config,
    reply::{auth_error_code, error_code, transient_error},
};
use crate::store::redis::ConnectProblem;

/// The time in which a server must answer the question for its protocol.
const PROTOCOL_TIMEOUT: Duration = Duration::from_millis(500);

/// The address of a server, and how the store connects to it.
pub(super) struct Target {
    /// The address in errors and reports.
    name: Arc<str>,
    /// Host and port, if the connection goes directly to them.
    address: Option<(String, u16)>,
    uses_tls: bool,
    /// The passwords for the servers and for the sentinels, the longest first.
    secrets: Vec<String>,
}

impl Target {
    pub(super) fn new(config: &Config) -> Self {
        let (name, address) = match &config.server {
            ServerConfig::Centralized { server } => {
                let address = (server.host.to_string(), server.port);
                (host_and_port(&address.0, address.1), Some(address))
            }
            ServerConfig::Unix { path } => (path.display().to_string(), None),
            ServerConfig::Sentinel {
                hosts,
                service_name,
                ..
            } => {
                let hosts = hosts.iter().map(|one| host_and_port(&one.host, one.port));
                let hosts: Vec<_> = hosts.collect();
                (format!("{service_name} of {}", hosts.join(", ")), None)
            }
            ServerConfig::Clustered { hosts, .. } => {
                let hosts = hosts.iter().map(|one| host_and_port(&one.host, one.port));
                (hosts.collect::<Vec<_>>().join(", "), None)
            }
        };
        Self {
            name: name.into(),
            address,
            uses_tls: config.tls.is_some(),
            secrets: secrets(config),
        }
    }

    pub(super) const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns the problem behind an error of a connection. May ask the server for its protocol.
    pub(super) async fn diagnose(&self, error: &FredError) -> ConnectProblem {
        let text = error.details();
        let is_server_text = matches!(
            error.kind(),
            ErrorKind::Auth | ErrorKind::Unknown | ErrorKind::Cluster | ErrorKind::Config
        );
        if is_server_text && !error_code(text).is_empty() && text.starts_with(error_code(text)) {
            let text = self.clean(text);
            return match auth_error_code(error_code(&text)) {
                true => ConnectProblem::Denied(text),
                false => ConnectProblem::Rejected(text),
            };
        }
        if let Some(problem) = socket_problem(text) {
            return problem;
        }
        let found = timeout(PROTOCOL_TIMEOUT, self.find_protocol()).await;
        match found {
            Ok(Some(problem)) => problem,
            _ if matches!(error.kind(), ErrorKind::Timeout) => ConnectProblem::Silent,
            _ if text.contains("invalid peer certificate")
                || text.contains("InvalidCertificate") =>
            {
                ConnectProblem::Tls(self.clean(text))
            }
            _ => ConnectProblem::Socket(self.clean(text)),
        }
    }

    /// Finds out which protocol the server speaks.
    async fn find_protocol(&self) -> Option<ConnectProblem> {
        let start = match self.exchange(b"*1\r\n$4\r\nPING\r\n").await {
            Ok(start) => start,
            Err(problem) => return Some(problem),
        };
        match (&*start, self.uses_tls) {
            ([b'+' | b'-', ..], true) => Some(ConnectProblem::NoTls),
            (b"HTTP/", _) => Some(ConnectProblem::NotRedis("HTTP")),
            (b"SSH-2" | b"SSH-1", _) => Some(ConnectProblem::NotRedis("SSH")),
            (b"", false) => {
                let hello = config::tls_hello()?;
                // A handshake message or an alert of TLS.
                let is_tls = |start: &[u8]| matches!(start, [0x15 | 0x16, 0x03, ..]);
                let answer = self.exchange(&hello).await.ok()?;
                is_tls(&answer).then_some(ConnectProblem::NeedsTls)
            }
            _ => None,
        }
    }

    /// Sends bytes on a new connection without TLS, and returns the first bytes of the answer. They are
    /// empty if the server closes the connection.
    async fn exchange(&self, bytes: &[u8]) -> Result<Vec<u8>, ConnectProblem> {
        let Some((host, port)) = &self.address else {
            return Ok(vec![b'?']);
        };
        let socket = |error: std::io::Error| ConnectProblem::Socket(error.to_string().into());
        let stream = TcpStream::connect((&**host, *port)).await;
        let mut stream = stream.map_err(socket)?;
        stream.write_all(bytes).await.map_err(socket)?;
        let mut start = Vec::with_capacity(5);
        // An error means that the server has closed the connection.
        let _closed = stream.take(5).read_to_end(&mut start).await;
        Ok(start)
    }

    /// Removes from a text what may repeat a password.
    fn clean(&self, text: &str) -> Box<str> {
        // Servers that do not know `HELLO` repeat its arguments.
        let text = text
            .split_once(", with args")
            .map_or(text, |(start, _)| start);
        let mut text = os_message(text).trim().to_owned();
        for secret in &self.secrets {
            text = text.replace(secret, "…");
        }
        text.into()
    }
}

/// Returns the passwords in a configuration, the longest first. Else a short one could leave the end of a longer
/// one.
fn secrets(config: &Config) -> Vec<String> {
    let of_sentinels = match &config.server {
        ServerConfig::Sentinel { password, .. } => password.clone(),
        _ => None,
    };
    let secrets = [config.password.clone(), of_sentinels];
    let mut secrets: Vec<_> = secrets.into_iter().flatten().collect();
    secrets.retain(|secret| !secret.is_empty());
    secrets.sort_by_key(|secret| Reverse(secret.len()));
    secrets
}

fn host_and_port(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// Returns the problem if the socket could not be opened.
fn socket_problem(text: &str) -> Option<ConnectProblem> {
    if text.contains("failed to lookup address") || text.contains("Failed to resolve") {
        // The resolver itself does not answer, so the host may exist.
        let is_temporary = text.contains("emporary failure") || text.contains("ry again");
        return Some(match is_temporary {
            true => ConnectProblem::Socket(os_message(text).into()),
            false => ConnectProblem::UnknownHost,
        });
    }
    let is_unopened = [
        "ConnectionRefused",
        "Unreachable",
        "NotFound",
        "PermissionDenied",
    ]
    .iter()
    .any(|kind| text.contains(kind));
    is_unopened.then(|| ConnectProblem::Socket(os_message(text).into()))
}

/// Returns the message in the `Debug` text of an I/O error, which is what `fred` keeps of it.
fn os_message(text: &str) -> &str {
    let message = |start: &str| text.split_once(start).map(|(_, rest)| rest);
    match (message("message: \""), message("error: ")) {
        (Some(rest), _) => rest.split('"').next().unwrap_or(rest),
        (None, Some(rest)) => rest.trim_end_matches([' ', '}']).trim_matches('"'),
        (None, None) => text,
    }
}

/// Returns `true` if another attempt would fail the same way.
pub(super) fn is_permanent(problem: &ConnectProblem) -> bool {
    match problem {
        ConnectProblem::Socket(_) | ConnectProblem::Silent => false,
        ConnectProblem::Rejected(text) => {
            transient_error(error_code(text)).is_none() && !text.contains("max number of clients")
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests;
