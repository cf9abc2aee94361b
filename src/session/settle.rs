//! What the response has to say of the session, once its changes are stored.

use std::ops::ControlFlow;

use http::HeaderValue;

use super::{
    CookiePolicy, Session, SessionError,
    commit::Commit,
    engine::Engine,
    state::{Fate, Phase, State},
    steps::Step,
};
use crate::store::SetCookies;

/// The session's part of a response.
#[derive(Debug)]
pub(crate) struct Settled {
    /// The `Set-Cookie` line of the id to append.
    pub(crate) cookie: Option<HeaderValue>,
    /// Those of a client-side store. Boxed, since most stores have none.
    pub(crate) data: Option<Box<SetCookies>>,
    /// The response may depend on the session.
    pub(crate) accessed: bool,
    /// The handler's response is not to be trusted.
    pub(crate) failure: Option<Failure>,
}

impl Settled {
    /// There is nothing to tell.
    const fn failed(failure: Failure) -> Self {
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
pub(crate) enum Failure {
    /// The session does not fit where it is kept.
    TooLarge,
    /// It could not be read or stored.
    Unavailable,
}

impl Failure {
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
pub(crate) enum Closing {
    /// Nothing: there was nothing to store.
    Settled(Settled),
    /// The store has to be asked.
    Storing(Commit),
}

/// What to do about the cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CookieWork {
    Nothing,
    Send,
    Remove,
}

impl Session {
    /// Begins the commit at the end of a request: nothing can be changed after it.
    pub(crate) fn close(self) -> Closing {
        let closed = self.state().close(&self.engine);
        match closed {
            ControlFlow::Continue(step) => Closing::Storing(Commit::resume(self, step)),
            ControlFlow::Break(settled) => {
                self.retire();
                Closing::Settled(settled)
            }
        }
    }

    /// Whether the session could not be opened, so that the response is not to be trusted.
    pub(crate) fn has_failed(&self) -> bool {
        self.state().phase == Phase::Failed
    }

    /// What to tell the browser, after the last commit.
    pub(super) fn settle(self, done: Result<(), SessionError>) -> Settled {
        let settled = self.state().settle(&self.engine, done);
        self.retire();
        settled
    }
}

impl State {
    /// The last commit's first step, or the end where nothing is to be stored.
    fn close(&mut self, engine: &Engine) -> ControlFlow<Settled, Step> {
        if self.phase == Phase::Failed {
            return ControlFlow::Break(Settled::failed(Failure::Unavailable));
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

    fn settle(&mut self, engine: &Engine, done: Result<(), SessionError>) -> Settled {
        match done.and_then(|()| self.tell(engine)) {
            Ok(settled) => settled,
            Err(error) => self.settle_failed(engine, Failure::of(&error)),
        }
    }

    /// Not all is stored. What stands all the same is told.
    #[cold]
    fn settle_failed(&mut self, engine: &Engine, failure: Failure) -> Settled {
        self.phase = Phase::Closed;
        let told = self.fall_back().then(|| self.tell(engine));
        match told {
            Some(Ok(settled)) => Settled {
                failure: Some(failure),
                ..settled
            },
            _ => Settled::failed(failure),
        }
    }

    fn tell(&mut self, engine: &Engine) -> Result<Settled, SessionError> {
        let data = self.data_cookies(engine)?;
        let cookie = match self.cookie_work(engine) {
            CookieWork::Nothing => None,
            CookieWork::Remove => Some(engine.set_cookie.removal()),
            CookieWork::Send => Some(self.cookie(engine)?),
        };
        Ok(Settled {
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
            (Fate::Moved, None) => true,
            (Fate::Ended, None) => false,
            _ => self.is_retired(engine),
        }
    }

    /// The one place that decides what happens to the visitor's cookie.
    fn cookie_work(&self, engine: &Engine) -> CookieWork {
        let stored = self.version.is_some();
        match (self.fate, engine.policy.cookie) {
            _ if self.is_silent(engine) => CookieWork::Nothing,
            (Fate::Ended, _) if !stored => CookieWork::Remove,
            (_, CookiePolicy::Rolling) => CookieWork::Send,
            (_, CookiePolicy::WhenUsed) if self.identity.is_news(stored) => CookieWork::Send,
            (_, CookiePolicy::WhenUsed) => CookieWork::Nothing,
        }
    }

    /// Whether the id that the request carried, and still goes by, died while it ran.
    fn is_retired(&self, engine: &Engine) -> bool {
        let key = self.identity.key().filter(|_| self.identity.carried);
        key.is_some_and(|key| engine.retired.holds(&key))
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
