//! What the response has to say of the session, once its changes are stored.

use http::HeaderValue;

use super::{
    CookiePolicy, Session, SessionError,
    commit::Commit,
    engine::Engine,
    state::{Fate, Phase, State},
};

/// The session's part of a response.
#[derive(Debug)]
pub(crate) struct Settled {
    /// The `Set-Cookie` line to append.
    pub(crate) cookie: Option<HeaderValue>,
    /// The response may depend on the session.
    pub(crate) accessed: bool,
}

/// What to do about the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CookieWork {
    Nothing,
    Send,
    Remove,
}

impl Session {
    /// The commit at the end of a request: nothing can be changed after it.
    pub(crate) fn commit_last(&self) -> Commit {
        Commit::new(self.clone(), true)
    }

    /// Whether the session could not be opened, so that the response is not to be trusted.
    pub(crate) fn has_failed(&self) -> bool {
        self.state().phase == Phase::Failed
    }

    /// What to tell the browser. To be asked once, after the last commit.
    pub(crate) fn settle(&self) -> Result<Settled, SessionError> {
        let engine = &*self.engine;
        let mut state = self.state();
        let cookie = match state.cookie_work(engine) {
            CookieWork::Nothing => None,
            CookieWork::Remove => Some(engine.set_cookie.removal()),
            CookieWork::Send => Some(state.cookie(engine)?),
        };
        Ok(Settled {
            cookie,
            accessed: state.accessed && engine.policy.enabled,
        })
    }
}

impl State {
    /// The one place that decides what happens to the visitor's cookie.
    fn cookie_work(&self, engine: &Engine) -> CookieWork {
        let stored = self.version.is_some();
        match (self.fate, engine.policy.cookie) {
            _ if !engine.policy.enabled => CookieWork::Nothing,
            // Another response carries the new id and may have arrived already. Unless this request
            // stored something of its own, whatever was said here could undo that.
            (Fate::Moved, _) if !stored => CookieWork::Nothing,
            (Fate::Ended, _) if !stored => CookieWork::Remove,
            (_, CookiePolicy::Rolling) => CookieWork::Send,
            (_, CookiePolicy::WhenUsed) if self.identity.is_news(stored) => CookieWork::Send,
            (_, CookiePolicy::WhenUsed) => CookieWork::Nothing,
        }
    }

    fn cookie(&mut self, engine: &Engine) -> Result<HeaderValue, SessionError> {
        let age = (!engine.policy.clear_with_browser).then_some(engine.policy.age);
        let text = self.identity.text(engine, engine.clock.now())?;
        engine
            .set_cookie
            .set(text, age)
            .map_err(|_| SessionError::Cookie("it does not fit a header"))
    }
}
