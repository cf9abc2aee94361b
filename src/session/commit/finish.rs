//! What the response has to say of the session, once its changes are stored.

use std::ops::ControlFlow;

use http::HeaderValue;

use super::step::Step;
use crate::session::{
    CookiePolicy, Session, SessionError,
    commit::Commit,
    engine::Engine,
    state::{IdStatus, Phase, State},
};
use crate::store::SetCookies;

/// The session's part of a response.
#[derive(Debug)]
pub(crate) struct SessionOutcome {
    /// The `Set-Cookie` line of the id to append.
    pub(crate) cookie: Option<HeaderValue>,
    /// Those of a client-side store. Boxed, since most stores have none.
    pub(crate) data: Option<Box<SetCookies>>,
    /// The response may depend on the session.
    pub(crate) accessed: bool,
    /// The handler's response is not to be trusted.
    pub(crate) failure: Option<SessionFailure>,
}

impl SessionOutcome {
    /// There is nothing to tell.
    const fn failed(failure: SessionFailure) -> Self {
        Self {
            cookie: None,
            data: None,
            accessed: false,
            failure: Some(failure),
        }
    }
}

/// Why a response is replaced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SessionFailure {
    /// The session does not fit where it is kept.
    TooLarge,
    /// It could not be read or stored.
    Unavailable,
}

impl SessionFailure {
    const fn of(error: &SessionError) -> Self {
        if error.is_too_large() {
            Self::TooLarge
        } else {
            Self::Unavailable
        }
    }
}

/// What is left to do when the handler has answered.
#[derive(Debug)]
pub(crate) enum FinalCommit {
    /// Nothing: there was nothing to store.
    Done(SessionOutcome),
    /// The store has to be asked.
    Pending(Commit),
}

/// What to do about the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CookieAction {
    Nothing,
    Send,
    Remove,
}

impl Session {
    /// Begins the commit at the end of a request: nothing can be changed after it.
    pub(crate) fn begin_final_commit(self) -> FinalCommit {
        let closed = self.state().close(&self.engine);
        match closed {
            ControlFlow::Continue(step) => FinalCommit::Pending(Commit::resume(self, step)),
            ControlFlow::Break(settled) => {
                self.recycle();
                FinalCommit::Done(settled)
            }
        }
    }

    /// Whether the session could not be opened, so that the response is not to be trusted.
    pub(crate) fn has_failed(&self) -> bool {
        self.state().phase == Phase::Failed
    }

    /// What to tell the browser, after the last commit.
    pub(in crate::session) fn settle(self, done: Result<(), SessionError>) -> SessionOutcome {
        let settled = self.state().settle(&self.engine, done);
        self.recycle();
        settled
    }
}

impl State {
    /// The last commit's first step, or the end where nothing is to be stored.
    fn close(&mut self, engine: &Engine) -> ControlFlow<SessionOutcome, Step> {
        if self.phase == Phase::Failed {
            return ControlFlow::Break(SessionOutcome::failed(SessionFailure::Unavailable));
        }
        match self.decide(engine, true) {
            Ok(Step::Done) => {
                self.finish(engine, 0, true);
                ControlFlow::Break(self.settle(engine, Ok(())))
            }
            Ok(step) => ControlFlow::Continue(step),
            Err(error) => {
                let error = engine.report(error);
                ControlFlow::Break(self.settle(engine, Err(error)))
            }
        }
    }

    fn settle(&mut self, engine: &Engine, done: Result<(), SessionError>) -> SessionOutcome {
        match done.and_then(|()| self.tell(engine)) {
            Ok(settled) => settled,
            Err(error) => self.settle_failed(engine, SessionFailure::of(&error)),
        }
    }

    /// Not all is stored. What stands all the same is told.
    #[cold]
    fn settle_failed(&mut self, engine: &Engine, failure: SessionFailure) -> SessionOutcome {
        self.phase = Phase::Closed;
        let told = self.fall_back().then(|| self.tell(engine));
        match told {
            Some(Ok(settled)) => SessionOutcome {
                failure: Some(failure),
                ..settled
            },
            _ => SessionOutcome::failed(failure),
        }
    }

    fn tell(&mut self, engine: &Engine) -> Result<SessionOutcome, SessionError> {
        let data = self.data_cookies(engine)?;
        let cookie = match self.cookie_work(engine) {
            CookieAction::Nothing => None,
            CookieAction::Remove => Some(engine.set_cookie.removal()),
            CookieAction::Send => Some(self.cookie(engine)?),
        };
        Ok(SessionOutcome {
            cookie,
            data,
            accessed: self.accessed && engine.policy.enabled,
            failure: None,
        })
    }

    /// What a client-side store has to say, if it was asked.
    fn data_cookies(&self, engine: &Engine) -> Result<Option<Box<SetCookies>>, SessionError> {
        if !self.is_attached() {
            return Ok(None);
        }
        self.tell_rejected(engine);
        if self.is_silent(engine) {
            return Ok(None);
        }
        let set = self.outgoing().map_err(|error| engine.report(error))?;
        Ok((!set.is_empty()).then(|| Box::new(set)))
    }

    /// Whether the browser is to keep the cookies it has, whatever they are.
    fn is_silent(&self, engine: &Engine) -> bool {
        match (self.fate, self.version) {
            _ if !engine.policy.enabled => true,
            // Another response carries the new id and may have arrived already. Unless this request
            // stored something of its own, whatever was said here could undo that.
            (IdStatus::Regenerated, None) => true,
            (IdStatus::Destroyed, None) => false,
            _ => self.is_retired(engine),
        }
    }

    /// The one place that decides what happens to the visitor's cookie.
    fn cookie_work(&self, engine: &Engine) -> CookieAction {
        let stored = self.version.is_some();
        match (self.fate, engine.policy.cookie) {
            _ if self.is_silent(engine) => CookieAction::Nothing,
            (IdStatus::Destroyed, _) if !stored => CookieAction::Remove,
            (_, CookiePolicy::Rolling) => CookieAction::Send,
            (_, CookiePolicy::WhenUsed) if self.identity.is_news(stored) => CookieAction::Send,
            (_, CookiePolicy::WhenUsed) => CookieAction::Nothing,
        }
    }

    /// Whether the id that the request carried, and still goes by, died while it ran.
    fn is_retired(&self, engine: &Engine) -> bool {
        let key = self.identity.key().filter(|_| self.identity.carried);
        key.is_some_and(|key| engine.dead_keys.contains(&key))
    }

    fn cookie(&mut self, engine: &Engine) -> Result<HeaderValue, SessionError> {
        let age = (!engine.policy.clear_with_browser).then_some(engine.policy.age);
        let text = self.identity.text(engine)?;
        engine
            .set_cookie
            .set(text, age)
            .map_err(|_| SessionError::Cookie("it does not fit a header"))
    }
}
