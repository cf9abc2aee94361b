//! The future of a request: run the handler, commit the session, set the cookies.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use pin_project_lite::pin_project;

use super::{
    body::SessionBody,
    response::{finish_response, service_unavailable},
};
use crate::{
    completion::panic_after_completion,
    session::{Commit, FinalCommit, Session},
};

pin_project! {
    /// The future of a service wrapped in [`Sessions`](super::Sessions). It does not allocate.
    ///
    /// It panics if it is polled after completion.
    #[must_use = "futures do nothing unless polled"]
    pub struct SessionFuture<F, B> {
        #[pin]
        stage: SessionStage<F, B>,
    }
}

pin_project! {
    #[project = SessionStageProj]
    #[project_replace = OwnedSessionStage]
    enum SessionStage<F, B> {
        Handling { #[pin] inner: F, session: Session },
        Committing { commit: Commit, response: Response<B> },
        Completed,
    }
}

impl<F, B> SessionFuture<F, B> {
    pub(super) const fn new(inner: F, session: Session) -> Self {
        Self {
            stage: SessionStage::Handling { inner, session },
        }
    }
}

impl<F, B, E> Future for SessionFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<SessionBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut stage = self.project().stage;
        if let SessionStageProj::Handling { inner, .. } = stage.as_mut().project() {
            let result = ready!(inner.poll(cx));
            let handled = stage.as_mut().project_replace(SessionStage::Completed);
            let OwnedSessionStage::Handling { session, .. } = handled else {
                panic_after_completion("SessionFuture");
            };
            let response = match result {
                Ok(response) => response,
                Err(_) if session.has_failed() => return Poll::Ready(Ok(service_unavailable())),
                // Without a response, no change was acknowledged. Store nothing.
                Err(error) => return Poll::Ready(Err(error)),
            };
            match session.begin_final_commit() {
                FinalCommit::Done(outcome) => {
                    return Poll::Ready(Ok(finish_response(response, outcome)));
                }
                FinalCommit::Pending(commit) => {
                    stage.set(SessionStage::Committing { commit, response });
                }
            }
        }
        if let SessionStageProj::Committing { commit, .. } = stage.as_mut().project() {
            let result = ready!(Pin::new(commit).poll(cx));
            let committed = stage.project_replace(SessionStage::Completed);
            if let OwnedSessionStage::Committing { commit, response } = committed {
                let outcome = commit.into_outcome(result);
                return Poll::Ready(Ok(finish_response(response, outcome)));
            }
        }
        panic_after_completion("SessionFuture")
    }
}

impl<F, B> std::fmt::Debug for SessionFuture<F, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.stage {
            SessionStage::Handling { .. } => "SessionFuture::Handling",
            SessionStage::Committing { .. } => "SessionFuture::Committing",
            SessionStage::Completed => "SessionFuture::Completed",
        })
    }
}
