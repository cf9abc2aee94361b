//! The session's part of a response, after the final commit.

use std::sync::Arc;

use http::{HeaderValue, StatusCode};

use super::{
    future::Commit,
    plan::{end_commit, first_final_step},
    step::CommitStep,
};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    session::{
        CookiePolicy, Session, SessionError,
        engine::Engine,
        key_table::RecentChange,
        state::{IdStatus, SessionState},
        trace::{OperationEnd, OperationTrace},
    },
    store::{SetCookies, StoreFuture, WriteOutcome},
    sync::{get_mut, lock},
    wire::Lifetime,
};

/// The session's part of a response.
#[derive(Debug)]
pub(crate) struct SessionOutcome {
    /// The id cookie to set or to remove.
    pub(crate) cookie: Option<IdCookieLines>,
    /// The `Set-Cookie` lines of a client-side store. Boxed, since most stores have none.
    pub(crate) data: Option<Box<SetCookies>>,
    /// The response may depend on the session.
    pub(crate) accessed: bool,
    /// The request changed the session, or handed out a new id or a CSRF token of it.
    pub(crate) changed: bool,
    /// The reason for replacing the handler's response. Boxed, since most requests have none.
    pub(crate) failure: Option<Box<SessionError>>,
}

impl SessionOutcome {
    /// Returns an outcome that sets no cookie.
    const fn failed(failure: Box<SessionError>) -> Self {
        Self {
            cookie: None,
            data: None,
            accessed: false,
            changed: false,
            failure: Some(failure),
        }
    }
}

/// The lines of a response that set or remove the id cookie.
#[derive(Debug)]
pub(crate) struct IdCookieLines {
    /// The `Set-Cookie` line to append.
    pub(crate) line: HeaderValue,
    /// The `Set-Cookie` lines that remove the cookie in its former scopes.
    pub(crate) former_removals: Option<Arc<[HeaderValue]>>,
    /// The renewal of which the cookie is a part.
    pub(crate) renewal: Option<RenewalClaim>,
}

/// A renewal of this request. Until the touch interval is over, no other request renews the session.
#[derive(Debug)]
pub(crate) struct RenewalClaim {
    engine: Arc<Engine>,
    key: StoreKey,
}

impl RenewalClaim {
    /// Lets the next request renew the session, because the browser does not get the cookie.
    pub(crate) fn release(self) {
        self.engine.touch_times.remove(&self.key);
    }
}

/// The final commit of a request, begun.
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a box would be an allocation of each commit that waits"
)]
pub(crate) enum FinalCommit {
    /// The commit has ended, and there is no cookie to set.
    WithoutCookie {
        /// As in [`SessionOutcome`].
        accessed: bool,
        /// As in [`SessionOutcome`].
        changed: bool,
    },
    /// There was nothing to store, or the store answered at once.
    Done(SessionOutcome),
    /// The commit waits for the store.
    Pending(Commit),
}

impl FinalCommit {
    /// Returns the end of a request that did not use its session.
    pub(crate) const fn unused() -> Self {
        Self::WithoutCookie {
            accessed: false,
            changed: false,
        }
    }
}

/// The action on the browser's id cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CookieAction {
    Keep,
    Send,
    Remove,
}

impl Session {
    /// Begins the final commit of a request. The session cannot be changed after it.
    pub(crate) fn begin_final_commit(mut self, status: StatusCode) -> FinalCommit {
        let (engine, mut guard) = (&self.engine, None);
        // Without a clone of the handle there is no need for the lock.
        let (state, is_shared) = match Arc::get_mut(&mut self.state) {
            Some(state) => {
                let state = get_mut(state);
                if state.is_unused(engine) {
                    state.reset();
                    self.return_state();
                    return FinalCommit::unused();
                }
                (state, false)
            }
            None => (&mut **guard.insert(lock(&self.state)), true),
        };
        let mut trace = state.is_modified().then(|| OperationTrace::commit(engine));
        let begun = begin_commit(state, engine, status, trace.as_mut());
        let (accessed, changed) = response_flags(state, engine);
        let events = state.has_events().then(|| state.take_events());
        let is_reset = !is_shared && begun.is_ok() && state.reset_if_small();
        drop(guard);
        if let Some(events) = events {
            engine.emit_queued(&events);
        }
        let outcome = match begun {
            Ok(outcome) => outcome,
            Err(step) => return FinalCommit::Pending(Commit::from_step(self, step, trace)),
        };
        match is_reset {
            true => self.return_state(),
            false => self.recycle(),
        }
        match outcome {
            None => FinalCommit::WithoutCookie { accessed, changed },
            Some(outcome) => FinalCommit::Done(outcome),
        }
    }

    /// Takes the error of a load that failed. The response must then be replaced.
    pub(crate) fn take_load_error(&self) -> Option<Box<SessionError>> {
        self.state().take_load_error()
    }
}

impl Commit {
    /// Returns the session's part of the response. `result` is the output of this final commit.
    pub(crate) fn into_outcome(self, result: Result<(), SessionError>) -> SessionOutcome {
        let session = self.session;
        let outcome = session.with_events(|state| outcome(state, &session.engine, result));
        session.recycle();
        outcome
    }
}

/// Begins a final commit. Returns its outcome, or the step that waits for the store. The usual commit sets no
/// cookie. Then it returns `None`, which saves moves of an outcome.
#[expect(
    clippy::result_large_err,
    reason = "it is inlined, so the step is not moved"
)]
#[inline]
fn begin_commit(
    state: &mut SessionState,
    engine: &Arc<Engine>,
    status: StatusCode,
    trace: Option<&mut OperationTrace>,
) -> Result<Option<SessionOutcome>, CommitStep> {
    match begin(state, engine, status, trace) {
        Ok(None) if keeps_all_cookies(state, engine) => Ok(None),
        Ok(None) => Ok(Some(outcome(state, engine, Ok(())))),
        Err(error) => Ok(Some(outcome(state, engine, Err(error)))),
        Ok(Some(step)) => Err(step),
    }
}

/// Returns the first step that waits for the store, or `None` if the commit has ended.
fn begin(
    state: &mut SessionState,
    engine: &Arc<Engine>,
    status: StatusCode,
    trace: Option<&mut OperationTrace>,
) -> Result<Option<CommitStep>, SessionError> {
    if let Some(error) = state.take_load_error() {
        end_trace(trace, error.outcome(), state);
        return Err(*error);
    }
    // Many requests only read. A step is expensive to return.
    if trace.is_none() && state.is_settled() {
        state.close();
        return Ok(None);
    }
    let _entered = trace.as_ref().map(|trace| trace.enter());
    let kept = match engine.policy.keep_flash_on_redirect && status.is_redirection() {
        true => state.keep_incoming_flash(engine),
        false => Ok(()),
    };
    match kept.and_then(|()| first_final_step(state, engine)) {
        Ok(CommitStep::Done) => end_trace(trace, "unchanged", state),
        Ok(CommitStep::Writing(write, key)) => {
            let pending = finish_write(state, engine, write);
            if pending.is_none() {
                end_trace(trace, "stored", state);
            }
            return Ok(pending.map(|write| CommitStep::Writing(write, key)));
        }
        Ok(step) => return Ok(Some(step)),
        Err(error) if error.is_conflict() || error.is_too_large() => {
            // The policy may be to drop the changes.
            return Ok(Some(CommitStep::Failing(Box::new(error))));
        }
        Err(error) => {
            end_trace(trace, error.outcome(), state);
            return Err(state.report(engine, error));
        }
    }
    end_commit(state, engine, 0, true);
    Ok(None)
}

fn end_trace(trace: Option<&mut OperationTrace>, outcome: &'static str, state: &SessionState) {
    if let Some(trace) = trace {
        let end = OperationEnd {
            outcome,
            attempts: 1,
            bytes: state.data().text().len(),
        };
        trace.end(&end);
    }
}

/// Returns `true` if the response sets no cookie.
fn keeps_all_cookies(state: &SessionState, engine: &Engine) -> bool {
    !state.is_store_attached() && cookie_action(state, engine) == CookieAction::Keep
}

/// Ends the commit if the store has written at once and no other step follows. Otherwise returns the
/// write. A [`Commit`] would do the same, for more moves of it and of the response.
fn finish_write(
    state: &mut SessionState,
    engine: &Engine,
    write: StoreFuture<WriteOutcome>,
) -> Option<StoreFuture<WriteOutcome>> {
    let version = match write.into_result() {
        Ok(Ok(WriteOutcome::Done(version))) if state.regeneration().is_none() => version,
        Ok(written) => return Some(StoreFuture::ready(written)),
        Err(write) => return Some(write),
    };
    state.on_stored(engine, version);
    state.keep_replaced_record();
    end_commit(state, engine, 0, true);
    None
}

fn outcome(
    state: &mut SessionState,
    engine: &Arc<Engine>,
    result: Result<(), SessionError>,
) -> SessionOutcome {
    match result.and_then(|()| stored_outcome(state, engine)) {
        Ok(outcome) => outcome,
        Err(error) => failed_outcome(state, engine, Box::new(error)),
    }
}

/// Returns the outcome of a failed commit. It sets the cookies of the savepoint, if there is one.
#[cold]
fn failed_outcome(
    state: &mut SessionState,
    engine: &Arc<Engine>,
    failure: Box<SessionError>,
) -> SessionOutcome {
    state.close_unstored();
    let restored = state
        .restore_savepoint()
        .then(|| stored_outcome(state, engine));
    match restored {
        Some(Ok(outcome)) => SessionOutcome {
            failure: Some(failure),
            ..outcome
        },
        _ => SessionOutcome::failed(failure),
    }
}

fn stored_outcome(
    state: &mut SessionState,
    engine: &Arc<Engine>,
) -> Result<SessionOutcome, SessionError> {
    let data = data_cookies(state, engine)?;
    let line = match cookie_action(state, engine) {
        CookieAction::Keep => None,
        CookieAction::Remove => Some(engine.set_cookie.removal()),
        CookieAction::Send => Some(id_cookie(state, engine)?),
    };
    let cookie = line.map(|line| IdCookieLines {
        line,
        former_removals: engine.set_cookie.former_removals(),
        renewal: state.renewed_key().map(|key| RenewalClaim {
            engine: Arc::clone(engine),
            key,
        }),
    });
    let (accessed, changed) = response_flags(state, engine);
    Ok(SessionOutcome {
        cookie,
        data,
        accessed,
        changed,
        failure: None,
    })
}

/// Returns if the response may depend on the session, and if the request changed the session.
fn response_flags(state: &SessionState, engine: &Engine) -> (bool, bool) {
    let is_enabled = engine.policy.enabled;
    (
        state.is_accessed() && is_enabled,
        state.is_changed() && is_enabled,
    )
}

/// Returns the cookies of a client-side store, if this request used one.
fn data_cookies(
    state: &mut SessionState,
    engine: &Engine,
) -> Result<Option<Box<SetCookies>>, SessionError> {
    if !state.is_store_attached() {
        return Ok(None);
    }
    state.report_rejected_cookie(engine);
    if keeps_cookies(state, engine) {
        return Ok(None);
    }
    let cookies = state.set_cookies(engine);
    let cookies = cookies.map_err(|error| state.report(engine, error))?;
    Ok((!cookies.is_empty()).then(|| Box::new(cookies)))
}

/// Returns `true` if the response must not change the browser's cookies.
fn keeps_cookies(state: &SessionState, engine: &Engine) -> bool {
    // If another request ended the session, its response may have arrived already. This response
    // could undo it, so it sets cookies only for a session of its own.
    let is_lost = state.id_status().is_lost() && state.version().is_none();
    is_lost || state.is_id_from_request() && is_outdated(state, engine)
}

/// Returns `true` if the session's id died during the request, or another request changed the session's
/// timeout, as far as this process knows.
fn is_outdated(state: &SessionState, engine: &Engine) -> bool {
    has_change(state, engine, |change| match change {
        RecentChange::Death => true,
        RecentChange::Lifetime(newer, at) => has_former_lifetime(state, engine, newer, *at),
    })
}

/// Returns `true` if the session's timeout was changed at `at`, and this response has the former one.
#[cold]
fn has_former_lifetime(
    state: &SessionState,
    engine: &Engine,
    newer: &Lifetime,
    at: Timestamp,
) -> bool {
    // A client-side store has no conflicts: its last response counts.
    let is_server_side = !state.is_store_attached();
    is_server_side && !state.cookie_lifetime().has_timeouts_of(newer) && engine.is_recent(at)
}

/// Chooses what happens to the browser's id cookie. No other place does.
fn cookie_action(state: &SessionState, engine: &Engine) -> CookieAction {
    let is_rolling = engine.policy.cookie == CookiePolicy::Rolling;
    let sends = if state.is_id_from_request() {
        let is_wanted = is_rolling || state.is_cookie_outdated();
        is_wanted && state.is_id_confirmed() && !keeps_cookies(state, engine)
    } else if !engine.policy.enabled {
        false
    } else {
        let is_used = state.version().is_some() || state.is_id_issued();
        // Another request may have used the new id of a rotation, and ended it.
        let is_dead = is_used && is_id_dead(state, engine);
        match state.id_status() {
            _ if is_used && !is_dead => true,
            IdStatus::Ended => return CookieAction::Remove,
            IdStatus::Destroyed | IdStatus::Regenerated => false,
            IdStatus::Alive | IdStatus::Expired => is_rolling && !is_dead,
        }
    };
    match sends {
        true => CookieAction::Send,
        false => CookieAction::Keep,
    }
}

/// Returns `true` if the session's id died during the request, as far as this process knows.
fn is_id_dead(state: &SessionState, engine: &Engine) -> bool {
    has_change(state, engine, |change| *change == RecentChange::Death)
}

/// Returns `true` if there is a recent change of the session for which `is_match` returns `true`.
#[inline]
fn has_change(
    state: &SessionState,
    engine: &Engine,
    is_match: impl FnOnce(&RecentChange) -> bool,
) -> bool {
    let is_match = |key| engine.recent_changes.map(&key, is_match);
    state.key().and_then(is_match).unwrap_or(false)
}

fn id_cookie(state: &mut SessionState, engine: &Engine) -> Result<HeaderValue, SessionError> {
    let max_age = engine.cookie_max_age(&state.cookie_lifetime());
    let text = state.cookie_text(engine)?;
    engine
        .set_cookie
        .set(text, max_age)
        .map_err(|_| SessionError::Cookie("its value is not valid in a header"))
}
