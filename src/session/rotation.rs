//! Fences that forward requests with an old id to the new one, for the grace window of a rotation.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;

use super::{Event, backend::Backend, engine::Engine};
use crate::{
    id::{SessionId, StoreKey},
    store::{Expected, ReadOutcome, StoreError, WriteOutcome, WriteRequest},
    wire::{Forward, Lifetime},
};

/// Maximum number of records that the end of a session visits, while other requests change them.
const MAX_VISITS: usize = 16;

/// Returns the fence under the old key `from`, and how long it must live. It forwards to `id`, if there is
/// one, for the time `grace`, but not longer than the session may live.
pub(super) fn fence(
    engine: &Engine,
    from: &StoreKey,
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
    let fence = engine.format.fence(from, forward.as_ref());
    (fence, engine.policy.fence_ttl.max(grace))
}

/// Returns the new id to which the fence under the key `from` forwards now.
pub(super) fn forward(engine: &Engine, from: &StoreKey, fence: &[u8]) -> Option<Forward> {
    let forward = engine.format.open_forward(from, fence)?;
    engine.has_rotations.store(true, Relaxed);
    (engine.clock.now() < forward.until).then_some(forward)
}

/// Returns `true` if a session may have been rotated, as far as this process knows.
pub(super) fn is_possible(engine: &Engine) -> bool {
    engine.has_rotations.load(Relaxed)
        && matches!(&engine.backend, Backend::Server(store) if store.capabilities().conditional_writes)
}

/// Destroys a session, under its new id if it was rotated and its grace window lasts.
///
/// A record that a rotation may replace at the same time is replaced with a fence first.
pub(super) async fn destroy(engine: Arc<Engine>, old: StoreKey) -> Result<(), StoreError> {
    let store = engine.backend.store();
    let mut key = old;
    let mut has_failed = false;
    for _ in 0..MAX_VISITS {
        let expected = match store.read(&key, None).await {
            Ok(ReadOutcome::Found(record)) => {
                if let Some(forward) = forward(&engine, &key, &record.data) {
                    key = forward.id.store_key();
                    continue;
                }
                Expected::Version(record.version)
            }
            // A session that was never stored can be rotated too.
            Ok(ReadOutcome::Absent) => Expected::Absent,
            Ok(ReadOutcome::Gone) => break,
            Err(error) if error.is_unreadable() => break,
            Err(error) => return Err(error),
        };
        let plain = engine.format.fence(&key, None);
        let ttl = engine.policy.fence_ttl;
        let fenced = store.write(WriteRequest::new(&key, plain, ttl, expected));
        match fenced.await {
            Ok(WriteOutcome::Conflict(_)) => {}
            Err(_) if !has_failed => has_failed = true,
            // A store that is full cannot store a rotation either, but may still destroy.
            Ok(_) | Err(_) => break,
        }
    }
    store.destroy(&key).await?;
    if key != old {
        engine.emit(&Event::Destroyed { key });
    }
    Ok(())
}
