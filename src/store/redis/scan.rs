//! Pages of a scan over all sessions.
//!
//! A cursor is the position of a server among the masters, and the cursor of its `SCAN`. The masters are
//! sorted by their addresses, so that other processes have the same order.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use tokio::time::sleep;

use super::{
    RedisError, TransientError,
    client::{Node, RedisCommand, Reply},
    command_runner::CommandRunner,
};
use crate::store::{ScanCursor, ScanPage};

/// The number of keys that a server inspects for one page.
const COUNT: u32 = 1000;

impl CommandRunner {
    pub(super) async fn scan_page(&self, from: Option<ScanCursor>) -> Result<ScanPage, RedisError> {
        self.client.start()?;
        let (server, cursor) = match &from {
            None => (0, Bytes::from_static(b"0")),
            Some(from) => decode_cursor(from).ok_or(RedisError::InvalidCursor)?,
        };
        let deadline = self.deadline();
        let mut masters = self.masters(deadline).await?;
        masters.sort_by(|one, other| one.server().cmp(other.server()));
        let Some(node) = masters.get(server) else {
            return Ok(ScanPage::default());
        };
        let command = || RedisCommand::scan(cursor.clone(), self.names.pattern(), COUNT);
        let reply = self.query_at(node, deadline, command).await?;
        self.page(reply, server, masters.len())
    }

    /// Returns the masters. If they are known, returns them after at most half of the time until `deadline`.
    ///
    /// # Errors
    /// If no server reports them until `deadline`.
    async fn masters(&self, deadline: Instant) -> Result<Vec<Arc<Node>>, RedisError> {
        if !self.client.knows_masters() {
            // This waits for a connection.
            let command = || RedisCommand::keyless_at(self.names.test(0), "CLUSTER", &["SLOTS"]);
            self.query_until(deadline, command).await?;
        }
        for attempt in 0_u32.. {
            let now = Instant::now();
            // The other half of the time remains for the scan.
            let half = now + deadline.saturating_duration_since(now) / 2;
            let masters = self.client.masters(half).await;
            if self.client.knows_masters() {
                return Ok(masters);
            }
            // A new cluster has no slots yet.
            let pause = self.backoff(attempt);
            if deadline.saturating_duration_since(Instant::now()) <= pause {
                break;
            }
            sleep(pause).await;
        }
        let server = match self.client.node(&self.names.test(0)) {
            Ok(node) => Arc::clone(node.server()),
            Err(outage) => Arc::clone(outage.server()),
        };
        Err(RedisError::TimedOut {
            server,
            after: self.settings.operation_timeout,
            last: TransientError::ClusterDown,
            problem: None,
        })
    }

    fn page(&self, reply: Reply, server: usize, servers: usize) -> Result<ScanPage, RedisError> {
        let Reply::Array(parts) = reply else {
            return Err(RedisError::UnexpectedReply);
        };
        let Ok([Reply::Bytes(cursor), Reply::Array(names)]) = <[Reply; 2]>::try_from(parts) else {
            return Err(RedisError::UnexpectedReply);
        };
        let keys = names.iter().filter_map(|name| match name {
            Reply::Bytes(name) => self.names.parse_session(name),
            _ => None,
        });
        let next = match &*cursor {
            b"0" if server + 1 < servers => Some(encode_cursor(server + 1, b"0")),
            b"0" => None,
            cursor => Some(encode_cursor(server, cursor)),
        };
        Ok(ScanPage::new(keys.collect(), next))
    }
}

fn encode_cursor(server: usize, cursor: &[u8]) -> ScanCursor {
    ScanCursor::new([server.to_string().as_bytes(), b":", cursor].concat())
}

fn decode_cursor(cursor: &ScanCursor) -> Option<(usize, Bytes)> {
    let text = std::str::from_utf8(cursor.as_bytes()).ok()?;
    let (server, cursor) = text.split_once(':')?;
    let cursor: u64 = cursor.parse().ok()?;
    Some((server.parse().ok()?, cursor.to_string().into()))
}
