//! Reads a stored session without a request, for the testing kit.

use http::{HeaderMap, header::COOKIE};

use super::{
    SessionError, Snapshot,
    backend::Backend,
    engine::Engine,
    rotation,
    state::{decode, write_messages},
};
use crate::{
    document::Document,
    id::StoreKey,
    store::{CookieLines, ReadOutcome, Tags},
    wire::Lifetime,
};

/// Maximum number of ids that are looked up for one request, including the new ids of rotated sessions.
const MAX_LOOKUPS: usize = 16;

/// The data, flash messages and tags of a stored session.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoredSession {
    pub(crate) data: Snapshot,
    /// The flash messages for the next request.
    pub(crate) flash: Snapshot,
    pub(crate) tags: Tags,
}

/// Returns the stored session that a request with these headers would load, or `None` if there is none.
///
/// It does not touch the record, emits no event and consumes no flash message.
///
/// # Errors
/// If the store fails, or the record is unreadable.
pub(crate) async fn inspect(
    engine: &Engine,
    headers: &HeaderMap,
) -> Result<Option<StoredSession>, SessionError> {
    let ids = engine.finder.find(headers);
    let opened = ids.filter_map(|text| engine.format.open_id(text).ok());
    let mut keys: Vec<(StoreKey, Option<Lifetime>)> = opened
        .map(|opened| (opened.cookie.id.store_key(), opened.cookie.lifetime))
        .collect();
    let mut at = 0;
    while let Some(&(key, sealed)) = keys.get(at).filter(|_| at < MAX_LOOKUPS) {
        at += 1;
        let ReadOutcome::Found(record) = read(engine, headers, &key).await? else {
            continue;
        };
        if let Some(forward) = rotation::forward(engine, &key, &record.data) {
            keys.insert(at, (forward.id.store_key(), Some(forward.lifetime)));
            continue;
        }
        let decoded = decode(engine, &record)?;
        let lifetime = decoded.head.lifetime;
        let is_same = sealed.is_none_or(|sealed| sealed.created == lifetime.created);
        let ttl = engine.record_ttl(&lifetime, engine.clock.now());
        if is_same && !decoded.head.is_fence && !ttl.is_zero() {
            let mut flash = Document::new();
            write_messages(&decoded.flash, &mut flash)?;
            return Ok(Some(StoredSession {
                data: Snapshot::new(decoded.data),
                flash: Snapshot::new(flash),
                tags: decoded.tags,
            }));
        }
    }
    Ok(None)
}

/// Reads a record, as a request with these headers would.
async fn read(
    engine: &Engine,
    headers: &HeaderMap,
    key: &StoreKey,
) -> Result<ReadOutcome, SessionError> {
    let reading = match &engine.backend {
        Backend::Server(store) => store.read(key, None),
        Backend::Client(bound) => {
            let lines: CookieLines = headers.get_all(COOKIE).iter().cloned().collect();
            bound.attach(&lines).read(key, None)
        }
    };
    Ok(reading.await?)
}
