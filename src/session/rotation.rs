//! Fences that forward requests with an old id to the new one, for the grace window of a rotation.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Event, backend::Backend, engine::Engine};
use crate::{
    id::{SessionId, StoreKey},
    store::{Expected, ReadOutcome, StoreError, WriteOutcome, WriteRequest},
    wire::{Forward, Lifetime},
};

/// Time for store operations, and for clocks that differ.
pub(super) const MARGIN: Duration = Duration::from_secs(10);

/// Minimum time to live of a fence that names a new key. Changes of the new record look for the fence until
/// [`MARGIN`] after the record was written.
const MIN_FENCE_TTL: Duration = MARGIN.saturating_mul(2);

/// Maximum number of records that the end of a session visits, while other requests change them.
const MAX_VISITS: usize = 16;

/// Returns the fence under the old key `from`, and how long it must live. It names the new key `to`. It
/// forwards to `id`, if there is one, for the time `grace`, but not longer than the session may live.
pub(super) fn fence(
    engine: &Engine,
    from: &StoreKey,
    to: &StoreKey,
    id: Option<SessionId>,
    lifetime: Lifetime,
    grace: Duration,
) -> (Bytes, Duration) {
    let now = engine.clock.now();
    let grace = grace.min(engine.record_ttl(&lifetime, now));
    let until = now.saturating_add(grace);
    let id = id.filter(|_| !grace.is_zero());
    let forward = id.map(|id| Forward {
        id,
        until,
        lifetime,
    });
    let fence = engine.format.fence(from, Some(to), forward.as_ref());
    let ttl = engine.policy.fence_ttl.max(MIN_FENCE_TTL);
    (fence, ttl.max(grace))
}

/// Returns the new id to which the fence under the key `from` forwards now.
pub(super) fn forward(engine: &Engine, from: &StoreKey, fence: &[u8]) -> Option<Forward> {
    let forward = engine.format.open_forward(from, fence)?;
    (engine.clock.now() < forward.until).then_some(forward)
}

/// Returns `true` if the store can hold fences.
pub(super) fn is_possible(engine: &Engine) -> bool {
    matches!(&engine.backend, Backend::Server(store) if store.capabilities().conditional_writes)
}

/// Destroys a session, under its new id if it was rotated and its grace window lasts. Does nothing if the session
/// has another id and the old one does not forward. Returns `false` if the session had ended before.
///
/// A record that a rotation may replace at the same time is replaced with a fence first. Then the session has ended,
/// even if the removal fails or the caller does not wait for it, so this emits the events. A session that another
/// process has ended has no event here, but its ids are recorded as dead.
pub(super) async fn destroy(engine: Arc<Engine>, old: StoreKey) -> Result<bool, StoreError> {
    let store = engine.backend.store();
    let mut key = old;
    let (mut has_failed, mut had_ended, mut is_fenced) = (false, false, false);
    for _ in 0..MAX_VISITS {
        let expected = match store.read(&key, None).await {
            Ok(ReadOutcome::Found(record)) => {
                if let Some(forward) = forward(&engine, &key, &record.data) {
                    key = forward.id.store_key();
                    continue;
                }
                if engine.format.fence_names(&record.data, &key).is_some() {
                    // Changes of the session look for this fence.
                    engine.record_death(old);
                    engine.record_death(key);
                    return Ok(false);
                }
                let head = engine.format.decode_head(&record.data);
                // The answer to a write of this fence may be lost.
                had_ended = !has_failed && head.is_ok_and(|head| head.is_fence);
                Expected::Version(record.version)
            }
            // A session that was never stored can be rotated too.
            Ok(ReadOutcome::Absent) => Expected::Absent,
            Ok(ReadOutcome::Gone) => {
                had_ended = !has_failed;
                break;
            }
            Err(error) if error.is_unreadable() => break,
            Err(error) => return Err(error),
        };
        let plain = engine.format.fence(&key, None, None);
        let ttl = engine.policy.fence_ttl;
        let fenced = store.write(WriteRequest::new(&key, plain, ttl, expected));
        match fenced.await {
            Ok(WriteOutcome::Conflict(_) | WriteOutcome::Gone) => {}
            Err(_) if !has_failed => has_failed = true,
            // A store that is full cannot store a rotation either, but may still destroy.
            fenced => {
                is_fenced = matches!(fenced, Ok(WriteOutcome::Done(_)));
                break;
            }
        }
    }
    if is_fenced && !had_ended {
        emit_end(&engine, key, old);
    }
    let removed = store.destroy(&key).await;
    if had_ended {
        engine.record_death(old);
        engine.record_death(key);
    } else if !is_fenced && removed.is_ok() {
        emit_end(&engine, key, old);
    }
    removed.map(|()| !had_ended)
}

/// Emits the events of the end of a session under `key`, and under its old key if it was rotated.
fn emit_end(engine: &Engine, key: StoreKey, old: StoreKey) {
    engine.emit(&Event::Destroyed { key });
    if key != old {
        engine.emit(&Event::Destroyed { key: old });
    }
}
