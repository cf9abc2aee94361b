//! Pages of a scan over all sessions.
//!
//! A cursor is the position within one server, and the servers that are finished. So a scan visits each session
//! that does not move to another server, also if a replica is promoted or a master is added meanwhile. The sessions
//! of a promoted replica may be on two pages.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use tokio::time::sleep;

use super::{
    RedisError, TransientError,
    client::{Node, RedisCommand, Reply},
    command_runner::CommandRunner,
    scripts,
};
use crate::{
    id::StoreKey,
    store::{ScanCursor, ScanPage},
};

/// The number of keys that a server inspects for one page.
const COUNT: u32 = 1000;

impl CommandRunner {
    pub(super) async fn scan_page(&self, from: Option<ScanCursor>) -> Result<ScanPage, RedisError> {
        self.client.start()?;
        let mut position = match &from {
            None => PagePosition::default(),
            Some(from) => PagePosition::decode(from).ok_or(RedisError::InvalidCursor)?,
        };
        let deadline = self.deadline();
        let mut masters = self.masters(deadline).await?;
        masters.sort_by(|one, other| one.server().cmp(other.server()));
        let current = masters.iter().find(|node| position.is_at(node));
        let node = match current.or_else(|| position.next_server(&masters)) {
            Some(node) => node,
            None => return Ok(ScanPage::default()),
        };
        position.enter(node);
        let args = || {
            let count = Bytes::from(COUNT.to_string());
            let process = Bytes::from(position.process.clone());
            let cursor = Bytes::from(position.cursor.to_string());
            [cursor, process, self.names.pattern(), count]
        };
        let command = || RedisCommand::keyless_script(scripts::SCAN, args());
        let reply = self.query_at(node, deadline, command).await?;
        let keys = self.parse_page(reply, &mut position)?;
        let is_finished = position.cursor == 0;
        if is_finished {
            position.finish_server();
        }
        let has_more = !is_finished || position.next_server(&masters).is_some();
        Ok(ScanPage::new(keys, has_more.then(|| position.encode())))
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

    /// Returns the keys of a page, and sets the position to the next one.
    fn parse_page(
        &self,
        reply: Reply,
        position: &mut PagePosition,
    ) -> Result<Vec<StoreKey>, RedisError> {
        let Reply::Array(parts) = reply else {
            return Err(RedisError::UnexpectedReply);
        };
        let Ok(
            [
                Reply::Bytes(process),
                Reply::Bytes(cursor),
                Reply::Array(names),
            ],
        ) = <[Reply; 3]>::try_from(parts)
        else {
            return Err(RedisError::UnexpectedReply);
        };
        let parse = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        let cursor = parse(&cursor).and_then(|cursor| cursor.parse().ok());
        position.cursor = cursor.ok_or(RedisError::UnexpectedReply)?;
        position.process = parse(&process).ok_or(RedisError::UnexpectedReply)?;
        let keys = names.iter().filter_map(|name| match name {
            Reply::Bytes(name) => self.names.parse_session(name),
            _ => None,
        });
        Ok(keys.collect())
    }
}

/// The position of a page.
#[derive(Default)]
struct PagePosition {
    /// The cursor of `SCAN`.
    cursor: u64,
    /// The id of the server's process to which the cursor belongs; empty if it is not known.
    process: String,
    /// The server; empty if the page is the first one of any server.
    server: String,
    /// The servers of which the scan has visited all keys.
    finished: Vec<String>,
}

impl PagePosition {
    /// The character between the parts of an encoded position. No host or path contains it.
    const SEPARATOR: char = '\0';

    fn is_at(&self, node: &Node) -> bool {
        **node.server() == *self.server
    }

    /// Returns the first of the `masters` that is not finished.
    fn next_server<'m>(&self, masters: &'m [Arc<Node>]) -> Option<&'m Arc<Node>> {
        let is_finished = |node: &Node| self.finished.iter().any(|one| **node.server() == **one);
        masters.iter().find(|node| !is_finished(node))
    }

    /// Moves to the start of a server, unless the position is there already.
    fn enter(&mut self, node: &Node) {
        if !self.is_at(node) {
            (self.cursor, self.process) = (0, String::new());
            self.server = node.server().to_string();
        }
    }

    fn finish_server(&mut self) {
        self.finished.push(std::mem::take(&mut self.server));
        self.process.clear();
    }

    fn encode(&self) -> ScanCursor {
        let cursor = self.cursor.to_string();
        let parts = [&*cursor, &self.process, &self.server].into_iter();
        let parts = parts.chain(self.finished.iter().map(String::as_str));
        let parts: Vec<&str> = parts.collect();
        ScanCursor::new(parts.join(&String::from(Self::SEPARATOR)))
    }

    fn decode(cursor: &ScanCursor) -> Option<Self> {
        let text = std::str::from_utf8(cursor.as_bytes()).ok()?;
        let mut parts = text.split(Self::SEPARATOR).map(str::to_owned);
        Some(Self {
            cursor: parts.next()?.parse().ok()?,
            process: parts.next()?,
            server: parts.next()?,
            finished: parts.collect(),
        })
    }
}
