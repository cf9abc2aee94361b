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
use crate::session::{Commit, Session};

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
            if session.has_failed() {
                return Poll::Ready(Ok(unavailable()));
            }
            let response = match answer {
                Ok(response) => Some(response),
                // Without a response nothing is acknowledged, so nothing is stored.
                Err(error) => return Poll::Ready(Err(error)),
            };
            let commit = Some(session.commit_last());
            this.stage.set(Stage::Committing { commit, response });
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
        let session = commit.into_session();
        let settled = committed.and_then(|()| session.settle());
        session.retire();
        Poll::Ready(Ok(match settled {
            Ok(settled) => finish(response, settled),
            Err(_) => unavailable(),
        }))
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
