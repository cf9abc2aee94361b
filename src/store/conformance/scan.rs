//! Checks of the scan extension and of the time to live.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Harness,
    probe::{CheckResult, LONG_TTL, Probe},
};
use crate::{
    id::StoreKey,
    store::{Expected, Expiry, ScanCursor, ScanPage, Store, WriteRequest},
};

/// Number of sessions, more than one page of most stores.
const SESSIONS: usize = 150;

/// Maximum number of pages until a scan counts as endless.
const MAX_PAGES: usize = 1_000_000;

impl<S: Store> Probe<S> {
    async fn scan_page(&self, from: Option<&ScanCursor>) -> CheckResult<ScanPage> {
        match self.store.scan() {
            Some(scan) => self.require_ok("scan_page", scan.scan_page(from).await),
            None => Ok(ScanPage::default()),
        }
    }

    /// Scans the store. Calls `on_page` with the keys of each page. Returns all keys.
    async fn scan(
        &self,
        mut on_page: impl AsyncFnMut(&[StoreKey]) -> CheckResult,
    ) -> CheckResult<BTreeSet<StoreKey>> {
        let (mut found, mut from) = (BTreeSet::new(), None);
        for _ in 0..MAX_PAGES {
            let page = self.scan_page(from.as_ref()).await?;
            on_page(&page.keys).await?;
            found.extend(page.keys);
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(found),
            }
        }
        let observed = format!("there were more than {MAX_PAGES} pages");
        Err(self.violation("a scan ends", observed))
    }

    /// Writes that many sessions, every second one with a tag.
    async fn new_records(&self, count: usize) -> CheckResult<Vec<StoreKey>> {
        let tags = [self.tags([])?, self.tags([&self.new_tag()?])?];
        let mut keys = Vec::new();
        for tags in tags.iter().cycle().take(count) {
            keys.push(self.new_tagged_record(LONG_TTL, tags).await?.0);
        }
        Ok(keys)
    }

    fn expect_visited(
        &self,
        promise: &str,
        found: &BTreeSet<StoreKey>,
        keys: &[StoreKey],
    ) -> CheckResult {
        let missing = keys.iter().filter(|key| !found.contains(key)).count();
        let observed = format!("{missing} of {} sessions were not visited", keys.len());
        self.ensure(promise, missing == 0, observed)
    }

    async fn time_to_live(&self, key: &StoreKey) -> CheckResult<Option<Duration>> {
        self.require_ok("time_to_live", self.store.time_to_live(key).await)
    }
}

/// Checks that a scan visits all sessions that are live, and no key that was never written.
pub(super) async fn visits_every_session<S: Store>(p: &Probe<S>) -> CheckResult {
    let keys = p.new_records(SESSIONS).await?;
    let unused = p.new_key()?;
    let found = p.scan(async |_| Ok(())).await?;
    p.expect_visited("a scan visits every live session", &found, &keys)?;
    let observed = "a key without a record was visited";
    p.ensure(
        "a scan visits only keys that were written",
        !found.contains(&unused),
        observed,
    )
}

/// Checks that a scan visits the sessions that live on while others are destroyed.
pub(super) async fn misses_no_session<S: Store>(p: &Probe<S>) -> CheckResult {
    let mut ended: BTreeSet<_> = p.new_records(SESSIONS).await?.into_iter().collect();
    let kept = p.new_records(SESSIONS).await?;
    let destroy_page = async |page: &[StoreKey]| {
        for key in page {
            if ended.remove(key) {
                p.destroy(key).await?;
            }
        }
        Ok(())
    };
    let found = p.scan(destroy_page).await?;
    let promise = "a session that is live during the whole scan is visited, whatever else ends";
    p.expect_visited(promise, &found, &kept)
}

/// Checks the time to live, if the store knows it.
pub(super) async fn time_to_live_is_that_of_the_record<S: Store>(
    p: &Probe<S>,
    harness: &impl Harness<Store = S>,
) -> CheckResult {
    let short = harness.short_ttl();
    let (key, _) = p.new_record(LONG_TTL).await?;
    if p.time_to_live(&key).await?.is_none() {
        return Ok(());
    }
    let expect = async |promise: &str, max: Duration| {
        let ttl = p.time_to_live(&key).await?;
        // Servers round to milliseconds.
        let is_met =
            ttl.is_some_and(|ttl| ttl <= max + Duration::from_millis(1) && ttl + short > max);
        p.ensure(
            promise,
            is_met,
            format!("it was {ttl:?}, expected about {max:?}"),
        )
    };
    expect("the time to live is that of the last write", LONG_TTL).await?;
    p.touch(&key, LONG_TTL / 2).await?;
    expect("the time to live is that of the last touch", LONG_TTL / 2).await?;
    p.read_and_touch(&key, LONG_TTL).await?;
    expect("the time to live is that of the last touch", LONG_TTL).await?;
    harness.advance(short).await;
    let request = WriteRequest::new(&key, "kept", Expiry::Keep, Expected::Any);
    p.send(request).await?;
    let promise = "the time to live ends with a write that keeps the expiry as before it";
    expect(promise, LONG_TTL - short).await?;
    p.destroy(&key).await?;
    let (expired, _) = p.new_expired(harness).await?;
    for key in [key, expired, p.new_key()?] {
        let ttl = p.time_to_live(&key).await?;
        let promise = "only a live record has a time to live";
        p.ensure(promise, ttl.is_none(), format!("it was {ttl:?}"))?;
    }
    Ok(())
}
