//! The handle, and where its state lives.

use std::{
    cell::RefCell,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::HeaderMap;

use super::{Load, engine::Engine, state::State};

/// One visitor's session, for the length of one request.
///
/// The handle is cheap to clone and may be used from several tasks of the request at once; each
/// method is atomic by itself. Call [`load`](Self::load) first: the others answer
/// [`NotLoaded`](super::SessionError::NotLoaded) before. What was changed is stored when the
/// handler has answered, or at once by [`commit`](Self::commit); a handle kept longer can read, and
/// its writes answer [`Committed`](super::SessionError::Committed).
///
/// Other requests of the same visitor may run at the same time, here or on other machines. This
/// handle sees the session as it was when it was loaded, plus its own changes. At the end the
/// changes are applied to what is stored by then, operation by operation, so nothing that either
/// request wrote is lost: two increments add up, two different keys are both there. Where both
/// wrote the same key, the later commit wins. (Not so with a store that knows no versions, as one in
/// cookies: see its [`Capabilities`](crate::store::Capabilities). There the last answer wins.)
#[derive(Clone)]
pub struct Session {
    pub(super) engine: Arc<Engine>,
    slot: Arc<Mutex<State>>,
}

impl Session {
    /// The session of a request with these headers. Only their `Cookie` lines are looked at, and
    /// nothing is opened.
    pub(crate) fn from_headers(engine: &Arc<Engine>, headers: &HeaderMap) -> Self {
        let mut slot = take_slot();
        if let Some(state) = Arc::get_mut(&mut slot) {
            let state = state.get_mut().unwrap_or_else(PoisonError::into_inner);
            state.identity.note_cookies(engine, headers);
            state.visitor.note_cookies(engine, headers);
        }
        Self {
            engine: engine.clone(),
            slot,
        }
    }

    /// Opens the session: reads it from the store, if the request carried an id of ours. Loading a
    /// second time does nothing.
    ///
    /// FlashState messages that the request before left are taken out by this.
    ///
    /// # Errors
    /// When the store fails or holds something unreadable, unless the configuration asks for an
    /// empty read-only session then. A cookie that we did not issue is not an error: the session is
    /// a new one.
    pub fn load(&self) -> Load<'_> {
        Load::new(self, false)
    }

    /// Opens the session for reading. FlashState messages stay where they are, and methods that would
    /// change something answer [`ReadOnly`](super::SessionError::ReadOnly).
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_read_only(&self) -> Load<'_> {
        Load::new(self, true)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the lock was held left a state that is at worst half edited in memory; it
        // belongs to this request alone, whose handler has panicked.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the request's use of the handle. If no clone is left, its buffers serve a later request.
    pub(super) fn recycle(self) {
        keep_slot(self.slot);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("phase", &self.state().phase)
            .finish_non_exhaustive()
    }
}

/// How many idle states a thread keeps.
const KEPT: usize = 32;

thread_local! {
    static IDLE: RefCell<Vec<Arc<Mutex<State>>>> = const { RefCell::new(Vec::new()) };
}

fn take_slot() -> Arc<Mutex<State>> {
    IDLE.try_with(|idle| idle.try_borrow_mut().ok()?.pop())
        .ok()
        .flatten()
        .unwrap_or_default()
}

fn keep_slot(mut slot: Arc<Mutex<State>>) {
    let Some(state) = Arc::get_mut(&mut slot) else {
        return;
    };
    let state = state.get_mut().unwrap_or_else(PoisonError::into_inner);
    if !state.is_small() {
        return;
    }
    state.reset();
    let _ = IDLE.try_with(|idle| {
        if let Ok(mut idle) = idle.try_borrow_mut()
            && idle.len() < KEPT
        {
            idle.push(slot);
        }
    });
}
