//! Pages of a scan over all sessions.
//!
//! A cursor is the position within one server, and the servers that are finished. So a scan visits each session
//! that does not move to another server, also if a replica is promoted or a master is added meanwhile. The sessions
//! of a promoted replica may be on two pages. The name of a single server is not part of the cursor, so the next page
//! may come from another URL of it.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use tokio::time::sleep;

use super::{
    RedisError, ServerRejection, TransientError,
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
        let masters = self.masters(deadline).await?;
        let mut masters: Vec<_> = masters.iter().map(|node| self.scan_master(node)).collect();
        masters.sort_by_key(|master| master.name);
        let current = masters.iter().find(|master| position.is_at(master));
        let master = match current.or_else(|| position.next_server(&masters)) {
            Some(master) => master,
            None => return Ok(ScanPage::default()),
        };
        position.enter(master);
        let reply = self.query_page(master.node, &position, deadline).await?;
        let keys = self.parse_page(reply, &mut position)?;
        let is_finished = position.cursor == 0;
        if is_finished {
            position.finish_server();
        }
        let has_more = !is_finished || position.next_server(&masters).is_some();
        Ok(ScanPage::new(keys, has_more.then(|| position.encode())))
    }

    fn scan_master<'m>(&self, node: &'m Arc<Node>) -> ScanMaster<'m> {
        let is_single = self.client.unserved().is_none();
        let name = if is_single { SINGLE } else { node.server() };
        ScanMaster { name, node }
    }

    /// Returns the reply of [`scripts::SCAN`] for a page.
    async fn query_page(
        &self,
        node: &Arc<Node>,
        position: &PagePosition,
        deadline: Instant,
    ) -> Result<Reply, RedisError> {
        let (pattern, count) = (self.names.pattern(), Bytes::from(COUNT.to_string()));
        let cursor = Bytes::from(position.cursor.to_string());
        let process = Bytes::from(position.process.clone());
        let args = [cursor.clone(), process, pattern.clone(), count.clone()];
        let command = || RedisCommand::keyless_script(scripts::SCAN, args.clone());
        match self.query_at(node, deadline, command).await {
            // A proxy may require the keys of a script. `SCAN` alone does not report its process.
            Err(RedisError::Rejected(ServerRejection::Other(code))) if code.starts_with("ERR") => {
                let is_same = position.process.is_empty();
                let cursor = if is_same { cursor } else { "0".into() };
                let command = || RedisCommand::scan(&cursor, &pattern, &count);
                let reply = self.query_at(node, deadline, command).await?;
                let Reply::Array(parts) = reply else {
                    return Err(RedisError::UnexpectedReply);
                };
                let unknown = Reply::Bytes(Bytes::new());
                Ok(Reply::Array(
                    [vec![unknown], parts].into_iter().flatten().collect(),
                ))
            }
            reply => reply,
        }
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

/// The name of the only server in a cursor. Processes may have different URLs for it.
const SINGLE: &str = "single";

/// A master, and its name in cursors.
struct ScanMaster<'m> {
    name: &'m str,
    node: &'m Arc<Node>,
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

    fn is_at(&self, master: &ScanMaster<'_>) -> bool {
        master.name == self.server
    }

    /// Returns the first of the `masters` that is not finished.
    fn next_server<'a, 'm>(&self, masters: &'a [ScanMaster<'m>]) -> Option<&'a ScanMaster<'m>> {
        let is_finished = |name: &str| self.finished.iter().any(|one| one == name);
        masters.iter().find(|master| !is_finished(master.name))
    }

    /// Moves to the start of a server, unless the position is there already.
    fn enter(&mut self, master: &ScanMaster<'_>) {
        if !self.is_at(master) {
            (self.cursor, self.process) = (0, String::new());
            self.server = master.name.to_owned();
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
