//! The plan of a commit: what to store, and in which order.

use std::sync::Arc;

use super::{
    step::{CommitStep, StepResult},
    touch::Renewal,
};
use crate::{
    id::StoreKey,
    session::{
        Event, SessionError,
        engine::Engine,
        rotation,
        state::{IdStatus, Phase, SessionState, WriterId},
    },
    store::{Expiry, StoreFuture, WriteRequest},
};

/// Returns the first step of an explicit commit of a handle.
pub(super) fn first_explicit_step(
    state: &mut SessionState,
    engine: &Arc<Engine>,
    committer: &WriterId,
) -> StepResult {
    state.check_discards(committer)?;
    match state.phase() {
        Phase::Unloaded => return Err(SessionError::NotLoaded),
        Phase::ReadOnly(_) | Phase::Failed | Phase::Closed => return Ok(CommitStep::Done),
        Phase::Committing
        | Phase::Abandoned
        | Phase::Closing
        | Phase::ClosedUnloaded
        | Phase::Unstored => return Err(SessionError::Committed),
        Phase::Open => state.begin_explicit_commit(committer),
    }
    if let Some(error) = state.conflict().cloned() {
        // Changes that are made from now on do not belong to this commit.
        drop(state.take_changes());
        return Err(error);
    }
    open_step(state, engine, false)
}

/// Returns the first step of a final commit. It touches an unloaded session that is due.
pub(super) fn first_final_step(state: &mut SessionState, engine: &Arc<Engine>) -> StepResult {
    let discarded = state.late_discard(engine);
    match (state.phase(), discarded) {
        (Phase::Unloaded, Some(error)) => {
            state.close_unloaded();
            Err(error)
        }
        (Phase::Unloaded, None) => {
            state.restore_stored_id();
            let touch = engine
                .policy
                .enabled
                .then(|| Renewal::begin(state, engine))
                .flatten();
            // No task loads or destroys the session meanwhile: nothing would store its changes.
            state.close_unloaded();
            Ok(touch.map_or(CommitStep::Done, CommitStep::Touching))
        }
        (Phase::Closed, discarded) => {
            // An explicit commit has found that the session has ended, and dropped the changes.
            state.close_unstored();
            discarded.map_or(Ok(CommitStep::Done), Err)
        }
        (Phase::ReadOnly(_) | Phase::Failed, discarded) => {
            discarded.map_or(Ok(CommitStep::Done), Err)
        }
        // An explicit commit has taken the changes. It is running, or it was dropped.
        (Phase::Committing | Phase::Abandoned, _) => Err(SessionError::OutcomeUnknown),
        (Phase::Closing | Phase::ClosedUnloaded | Phase::Unstored, _) => {
            Err(SessionError::Committed)
        }
        (Phase::Open, discarded) => {
            state.begin_final_commit();
            match discarded.or_else(|| state.conflict().cloned()) {
                Some(error) => Err(error),
                None => open_step(state, engine, true),
            }
        }
    }
}

/// Returns the first step of a commit that has begun.
#[inline(always)]
fn open_step(state: &mut SessionState, engine: &Arc<Engine>, is_final: bool) -> StepResult {
    match state.key_to_destroy() {
        Some(key) => Ok(CommitStep::Destroying(destroy(state, engine, &key), key)),
        None => first_write_step(state, engine, is_final),
    }
}

/// Starts to destroy a session. Results in `true` if the caller must emit the event.
fn destroy(state: &SessionState, engine: &Arc<Engine>, key: &StoreKey) -> StoreFuture<bool> {
    match state.id_status() {
        IdStatus::Ended if rotation::is_possible(engine) => {
            let destroying = rotation::destroy(Arc::clone(engine), *key);
            StoreFuture::new(async { destroying.await.map(|_| false) })
        }
        _ => {
            let destroying = state.store(engine).destroy(key);
            StoreFuture::new(async { destroying.await.map(|()| true) })
        }
    }
}

/// Returns the step that writes, or `Done` if there is nothing to store.
pub(super) fn first_write_step(
    state: &mut SessionState,
    engine: &Engine,
    is_final: bool,
) -> StepResult {
    if !state.needs_write() {
        // Nothing is committed, so no event is emitted.
        state.end_unchanged();
        return Ok(CommitStep::Done);
    }
    state.mark_changed();
    let key = state.ensure_key()?;
    // A regeneration competes with other commits under the old id.
    let contended = state.regeneration().map_or(key, |old| old.from);
    if engine.queues.contains(&contended) {
        // A regeneration encodes its record when it has its turn.
        if !is_final && state.regeneration().is_none() {
            state.encode(engine, is_final)?;
        }
        return Ok(CommitStep::Joining(key));
    }
    write_step(state, engine, key, is_final)
}

/// Starts to write the record for the first time.
pub(super) fn write_step(
    state: &mut SessionState,
    engine: &Engine,
    key: StoreKey,
    is_final: bool,
) -> StepResult {
    let mut record = state.encode(engine, is_final)?;
    if state.regeneration().is_some() {
        record = state.mark_pending(engine, record);
    }
    let ttl = state.record_ttl(engine);
    let request = WriteRequest {
        key,
        data: record,
        tags: state.tags(),
        expiry: Expiry::After(ttl),
        expected: state.expected(),
    };
    let writing = state.store(engine).write(request);
    Ok(CommitStep::Writing(writing, key))
}

/// Ends a commit whose steps are done. After a final commit the session cannot be changed.
pub(super) fn end_commit(
    state: &mut SessionState,
    engine: &Engine,
    conflicts: u32,
    is_final: bool,
) {
    match state.phase() {
        Phase::Committing | Phase::Closing => {
            report_committed(state, engine, conflicts);
            state.on_committed(engine, is_final);
        }
        Phase::ClosedUnloaded | Phase::Unstored => {}
        _ if is_final => state.close(),
        _ => {}
    }
}

fn report_committed(state: &mut SessionState, engine: &Engine, conflicts: u32) {
    if !engine.listeners.want_routine_events() || state.version().is_none() {
        return;
    }
    let Some(key) = state.key() else {
        return;
    };
    if conflicts > 0 {
        let attempts = conflicts;
        state.queue(engine, Event::ConflictResolved { key, attempts });
    }
    state.queue(engine, Event::Committed { key });
}
