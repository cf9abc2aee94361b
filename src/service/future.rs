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
    layer_session::{LayerSession, SessionLayerConflict},
    response::{finish_response, finish_without_cookie, layer_conflict, session_failure},
};
use crate::{
    completion::panic_after_completion,
    session::{Commit, FinalCommit},
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
    enum SessionStage<F, B> {
        // The options are taken when the stage ends. Replacing the stage would move the inner future.
        Handling { #[pin] inner: F, session: Option<LayerSession> },
        Committing { commit: Option<Commit>, response: Option<Response<B>> },
        Refusing { conflict: Option<SessionLayerConflict> },
    }
}

impl<F, B> SessionFuture<F, B> {
    #[inline]
    pub(super) const fn new(inner: F, session: LayerSession) -> Self {
        Self {
            stage: SessionStage::Handling {
                inner,
                session: Some(session),
            },
        }
    }

    /// Returns a future that does not call the inner service.
    #[inline]
    pub(super) const fn refuse(conflict: SessionLayerConflict) -> Self {
        Self {
            stage: SessionStage::Refusing {
                conflict: Some(conflict),
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
        if let SessionStageProj::Handling { inner, session } = this.stage.as_mut().project() {
            if session.is_none() {
                panic_after_completion("SessionFuture");
            }
            let mut polled = inner.poll(cx);
            // A response is moved as late as possible, since each move copies about 150 bytes.
            let status = match &polled {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(response)) => Some(response.status()),
                Poll::Ready(Err(_)) => None,
            };
            let committed = match (session.take(), status) {
                (Some(LayerSession::Own(own)), Some(status)) => own.begin_final_commit(status),
                // Without a response, no change was acknowledged. Store nothing.
                (Some(LayerSession::Own(own)), None) => match own.take_load_error() {
                    Some(error) => return Poll::Ready(Ok(session_failure(*error))),
                    None => FinalCommit::unused(),
                },
                (Some(LayerSession::Outer(_)), _) => FinalCommit::unused(),
                (None, _) => panic_after_completion("SessionFuture"),
            };
            match committed {
                FinalCommit::WithoutCookie { accessed, changed } => {
                    if let Poll::Ready(Ok(response)) = &mut polled {
                        finish_without_cookie(response.headers_mut(), accessed, changed);
                    }
                    return polled.map_ok(|response| response.map(SessionBody::new));
                }
                FinalCommit::Done(outcome) => {
                    return polled.map_ok(|response| finish_response(response, outcome));
                }
                FinalCommit::Pending(commit) => {
                    let response = ready!(polled)?;
                    let (commit, response) = (Some(commit), Some(response));
                    this.stage
                        .set(SessionStage::Committing { commit, response });
                }
            }
        }
        match this.stage.project() {
            SessionStageProj::Committing { commit, response } => {
                if let Some(committing) = commit {
                    let result = ready!(Pin::new(committing).poll(cx));
                    if let (Some(commit), Some(response)) = (commit.take(), response.take()) {
                        let outcome = commit.into_outcome(result);
                        return Poll::Ready(Ok(finish_response(response, outcome)));
                    }
                }
            }
            SessionStageProj::Refusing { conflict } => {
                if let Some(conflict) = conflict.take() {
                    return Poll::Ready(Ok(layer_conflict(conflict)));
                }
            }
            SessionStageProj::Handling { .. } => {}
        }
        panic_after_completion("SessionFuture")
    }
}

impl<F, B> std::fmt::Debug for SessionFuture<F, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.stage {
            SessionStage::Handling { .. } => "SessionFuture::Handling",
            SessionStage::Committing { .. } => "SessionFuture::Committing",
            SessionStage::Refusing { .. } => "SessionFuture::Refusing",
        })
    }
}
