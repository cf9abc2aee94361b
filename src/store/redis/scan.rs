//! Pages of a scan over all sessions.
//!
//! A cursor is the position of a server among the masters, and the cursor of its `SCAN`. The masters are
//! sorted by their addresses, so that other processes have the same order.

use std::time::Instant;

use bytes::Bytes;
use tokio::time::sleep;

use super::{
    RedisError, TransientError,
    client::{AttemptError, RedisCommand, Reply},
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
        let mut masters = self.client.masters().await;
        masters.sort_by(|one, other| one.server().cmp(other.server()));
        let Some(node) = masters.get(server) else {
            return Ok(ScanPage::default());
        };
        let (deadline, mut failed) = (self.deadline(), None);
        for attempt in 0_u32.. {
            let connection = node.next_connection(failed);
            let command = RedisCommand::scan(cursor.clone(), self.names.pattern(), COUNT);
            let last = match node.attempt(connection, command, deadline, 0).await {
                Ok(answer) => return self.page(answer.reply, server, masters.len()),
                Err(AttemptError::Final(error)) => return Err(error),
                Err(AttemptError::Moved(_)) => TransientError::Redirected,
                Err(AttemptError::Transient { error, .. }) => error,
            };
            failed = Some(connection);
            let pause = self.backoff(attempt);
            if deadline.saturating_duration_since(Instant::now()) <= pause {
                return Err(RedisError::TimedOut {
                    server: node.server().clone(),
                    after: self.settings.operation_timeout,
                    last,
                    problem: node.problem(),
                });
            }
            sleep(pause).await;
        }
        Err(RedisError::UnexpectedReply)
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
