//! The touch of a session that the handler did not load.

use crate::{
    session::{engine::Engine, state::SessionState},
    store::{StoreError, StoreFuture},
};

/// Starts to touch the record of an unloaded session, if it is due.
pub(super) fn touch_if_due(state: &mut SessionState, engine: &Engine) -> Option<StoreFuture<bool>> {
    let (key, ttl) = state.due_touch(engine)?;
    Some(state.store(engine).touch(&key, ttl))
}

/// Applies the result of a touch. A failure is reported and does not fail the request.
pub(super) fn apply_touch(
    state: &mut SessionState,
    engine: &Engine,
    touched: Result<bool, StoreError>,
) {
    match touched {
        Ok(true) => state.on_touched(engine.clock.now()),
        Ok(false) => state.on_touch_missed(engine),
        Err(error) => {
            drop(engine.report(error.into()));
            // The next request touches again. The record may expire before a cookie that would be
            // renewed now.
            state.keep_browser_cookies();
        }
    }
}
