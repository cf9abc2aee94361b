//! The `Session` handle, and the pool of states behind it.

use std::{
    cell::RefCell,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use http::Request;

use super::{
    SessionError,
    engine::Engine,
    state::{SessionState, WriterId},
};
use crate::sync::{get_mut, lock};

/// One visitor's session during one request.
///
/// Call [`load`](Self::load) first. Until then, methods that read or change the session fail with
/// [`NotLoaded`](super::SessionError::NotLoaded). The service stores the changes when the handler
/// has returned; [`commit`](Self::commit) stores them earlier. A handle that outlives the response
/// can still read a session that was loaded, and its writes fail with [`Committed`](super::SessionError::Committed). Bodies that
/// stream and upgraded connections have such a handle.
///
/// ```
/// # use hyper_session::{Session, SessionError};
/// # async fn handler(session: &Session) -> Result<(), SessionError> {
/// let session = session.load().await?;
/// let visits = session.increment("visits")?;
/// session.put("user.email", "ada@example.org")?;
/// # let _ = visits; Ok(()) }
/// ```
///
/// # Concurrency
///
/// A handle is cheap to clone. Several tasks of the request may use it at once; each method is
/// atomic by itself. Tasks that [`commit`](Self::commit) need a clone each. `Serialize` and `Deserialize` implementations may use the session too.
///
/// Other requests of the same visitor may run at the same time, in this process or on other
/// machines. A handle sees the session as it was when it was loaded, plus its own changes. The
/// commit applies the changes to the record that is stored by then, operation by operation, so no
/// write is lost. Two increments add up, and two different keys are both stored. If both requests
/// wrote the same key, the later commit wins.
///
/// A store without [conditional writes](crate::store::Capabilities), such as one in cookies, cannot
/// merge. There the last response wins.
#[derive(Clone)]
#[doc(alias = "SessionHandle")]
pub struct Session {
    pub(super) engine: Arc<Engine>,
    pub(super) state: Arc<Mutex<SessionState>>,
    pub(super) writer: WriterId,
}

impl Session {
    /// Creates the session of a request. It copies the session cookies and decrypts nothing.
    #[inline]
    pub(crate) fn from_request<B>(engine: &Arc<Engine>, request: &Request<B>) -> Self {
        let mut pooled = pool_take();
        if let Some(state) = Arc::get_mut(&mut pooled) {
            get_mut(state).read_request(engine, request.method(), request.headers());
        }
        Self {
            engine: engine.clone(),
            state: pooled,
            writer: WriterId::default(),
        }
    }

    /// Returns `true` if `engine` created the session.
    pub(crate) fn belongs_to(&self, engine: &Arc<Engine>) -> bool {
        Arc::ptr_eq(&self.engine, engine)
    }

    /// Returns the name of the id cookie.
    pub(crate) fn cookie_name(&self) -> &str {
        self.engine.set_cookie.name().as_str()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, SessionState> {
        // Except for the methods of a store, no code of users runs under the lock. The state is complete
        // while they run, so no panic of theirs leaves it half edited.
        lock(&self.state)
    }

    /// Returns the locked state for a change by this handle.
    #[inline(always)]
    pub(super) fn writable(&self) -> Result<MutexGuard<'_, SessionState>, SessionError> {
        let mut state = self.state();
        state.begin_change(&self.writer)?;
        Ok(state)
    }

    /// Fails if this handle cannot change the session now.
    pub(super) fn check_writable(&self) -> Result<(), SessionError> {
        self.state().check_change(&self.writer)
    }

    /// Returns this handle as another value. What becomes of the changes of either is reported to one of them.
    pub(super) fn same_handle(&self) -> Self {
        self.state().number(&self.writer);
        Self {
            writer: self.writer.copy(),
            ..self.clone()
        }
    }

    /// Calls `run` with the locked state, then [unlocks](Self::unlock) it.
    #[inline]
    pub(super) fn with_events<T>(&self, run: impl FnOnce(&mut SessionState) -> T) -> T {
        let mut state = self.state();
        let result = run(&mut state);
        self.unlock(state);
        result
    }

    /// Releases the lock, then emits the events that were queued under it.
    #[inline]
    pub(super) fn unlock(&self, state: MutexGuard<'_, SessionState>) {
        if state.has_events() {
            self.emit_events(state);
        }
    }

    #[cold]
    fn emit_events(&self, mut state: MutexGuard<'_, SessionState>) {
        let events = state.take_events();
        drop(state);
        self.engine.emit_queued(&events);
    }

    /// Calls `run` with the locked state, in which the id of the request's cookie is resolved.
    pub(super) fn with_id<T>(&self, run: impl FnOnce(&mut SessionState) -> T) -> T {
        self.with_events(|state| {
            state.access_id(&self.engine);
            run(state)
        })
    }

    /// Ends the request's use of the handle. If no clone is left, a later request reuses its
    /// buffers.
    pub(super) fn recycle(mut self) {
        let state = Arc::get_mut(&mut self.state).map(get_mut);
        if state.is_some_and(SessionState::reset_if_small) {
            self.return_state();
        }
    }

    /// Lets a later request reuse the state, which was reset. There is no clone of the handle.
    #[inline(always)]
    pub(super) fn return_state(self) {
        pool_push(self.state);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("phase", &self.state().phase())
            .finish_non_exhaustive()
    }
}

/// Maximum number of idle states of one thread.
const POOL_SIZE: usize = 32;

thread_local! {
    static IDLE: RefCell<Vec<Arc<Mutex<SessionState>>>> = const { RefCell::new(Vec::new()) };
}

#[inline]
fn pool_take() -> Arc<Mutex<SessionState>> {
    IDLE.try_with(|idle| idle.try_borrow_mut().ok()?.pop())
        .ok()
        .flatten()
        .unwrap_or_default()
}

#[inline]
fn pool_push(pooled: Arc<Mutex<SessionState>>) {
    let _ = IDLE.try_with(|idle| {
        if let Ok(mut idle) = idle.try_borrow_mut()
            && idle.len() < POOL_SIZE
        {
            idle.push(pooled);
        }
    });
}
