//! Calls that go out together.
//!
//! The client underneath writes each command of ours to the socket by itself, and the server
//! answers it by itself: with many requests at once, most of the work on both sides is system calls.
//! So calls of one kind that come at about the same time are asked in one command.

use std::{mem::take, sync::Arc};

use futures_util::future::join_all;
use tokio::{runtime::Handle, sync::oneshot, task::yield_now};

use super::{
    Link,
    call::{Call, Miss, Reply, replies, wants_single},
    lock, miss_before_sending,
};
use crate::store::redis::Fault;

/// How many calls go together at most: the server does nothing else meanwhile.
pub(super) const MOST: usize = 32;

/// With this many bytes nothing more comes along.
const FULL: usize = 64 << 10;

/// A call, and who wants the answer.
pub(super) struct Waiting {
    call: Call,
    answer: oneshot::Sender<Result<Reply, Miss>>,
}

/// Calls that join with each other.
#[derive(Default)]
struct Convoy {
    calls: Vec<Call>,
    answers: Vec<oneshot::Sender<Result<Reply, Miss>>>,
    size: usize,
}

impl Convoy {
    fn takes(&self, call: &Call) -> bool {
        let open = self.calls.len() < MOST && self.size < FULL;
        open && self.calls.first().is_some_and(|own| own.joins_with(call))
    }

    fn add(&mut self, Waiting { call, answer }: Waiting) {
        self.size += call.size();
        self.calls.push(call);
        self.answers.push(answer);
    }
}

impl Link {
    /// One attempt at a call, together with others that come now.
    pub(super) async fn attempt_with_others(
        self: &Arc<Self>,
        call: Call,
        runtime: &Handle,
    ) -> Result<Reply, Miss> {
        let (answer, answered) = oneshot::channel();
        if self.wait(Waiting { call, answer }) {
            runtime.spawn(depart(Departure(Some(Arc::clone(self)))));
        }
        let (fault, sent) = (Fault::Broken, true);
        answered.await.unwrap_or(Err(Miss::Fault { fault, sent }))
    }

    /// Whether nobody else waits yet, so that a departure is to be made.
    fn wait(&self, new: Waiting) -> bool {
        let mut waiting = lock(&self.waiting);
        let is_first = waiting.is_empty();
        // Where nothing departs, because the runtime stands still, those who gave up make room.
        if waiting.len() == waiting.capacity() {
            waiting.retain(|one| !one.answer.is_closed());
        }
        waiting.push(new);
        is_first
    }

    async fn carry(&self, Convoy { calls, answers, .. }: Convoy) {
        let (many, mut singly) = (calls.len() > 1, false);
        let replies = match self.exchange(&calls, self.patience).await {
            Ok(frame) => {
                singly = many && wants_single(&calls, &frame);
                replies(&calls, frame)
            }
            Err(miss) => calls.iter().map(|_| Err(miss.clone())).collect(),
        };
        let mut unclear = Vec::new();
        for ((call, answer), reply) in calls.into_iter().zip(answers).zip(replies) {
            // `MGET` says the same of a value that is no string as of none.
            let is_unclear = many && call.is_get() && matches!(reply, Ok(Reply::Nothing));
            if singly || is_unclear {
                unclear.push((call, answer));
            } else {
                give(answer, reply);
            }
        }
        join_all(unclear.into_iter().map(|(call, answer)| async move {
            give(answer, self.attempt_alone(call, self.patience).await);
        }))
        .await;
    }
}

/// Who does not wait any more needs no answer.
fn give(answer: oneshot::Sender<Result<Reply, Miss>>, reply: Result<Reply, Miss>) {
    let _given_up = answer.send(reply);
}

/// The departure of those who wait. Where it does not come to it, because the runtime has ended, they
/// are told so.
struct Departure(Option<Arc<Link>>);

impl Departure {
    /// Who goes along, and on which link.
    fn leave(mut self) -> Option<(Arc<Link>, Vec<Waiting>)> {
        let link = self.0.take()?;
        let waiting = take(&mut *lock(&link.waiting));
        Some((link, waiting))
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        let Some(link) = self.0.take() else {
            return;
        };
        for Waiting { answer, .. } in take(&mut *lock(&link.waiting)) {
            give(answer, Err(miss_before_sending()));
        }
    }
}

/// Sends what waits, once every task that is ready has had its turn and so its chance to come along,
/// and those as well that what has just arrived makes ready. A task of its own, so that it does not
/// depend on how the one that came first is polled.
async fn depart(departure: Departure) {
    yield_now().await;
    yield_now().await;
    let Some((link, waiting)) = departure.leave() else {
        return;
    };
    let mut convoys: Vec<Convoy> = Vec::new();
    for one in waiting {
        if one.answer.is_closed() {
            continue;
        }
        match convoys.iter_mut().rev().find(|c| c.takes(&one.call)) {
            Some(convoy) => convoy.add(one),
            None => {
                let mut convoy = Convoy::default();
                convoy.add(one);
                convoys.push(convoy);
            }
        }
    }
    join_all(convoys.into_iter().map(|convoy| link.carry(convoy))).await;
}
