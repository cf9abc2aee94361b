//! Flaws of scans and of the time to live.

use std::time::Duration;

use hyper_session::{
    id::StoreKey,
    store::{ScanCursor, ScanPage, ScanStore, Store, StoreFuture},
};

use super::{BrokenStore, Flaw};

const PAGE: usize = 50;

impl BrokenStore {
    /// Returns a page of the live sessions, counted from the first one.
    fn page_by_offset(keys: Vec<StoreKey>, from: Option<&ScanCursor>) -> ScanPage {
        let start = from.and_then(ScanCursor::number).unwrap_or(0) as usize;
        let mut keys = keys;
        keys.sort_unstable();
        let page: Vec<_> = keys.into_iter().skip(start).take(PAGE).collect();
        let next = (page.len() == PAGE).then(|| ScanCursor::from_number((start + PAGE) as u64));
        ScanPage::new(page, next)
    }

    pub(super) fn altered_time_to_live(&self, key: &StoreKey) -> StoreFuture<Option<Duration>> {
        let sound = self.sound.time_to_live(key);
        let written = self.time_until(key, |data| data.written_expires);
        let ignores_touches = self.flaw == Flaw::TimeToLiveIgnoresTouches;
        StoreFuture::new(async move {
            let ttl = sound.await?;
            Ok(ttl.map(|ttl| if ignores_touches { written } else { ttl }))
        })
    }
}

impl ScanStore for BrokenStore {
    fn scan_page(&self, from: Option<&ScanCursor>) -> StoreFuture<ScanPage> {
        let (this, from) = (self.clone(), from.cloned());
        StoreFuture::new(async move {
            let mut page = this.sound.scan_page(None).await?;
            match this.flaw {
                Flaw::ScanByOffset => return Ok(Self::page_by_offset(page.keys, from.as_ref())),
                Flaw::ScanLeavesOut => page.keys.retain(|key| key.as_bytes()[0] > 20),
                _ => {}
            }
            Ok(page)
        })
    }
}
