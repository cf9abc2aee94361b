//! The life of a response: the handler answers, the session is committed, the cookie goes along.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Response;
use pin_project_lite::pin_project;

use super::{
    body::SessionBody,
    response::{finish, unavailable},
};
use crate::session::{Commit, FinalCommit, Session};

pin_project! {
    /// The response of a wrapped service. No box is allocated for it.
    #[must_use = "a response comes when this is awaited"]
    pub struct SessionFuture<F, B> {
        #[pin]
        stage: Stage<F, B>,
    }
}

pin_project! {
    #[project = StageProj]
    enum Stage<F, B> {
        Handling { #[pin] inner: F, session: Option<Session> },
        Committing { commit: Option<Commit>, response: Option<Response<B>> },
    }
}

impl<F, B> SessionFuture<F, B> {
    pub(super) const fn new(inner: F, session: Session) -> Self {
        Self {
            stage: Stage::Handling {
                inner,
                session: Some(session),
            },
        }
    }
}

impl<F, B, E> Future for SessionFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<SessionBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let StageProj::Handling { inner, session } = this.stage.as_mut().project() {
            let answer = ready!(inner.poll(cx));
            let Some(session) = session.take() else {
                return Poll::Pending;
            };
            let response = match answer {
                Ok(response) => response,
                Err(_) if session.has_failed() => return Poll::Ready(Ok(unavailable())),
                // Without a response nothing is acknowledged, so nothing is stored.
                Err(error) => return Poll::Ready(Err(error)),
            };
            match session.begin_final_commit() {
                FinalCommit::Done(outcome) => return Poll::Ready(Ok(finish(response, outcome))),
                FinalCommit::Pending(commit) => {
                    let (commit, response) = (Some(commit), Some(response));
                    this.stage.set(Stage::Committing { commit, response });
                }
            }
        }
        let StageProj::Committing { commit, response } = this.stage.project() else {
            return Poll::Pending;
        };
        let Some(committing) = commit else {
            return Poll::Pending;
        };
        let committed = ready!(Pin::new(committing).poll(cx));
        let (Some(commit), Some(response)) = (commit.take(), response.take()) else {
            return Poll::Pending;
        };
        Poll::Ready(Ok(finish(response, commit.into_outcome(committed))))
    }
}

impl<F, B> std::fmt::Debug for SessionFuture<F, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.stage {
            Stage::Handling { .. } => "SessionFuture::Handling",
            Stage::Committing { .. } => "SessionFuture::Committing",
        })
    }
}
