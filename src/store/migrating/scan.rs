//! Scans of sessions that may be in either store.
//!
//! The old store is scanned first. A session that migrates meanwhile is then found in the new store. A
//! cursor is the side of its store and the cursor in that store.

use std::time::Duration;

use super::{
    error::{MigratingError, MigratingResult},
    pair::StorePair,
};
use crate::{
    id::StoreKey,
    store::{InvalidCursor, ReadOutcome, ScanCursor, ScanPage, ScanStore, StoreError},
};

const OLD: u8 = 0;
const NEW: u8 = 1;

impl StorePair {
    /// Returns the scans of the old and of the new store, if both have one.
    pub(super) fn scans(&self) -> Result<(&dyn ScanStore, &dyn ScanStore), MigratingError> {
        match (self.old.scan(), self.new.scan()) {
            (Some(old), Some(new)) => Ok((old, new)),
            _ => Err(MigratingError::NoScan),
        }
    }

    pub(super) async fn scan_page(&self, from: Option<ScanCursor>) -> MigratingResult<ScanPage> {
        let (old, new) = self.scans()?;
        let (side, inner) = match from.as_ref().map(ScanCursor::as_bytes) {
            None => (OLD, None),
            Some([side @ (OLD | NEW)]) => (*side, None),
            Some([side @ (OLD | NEW), inner @ ..]) => {
                (*side, Some(ScanCursor::new(inner.to_vec())))
            }
            Some(_) => return Err(StoreError::new("migrating", "scan", InvalidCursor)),
        };
        let store = if side == OLD { old } else { new };
        let page = store.scan_page(inner.as_ref()).await?;
        let next = match page.next {
            Some(next) => Some(ScanCursor::new([&[side], next.as_bytes()].concat())),
            None => (side == OLD).then(|| ScanCursor::new(vec![NEW])),
        };
        Ok(ScanPage::new(page.keys, next))
    }

    pub(super) async fn time_to_live(&self, key: &StoreKey) -> MigratingResult<Option<Duration>> {
        // After a migration, the old store has a marker under the key.
        match self.new.read(key, None).await? {
            ReadOutcome::Found(_) => self.new.time_to_live(key).await,
            ReadOutcome::Absent | ReadOutcome::Gone => self.old.time_to_live(key).await,
        }
    }
}
