//! What was ended before its time, kept at the server.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, Bytes};

use super::{NAME, contents::Contents};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::{Expected, ReadOutcome, Store, StoreError, Tag, WriteOutcome},
};

/// How often a not-before is tried against others of the same tag.
const MAX_ATTEMPTS: usize = 64;

/// How far the clocks of two machines may be apart.
const SLACK: Duration = Duration::from_secs(60);

/// The revocation list.
///
/// An entry lives for as long as any cookie that was sealed before it could. Whatever is sealed after
/// it has asked the list first.
#[derive(Clone)]
pub(super) struct Revoked {
    store: Arc<dyn Store>,
    longest: Duration,
}

/// What the list says of a session.
pub(super) enum Standing {
    /// It was ended.
    Over,
    Stands,
    /// It stands, since it was the one that was not to be ended with the others.
    Spared,
}

/// What is known of a tag.
#[derive(Clone, Copy, PartialEq, Eq)]
struct NotBefore {
    /// What was tagged at this moment or sooner is over.
    at: Timestamp,
    /// Save the session under this key, if it was tagged after `floor`.
    but: Option<StoreKey>,
    floor: Timestamp,
}

impl Revoked {
    pub(super) fn new(store: Arc<dyn Store>, longest: Duration) -> Self {
        Self { store, longest }
    }

    pub(super) async fn ready(&self) -> Result<(), StoreError> {
        self.store.ready().await
    }

    /// When contents are over, whatever they say themselves: an entry need not outlive this.
    pub(super) fn expiry(&self, contents: &Contents) -> Timestamp {
        contents
            .expires
            .min(contents.sealed.saturating_add(self.longest))
    }

    /// Ends the session under `key`.
    pub(super) async fn end(&self, key: &StoreKey) -> Result<(), StoreError> {
        let entry = StoreKey::derive("revoked", key.as_bytes());
        let written = self.write(&entry, Bytes::new(), Expected::Any).await?;
        match written {
            WriteOutcome::Done(_) => Ok(()),
            WriteOutcome::Conflict(_) | WriteOutcome::Gone => Err(refused("destroy")),
        }
    }

    /// Ends what carries `tag` by now, but the session under `but`.
    pub(super) async fn end_tagged(
        &self,
        tag: &Tag,
        but: Option<StoreKey>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let entry = of_tag(tag.as_str().as_bytes());
        let mine = NotBefore {
            at: now,
            but,
            floor: Timestamp::default(),
        };
        let (mut all, mut expected) = (mine, Expected::Absent);
        for _ in 0..MAX_ATTEMPTS {
            match self.write(&entry, all.encode(), expected).await? {
                WriteOutcome::Done(_) => return Ok(()),
                // It has expired meanwhile.
                WriteOutcome::Gone => (all, expected) = (mine, Expected::Absent),
                WriteOutcome::Conflict(record) => {
                    let other = NotBefore::decode(&record.data);
                    all = mine.and(other.ok_or_else(|| refused("destroy_tagged"))?);
                    expected = Expected::Version(record.version);
                }
            }
        }
        Err(refused("destroy_tagged"))
    }

    /// Whether the session still stands. Tags of one that was spared count from then on.
    pub(super) async fn standing(&self, contents: &mut Contents) -> Result<Standing, StoreError> {
        if !self.key_stands(&contents.key).await? {
            return Ok(Standing::Over);
        }
        let mut standing = Standing::Stands;
        for marked in &mut contents.marks {
            let ReadOutcome::Found(record) = self.store.read(&of_tag(&marked.name), None).await?
            else {
                continue;
            };
            let entry = NotBefore::decode(&record.data).ok_or_else(|| refused("read"))?;
            if marked.since > entry.at {
                continue;
            }
            if entry.but != Some(contents.key) || marked.since <= entry.floor {
                return Ok(Standing::Over);
            }
            marked.since = entry.at.saturating_add(Duration::from_millis(1));
            standing = Standing::Spared;
        }
        Ok(standing)
    }

    pub(super) async fn key_stands(&self, key: &StoreKey) -> Result<bool, StoreError> {
        let entry = StoreKey::derive("revoked", key.as_bytes());
        let found = self.store.read(&entry, None).await?;
        Ok(matches!(found, ReadOutcome::Absent))
    }

    async fn write(
        &self,
        entry: &StoreKey,
        data: Bytes,
        expected: Expected,
    ) -> Result<WriteOutcome, StoreError> {
        let life = self.longest.saturating_add(SLACK);
        self.store.write(entry, data, life, expected).await
    }
}

impl NotBefore {
    /// What two calls come to, whichever was stored first: the later one counts, and whom it spares
    /// must have been spared by the earlier one too, or have been tagged since.
    fn and(self, other: Self) -> Self {
        let (earlier, later) = match self.at < other.at {
            true => (self, other),
            false => (other, self),
        };
        let before = match earlier.but == later.but {
            true => earlier.floor,
            false => earlier.at,
        };
        Self {
            floor: later.floor.max(before),
            ..later
        }
    }

    fn encode(&self) -> Bytes {
        let mut entry = Vec::with_capacity(16 + StoreKey::LEN);
        entry.extend_from_slice(&self.at.as_millis().to_le_bytes());
        entry.extend_from_slice(&self.floor.as_millis().to_le_bytes());
        entry.extend(self.but.iter().flat_map(StoreKey::as_bytes));
        entry.into()
    }

    fn decode(mut entry: &[u8]) -> Option<Self> {
        let at = Timestamp::from_millis(entry.try_get_u64_le().ok()?);
        let floor = Timestamp::from_millis(entry.try_get_u64_le().ok()?);
        let but = match entry {
            [] => None,
            key => Some(StoreKey::from_bytes(key.try_into().ok()?)),
        };
        Some(Self { at, but, floor })
    }
}

fn of_tag(name: &[u8]) -> StoreKey {
    StoreKey::derive("not before", name)
}

/// The list's store holds something that no list of ours wrote.
fn refused(action: &'static str) -> StoreError {
    let why = "the revocation list did not take the entry, or holds one that is not its own";
    StoreError::new(NAME, action, why)
}
