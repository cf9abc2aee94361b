//! An operation: attempts at a command until one is answered, the time is over, or another attempt
//! could do harm.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{
    RedisError, RedisStats, TransientError,
    builder::Settings,
    client::{Call, Client, Miss, Reply},
    keys::Names,
    outage::Watch,
    versions::Versions,
};
use crate::id::StoreKey;

/// What all clones of a store share.
pub(super) struct Engine {
    pub(super) settings: Settings,
    pub(super) names: Names,
    pub(super) versions: Versions,
    pub(super) client: Client,
    /// How many operations are under way; at most `settings.max_in_flight`.
    in_flight: AtomicUsize,
    repeated: AtomicU64,
    watch: Watch,
}

/// Whether a command may be sent again when it may have been carried out already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Doing it twice is the same as once, or a second time is told from the first.
    Freely,
    /// Doing it a second time could undo what others did in between.
    Never,
}

/// The answer to an operation.
pub(super) struct Answer {
    pub(super) reply: Reply,
    /// An earlier attempt may have been carried out, its answer was lost this way.
    pub(super) lost: Option<TransientError>,
    /// The link that answered.
    turn: usize,
}

/// One place of the operations under way.
struct Place<'e>(&'e AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Engine {
    pub(super) fn new(client: Client, names: Names, settings: Settings) -> Self {
        Self {
            settings,
            names,
            versions: Versions::new(),
            client,
            in_flight: AtomicUsize::new(0),
            repeated: AtomicU64::new(0),
            watch: Watch::default(),
        }
    }

    /// The answer to what `call` makes, which is made anew for each attempt.
    pub(super) async fn answer(
        &self,
        repeat: Repeat,
        call: impl Fn() -> Call,
    ) -> Result<Answer, RedisError> {
        let time = self.settings.operation_timeout;
        self.operate(call, repeat, time).await
    }

    /// The reply to a call that may be repeated freely.
    pub(super) async fn ask(&self, call: impl Fn() -> Call) -> Result<Reply, RedisError> {
        let answer = self.answer(Repeat::Freely, call).await;
        answer.map(|answer| answer.reply)
    }

    pub(super) fn stats(&self) -> RedisStats {
        RedisStats {
            in_flight: self.in_flight.load(Relaxed),
            repeated: self.repeated.load(Relaxed),
            outages: self.watch.outages(),
        }
    }

    /// Waits until the server answers.
    pub(super) async fn ready(&self) -> Result<(), RedisError> {
        let call = || Call::new("EXISTS", self.names.tag(""), []);
        self.operate(call, Repeat::Freely, self.settings.startup_timeout)
            .await
            .map(drop)
    }

    /// Waits until as many replicas as wanted have what the link of `answer` wrote under `key`.
    pub(super) async fn replicated(
        &self,
        answer: &Answer,
        key: &StoreKey,
    ) -> Result<(), RedisError> {
        match self.settings.replicas {
            0 => Ok(()),
            wanted => Box::pin(self.confirmed(wanted, answer.turn, key)).await,
        }
    }

    async fn confirmed(&self, wanted: u32, turn: usize, key: &StoreKey) -> Result<(), RedisError> {
        let patience = self.settings.patience();
        let millis = (patience / 2).as_millis().max(1);
        let call = Call::wait(wanted, millis, self.names.session(key));
        let end = after(patience);
        let confirmed = match self.client.attempt(turn, call, end, 0).await {
            Ok(Reply::Number(confirmed)) => confirmed,
            Ok(_) => return Err(RedisError::Unexpected),
            Err(Miss::Final(error)) => return Err(error),
            Err(_) => 0,
        };
        match confirmed >= i64::from(wanted) {
            true => Ok(()),
            false => Err(RedisError::Unreplicated { confirmed, wanted }),
        }
    }

    async fn operate(
        &self,
        call: impl Fn() -> Call,
        repeat: Repeat,
        time: Duration,
    ) -> Result<Answer, RedisError> {
        self.client.start()?;
        let _place = self.take_place()?;
        let answer = self.attempts(call, repeat, time).await;
        let unheard = answer.as_ref().err().and_then(RedisError::outage);
        let outage = match unheard {
            Some(last) => self.watch.failed(last),
            // The server has answered, if only to refuse.
            None => self.watch.succeeded(),
        };
        if let Some(outage) = outage {
            (self.settings.on_outage)(&outage);
        }
        answer
    }

    fn take_place(&self) -> Result<Place<'_>, RedisError> {
        let place = Place(&self.in_flight);
        let limit = self.settings.max_in_flight;
        match self.in_flight.fetch_add(1, Relaxed) < limit {
            true => Ok(place),
            false => Err(RedisError::Overloaded { limit }),
        }
    }

    async fn attempts(
        &self,
        call: impl Fn() -> Call,
        repeat: Repeat,
        time: Duration,
    ) -> Result<Answer, RedisError> {
        let end = after(time);
        let (mut lost, mut last) = (None, None);
        for attempt in 0_u32.. {
            let turn = self.client.turn(last);
            last = Some(turn);
            let busy = self.in_flight.load(Relaxed);
            let (fault, sent) = match self.client.attempt(turn, call(), end, busy).await {
                Ok(reply) => return Ok(Answer { reply, lost, turn }),
                Err(Miss::Final(error)) => return Err(error),
                Err(Miss::TransientError { fault, sent }) => (fault, sent),
            };
            if sent {
                lost = Some(fault);
            }
            if sent && repeat == Repeat::Never {
                return Err(RedisError::Unknown { last: fault });
            }
            let pause = self.pause(attempt);
            if end.saturating_duration_since(Instant::now()) <= pause {
                let (after, last) = (time, fault);
                return Err(RedisError::TimedOut { after, last });
            }
            self.repeated.fetch_add(1, Relaxed);
            sleep(pause).await;
        }
        Err(RedisError::Unexpected)
    }

    /// How long to wait before attempt number `attempt` + 1: doubling from 4 ms to 128 ms, of which
    /// a random half is left out so that requests which failed together do not come back together.
    fn pause(&self, attempt: u32) -> Duration {
        let most = 4_000_u64 << attempt.min(5);
        Duration::from_micros(most / 2 + self.versions.number() % (most / 2))
    }
}

/// The moment when this time will have passed; at most some years from now, which a clock can tell.
fn after(time: Duration) -> Instant {
    const MOST: Duration = Duration::from_secs(1 << 30);
    Instant::now() + time.min(MOST)
}
