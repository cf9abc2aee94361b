//! Calls that go out together.
//!
//! The client underneath writes each command of ours to the socket by itself, and the server
//! answers it by itself: with many requests at once, most of the work on both sides is system calls.
//! So calls of one kind that come at about the same time are asked in one command.

use std::{
    mem::take,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{runtime::Handle, sync::oneshot, task::yield_now, time::sleep};

use super::{
    Link,
    call::{Call, Miss, Reply, replies, wants_single},
    left, lock, miss_before_sending,
};
use crate::store::redis::TransientError;

/// How many calls go together at most: the server does nothing else meanwhile.
pub(super) const MOST: usize = 64;

/// With this many bytes nothing more comes along.
const FULL: usize = 64 << 10;

/// Bounds of the time after which a departure is too late, whatever the command timeout is.
const LEAST: Duration = Duration::from_millis(10);
const MOST_PATIENT: Duration = Duration::from_secs(60);

/// What becomes of a call that went with others.
enum Outcome {
    Answered(Result<Reply, Miss>),
    /// Together with others it has no clear answer, and nothing was done. It has to be asked alone.
    Alone(Call),
}

/// A call, who wants to know what becomes of it, and until when.
struct Waiting {
    call: Call,
    outcome: oneshot::Sender<Outcome>,
    end: Instant,
}

/// What goes out with the next departure.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Vec<Waiting>,
    /// When the first of those who wait came. The command timeout is to be over before any call's end.
    since: Option<Instant>,
}

/// Calls that join with each other.
struct Convoy {
    calls: Vec<Call>,
    outcomes: Vec<oneshot::Sender<Outcome>>,
    size: usize,
    /// The first that one of them has.
    end: Instant,
}

impl Convoy {
    fn of(first: Waiting) -> Self {
        let mut convoy = Self {
            calls: Vec::new(),
            outcomes: Vec::new(),
            size: 0,
            end: first.end,
        };
        convoy.add(first);
        convoy
    }

    fn takes(&self, call: &Call) -> bool {
        let open = self.calls.len() < MOST && self.size < FULL;
        open && self.calls.first().is_some_and(|own| own.joins_with(call))
    }

    fn add(&mut self, one: Waiting) {
        let Waiting { call, outcome, end } = one;
        self.end = self.end.min(end);
        self.size += call.size();
        self.calls.push(call);
        self.outcomes.push(outcome);
    }
}

impl Link {
    /// One attempt at a call, together with others that come now, given up at `end`; the command
    /// timeout is to be over before that.
    pub(super) async fn attempt_with_others(
        self: &Arc<Self>,
        call: Call,
        end: Instant,
        runtime: &Handle,
    ) -> Result<Reply, Miss> {
        let (outcome, told) = oneshot::channel();
        if self.wait(Waiting { call, outcome, end }) {
            runtime.spawn(depart(Departure(Some(Arc::clone(self)))));
        }
        match told.await {
            Ok(Outcome::Answered(reply)) => reply,
            Ok(Outcome::Alone(call)) => Box::pin(self.attempt_alone(call, end)).await,
            Err(_) => {
                let (fault, sent) = (TransientError::Broken, true);
                Err(Miss::TransientError { fault, sent })
            }
        }
    }

    /// Whether nobody else waits yet, so that a departure is to be made.
    fn wait(&self, new: Waiting) -> bool {
        let mut queue = lock(&self.queue);
        let is_first = queue.waiting.is_empty();
        if is_first {
            queue.since = Some(Instant::now());
        }
        let waiting = &mut queue.waiting;
        // Where nothing departs, because the runtime stands still, those who gave up make room.
        if waiting.len() == waiting.capacity() {
            waiting.retain(|one| !one.outcome.is_closed());
        }
        waiting.push(new);
        is_first
    }

    /// Tells those who wait for a departure that does not come to try again, before their time is
    /// over: what a program does on a worker thread without end holds up the departures that this
    /// thread is to make, while the others go on.
    pub(super) async fn mind_departures(self: Arc<Self>) {
        loop {
            sleep(self.give_up_late()).await;
        }
    }

    /// How long it is until those who wait, or come at once, would have waited too long.
    fn give_up_late(&self) -> Duration {
        let most = self.patience.clamp(LEAST, MOST_PATIENT);
        let mut queue = lock(&self.queue);
        let since = queue.since.filter(|_| !queue.waiting.is_empty());
        let rest = since.map_or(most, |since| most.saturating_sub(since.elapsed()));
        if !rest.is_zero() {
            return rest;
        }
        let late = take(&mut queue.waiting);
        drop(queue);
        tell_unsent(late);
        most
    }

    async fn carry(&self, convoy: Convoy) {
        let time = left(convoy.end).min(self.patience);
        let Convoy {
            calls, outcomes, ..
        } = convoy;
        let (many, mut singly) = (calls.len() > 1, false);
        let replies = match self.exchange(&calls, time).await {
            Ok(frame) => {
                singly = many && wants_single(&calls, &frame);
                replies(&calls, frame)
            }
            Err(miss) => calls.iter().map(|_| Err(miss.clone())).collect(),
        };
        for ((call, outcome), reply) in calls.into_iter().zip(outcomes).zip(replies) {
            // `MGET` says the same of a value that is no string as of none.
            let is_unclear = many && call.is_get() && matches!(reply, Ok(Reply::Nothing));
            tell(
                outcome,
                match singly || is_unclear {
                    true => Outcome::Alone(call),
                    false => Outcome::Answered(reply),
                },
            );
        }
    }
}

/// Who does not wait any more need not know.
fn tell(who: oneshot::Sender<Outcome>, outcome: Outcome) {
    let _given_up = who.send(outcome);
}

fn tell_unsent(all: Vec<Waiting>) {
    for Waiting { outcome, .. } in all {
        tell(outcome, Outcome::Answered(Err(miss_before_sending())));
    }
}

/// The departure of those who wait. Where it does not come to it, because the runtime has ended, they
/// are told so.
struct Departure(Option<Arc<Link>>);

impl Departure {
    /// Who goes along, and on which link.
    fn leave(mut self) -> Option<(Arc<Link>, Vec<Waiting>)> {
        let link = self.0.take()?;
        let waiting = take(&mut lock(&link.queue).waiting);
        Some((link, waiting))
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        let Some(link) = self.0.take() else {
            return;
        };
        let waiting = take(&mut lock(&link.queue).waiting);
        tell_unsent(waiting);
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
        if one.outcome.is_closed() {
            continue;
        }
        match convoys.iter_mut().rev().find(|c| c.takes(&one.call)) {
            Some(convoy) => convoy.add(one),
            None => convoys.push(Convoy::of(one)),
        }
    }
    join_all(convoys.into_iter().map(|convoy| link.carry(convoy))).await;
}
