//! The scheduler: runs the actors of a scenario, one store call at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{self, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use http::{HeaderMap, Request, StatusCode};
use hyper::service::Service;
use hyper_session::{
    Sessions,
    clock::{Clock, Timestamp},
    config::StoreRegistry,
    id::SessionId,
    session::{CookiePolicy, Event},
    store::{Expected, MemoryStore, Store, WriteRequest},
};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::{
    job::{job, listed_job, sign_out},
    reduction::{Context, SleepSet},
    schedule::Choices,
    script::{Actor, CommitResult, Entry, GRACE, History, Role, handle},
    store::{Control, Fault, HeldCall, HeldStore, ListOrder, Origin},
    support::{Jar, config},
};

/// The actors of a simulation, and the limits of its schedules.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) actors: Vec<Actor>,
    pub(crate) policy: CookiePolicy,
    /// The visitors' sessions are stored. Otherwise the visitors have only a first cookie.
    pub(crate) is_stored: bool,
    pub(crate) list_order: ListOrder,
    /// A renewal of the sessions is due.
    pub(crate) is_renewal_due: bool,
    /// Execution and answer of a call are one step.
    pub(crate) answers_at_once: bool,
    pub(crate) max_faults: usize,
    /// The number of times that the schedule may leave an actor that could continue.
    pub(crate) max_preemptions: usize,
}

/// The time after which every record has expired.
const EXPIRY: Duration = Duration::from_secs(24 * 3600);

/// The pause between two looks at a timer or another thread.
pub(crate) const PAUSE: Duration = Duration::from_micros(50);

/// Two processes that share a store, and a third one that only checks.
pub(crate) struct Machine {
    pub(crate) control: Control,
    pub(crate) inner: Arc<dyn Store>,
    pub(crate) checker: Sessions,
    pub(crate) history: History,
    pub(crate) clock: Clock,
    /// The store has the clock of the simulation.
    has_expiry: bool,
    rolling: [Sessions; 2],
    when_used: [Sessions; 2],
    /// Has the background tasks of the store, and never runs them.
    _idle: Runtime,
}

impl Machine {
    /// Returns a machine with a memory store, which shares the simulation's clock.
    pub(crate) fn new() -> Self {
        let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        let memory = MemoryStore::builder().clock(clock.clone()).build();
        Self::build(Arc::new(memory), clock, true)
    }

    /// Returns a machine with a store whose records never expire during a simulation.
    pub(crate) fn with_store(inner: Arc<dyn Store>) -> Self {
        let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        Self::build(inner, clock, false)
    }

    fn build(inner: Arc<dyn Store>, clock: Clock, has_expiry: bool) -> Self {
        let idle = Builder::new_current_thread().enable_time().build().unwrap();
        idle.block_on(async {
            let key = SessionId::generate().unwrap().store_key();
            let request = WriteRequest::new(&key, "first", EXPIRY, Expected::Absent);
            inner.write(request).await.unwrap();
        });
        let control = Control::default();
        let history = History::new(&control);
        let sessions = |number: usize, policy: CookiePolicy| {
            let history = history.clone();
            let store = HeldStore::new(number, &control, &inner);
            // No timeout may depend on the speed of the machine.
            let config = config()
                .cookie_policy(policy)
                .commit_timeout(Duration::from_secs(3600))
                .touch_timeout(Duration::from_secs(60));
            Sessions::builder(config.store("held"))
                .stores(StoreRegistry::new().register("held", store))
                .listener(move |event: &Event<'_>| history.record(event))
                .clock(clock.clone())
                .build()
                .unwrap()
        };
        let pair = |policy: CookiePolicy| [0, 1].map(|number| sessions(number, policy));
        Self {
            rolling: pair(CookiePolicy::Rolling),
            when_used: pair(CookiePolicy::WhenUsed),
            checker: sessions(2, CookiePolicy::Rolling),
            control,
            inner,
            history,
            clock,
            has_expiry,
            _idle: idle,
        }
    }

    /// Returns the sessions of one process.
    pub(crate) fn sessions(&self, scenario: &Scenario, process: usize) -> &Sessions {
        let processes = match scenario.policy {
            CookiePolicy::WhenUsed => &self.when_used,
            _ => &self.rolling,
        };
        &processes[process]
    }
}

/// The end of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending {
    /// The cookies that the request carried.
    pub(crate) jar: Jar,
    pub(crate) status: Option<StatusCode>,
    pub(crate) headers: HeaderMap,
    /// The step at which the actor ended.
    pub(crate) step: usize,
}

pub(crate) type RunningRequest = Pin<Box<dyn Future<Output = (StatusCode, HeaderMap)>>>;

/// An actor of a run.
pub(crate) struct RunningActor {
    /// `None` until the request begins.
    jar: Option<Jar>,
    pub(super) request: Option<RunningRequest>,
    wakeup: Arc<Wakeup>,
    pub(super) ending: Option<Ending>,
    /// A job waits for a session to get its new id, until the schedule ends the wait.
    pub(super) is_waiting: bool,
    /// Number of changes in the store before the last attempt of a job. The next attempt finds nothing new before
    /// the next change.
    pub(super) seen_changes: usize,
}

#[derive(Default)]
struct Wakeup(AtomicBool);

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A way to continue a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    Release(HeldCall, Option<Fault>),
    /// A job that waits for a new id reads the session again.
    EndWait(usize),
    Drop(usize),
    Advance(usize),
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Release(call, fault) => {
                let verb = match (call.is_executed, fault) {
                    (true, _) => "answer",
                    (false, None) => "execute",
                    (false, Some(Fault::NotExecuted)) => "fail",
                    (false, Some(Fault::AnswerLost)) => "execute and lose the answer of",
                };
                write!(f, "{verb} {} of {:?}", call.name, call.origin)
            }
            Self::EndWait(number) => write!(f, "end the wait of job {number}"),
            Self::Drop(number) => write!(f, "drop request {number}"),
            Self::Advance(_) => f.write_str("move the clock"),
        }
    }
}

/// The run of one schedule.
pub(crate) struct Schedule<'a> {
    pub(super) machine: &'a Machine,
    pub(super) scenario: &'a Scenario,
    /// The visitors' cookies.
    jars: &'a [Jar],
    pub(super) actors: Vec<RunningActor>,
    last: Option<Origin>,
    preemptions: usize,
    /// The conflicts that were answered to each origin.
    pub(super) conflicts: BTreeMap<Origin, u32>,
    pub(crate) faults: usize,
    /// The processes of which a call failed.
    pub(crate) failed_engines: BTreeSet<usize>,
    trace: Vec<Move>,
    asleep: SleepSet,
    /// The schedule repeats another one.
    pub(crate) is_redundant: bool,
}

impl<'a> Schedule<'a> {
    pub(crate) fn new(machine: &'a Machine, scenario: &'a Scenario, jars: &'a [Jar]) -> Self {
        *machine.history.lock() = vec![Vec::new(); scenario.actors.len()];
        let mut calls = machine.control.lock();
        (calls.step, calls.holds) = (0, true);
        calls.answers_at_once = scenario.answers_at_once;
        calls.list_order = scenario.list_order;
        calls.executed.clear();
        drop(calls);
        let actors = scenario.actors.iter().map(|_| RunningActor {
            jar: None,
            request: None,
            wakeup: Arc::new(Wakeup(AtomicBool::new(true))),
            ending: None,
            is_waiting: false,
            seen_changes: 0,
        });
        Self {
            jars,
            actors: actors.collect(),
            machine,
            scenario,
            last: None,
            preemptions: 0,
            conflicts: BTreeMap::new(),
            faults: 0,
            failed_engines: BTreeSet::new(),
            trace: Vec::new(),
            asleep: SleepSet::default(),
            is_redundant: false,
        }
    }

    /// Runs the schedule to its end, or until it repeats another one. Fails if a request never ends.
    pub(crate) async fn run(&mut self, choices: &mut Choices) -> Result<Vec<Ending>, String> {
        self.settle().await;
        loop {
            let moves = self.moves();
            if moves.is_empty() {
                if self.is_over() {
                    break;
                }
                if !self.end_hopeless_waits() {
                    self.wait().await?;
                }
                continue;
            }
            match self.choose(moves, choices) {
                Some(chosen) => self.make(chosen).await,
                None => return self.abandon().await,
            }
        }
        self.machine.control.lock().holds = false;
        let endings = self.actors.iter_mut().map(|actor| Ending {
            jar: actor.jar.take().unwrap_or_default(),
            ..actor.ending.take().unwrap_or_default()
        });
        Ok(endings.collect())
    }

    /// Returns the next move. Returns `None` if all moves sleep: the schedule repeats another one.
    fn choose(&mut self, mut moves: Vec<Move>, choices: &mut Choices) -> Option<Move> {
        if choices.reduces {
            moves.sort_by_key(|it| !matches!(it, Move::Release(call, _) if call.is_executed));
            self.asleep.filter(&mut moves);
        }
        if moves.is_empty() {
            return None;
        }
        let is_common = |it: &&Move| matches!(it, Move::Release(_, None) | Move::EndWait(_));
        let common = moves.iter().filter(is_common).count();
        let index = choices.choose(moves.len(), common);
        let context = Context {
            actors: &self.scenario.actors,
            answers_at_once: self.scenario.answers_at_once,
        };
        self.asleep.advance(&moves[..index], moves[index], &context);
        Some(moves[index])
    }

    /// Drops all requests and ends the workers of their queues.
    async fn abandon(&mut self) -> Result<Vec<Ending>, String> {
        self.is_redundant = true;
        self.machine.control.lock().holds = false;
        self.actors.iter_mut().for_each(|it| it.request = None);
        for call in self.machine.control.held() {
            self.machine.control.release(call.id, None);
        }
        self.settle().await;
        self.wait().await?;
        Ok(Vec::new())
    }

    /// Begins the requests that follow no request, or one that has ended.
    fn begin_requests(&mut self) {
        for (number, actor) in self.scenario.actors.iter().enumerate() {
            if actor.is_clock() || self.actors[number].jar.is_some() {
                continue;
            }
            let mut jar = match actor.role {
                Role::SignOut | Role::ListedJob(_) => Jar::default(),
                _ => self.jars[actor.visitor].clone(),
            };
            if let Some(previous) = actor.follows.map(|previous| &self.actors[previous]) {
                let Some(carried) = previous.jar.clone().filter(|_| previous.request.is_none())
                else {
                    continue;
                };
                jar = carried;
                previous
                    .ending
                    .iter()
                    .for_each(|it| jar.take_from(&it.headers));
            }
            let running = &mut self.actors[number];
            let sessions = self.machine.sessions(self.scenario, actor.engine);
            let history = self.machine.history.clone();
            running.request = Some(match actor.role {
                Role::SignOut => sign_out(sessions),
                Role::Job(change) => job(sessions, jar.clone(), change, number),
                Role::ListedJob(change) => {
                    let tag = if self.scenario.is_stored {
                        "first"
                    } else {
                        "t"
                    };
                    listed_job(sessions, tag, change, number, history)
                }
                _ => request(sessions, number, actor, &jar, history),
            });
            running.jar = Some(jar);
        }
    }

    /// Returns the moves that were made, for a failure's message.
    pub(crate) fn trace(&self) -> Vec<String> {
        let moves = self.trace.iter().enumerate();
        moves.map(|(at, it)| format!("{}: {it}", at + 1)).collect()
    }

    fn is_over(&self) -> bool {
        let is_running = |actor: &RunningActor| actor.request.is_some();
        !self.actors.iter().any(is_running) && alive_tasks() == 0
    }

    /// Returns the ways to continue. The first one continues the actor of the last move.
    fn moves(&self) -> Vec<Move> {
        let mut held = self.machine.control.held();
        held.sort_by_key(|call| (Some(call.origin) != self.last, call.origin, call.id));
        let continues = held.first().is_some_and(|it| Some(it.origin) == self.last);
        let is_bound = continues && self.preemptions >= self.scenario.max_preemptions;
        if is_bound {
            held.retain(|call| Some(call.origin) == self.last);
        }
        let mut moves: Vec<Move> = held.iter().map(|call| Move::Release(*call, None)).collect();
        if !is_bound {
            moves.extend(self.waits().map(Move::EndWait));
        }
        if self.faults < self.scenario.max_faults {
            for fault in [Fault::NotExecuted, Fault::AnswerLost] {
                let begun = held.iter().filter(|call| !call.is_executed);
                moves.extend(begun.map(|call| Move::Release(*call, Some(fault))));
            }
        }
        for (number, actor) in self.scenario.actors.iter().enumerate() {
            let running = &self.actors[number];
            if actor.may_be_dropped && running.request.is_some() {
                moves.push(Move::Drop(number));
            }
            let can_advance = actor.role == Role::WindowEnd || self.machine.has_expiry;
            if actor.is_clock() && can_advance && running.ending.is_none() {
                moves.push(Move::Advance(number));
            }
        }
        moves
    }

    async fn make(&mut self, chosen: Move) {
        let step = {
            let mut calls = self.machine.control.lock();
            calls.step += 1;
            calls.answered_conflict = false;
            calls.step
        };
        self.trace.push(chosen);
        match chosen {
            Move::Release(call, fault) => {
                self.count_preemption(call.origin);
                if fault.is_some() {
                    self.faults += 1;
                    self.failed_engines.insert(match call.origin {
                        Origin::Request(number) => self.scenario.actors[number].engine,
                        Origin::Worker(engine) => engine,
                    });
                }
                self.machine.control.release(call.id, fault);
                self.settle().await;
                self.wait_for_back_off(call).await;
            }
            Move::EndWait(number) => {
                self.count_preemption(Origin::Request(number));
                self.end_wait(number).await;
            }
            Move::Drop(number) => {
                self.actors[number].request = None;
                self.settle().await;
            }
            Move::Advance(number) => {
                let time = match self.scenario.actors[number].role {
                    Role::Expiry => EXPIRY,
                    _ => GRACE,
                };
                self.machine.clock.advance(time);
                self.machine.control.lock().changes += 1;
                self.actors[number].ending = Some(Ending {
                    step,
                    ..Ending::default()
                });
            }
        }
    }

    fn count_preemption(&mut self, next: Origin) {
        let held = self.machine.control.held();
        let continues = held.iter().any(|it| Some(it.origin) == self.last);
        self.preemptions += usize::from(continues && Some(next) != self.last);
        self.last = Some(next);
    }

    /// Polls requests and tasks until none of them can continue.
    pub(super) async fn settle(&mut self) {
        loop {
            let before = self.machine.control.lock().activity;
            let mut is_moving = false;
            self.begin_requests();
            for number in 0..self.actors.len() {
                is_moving |= self.poll(number);
            }
            for _ in 0..2 {
                tokio::task::yield_now().await;
            }
            is_moving |= self.machine.control.lock().activity != before;
            is_moving |= self.actors.iter().any(RunningActor::is_woken);
            if is_moving {
                continue;
            }
            if !self.machine.control.is_busy() {
                return;
            }
            // The store of this machine answers from another thread.
            thread::sleep(PAUSE);
        }
    }

    /// Polls a request if it was woken.
    fn poll(&mut self, number: usize) -> bool {
        let actor = &mut self.actors[number];
        if !actor.is_woken() {
            return false;
        }
        actor.wakeup.0.store(false, Ordering::SeqCst);
        let Some(request) = &mut actor.request else {
            return false;
        };
        let waker = Waker::from(actor.wakeup.clone());
        self.machine.control.lock().current = Some(number);
        let polled = request
            .as_mut()
            .poll(&mut task::Context::from_waker(&waker));
        self.machine.control.lock().current = None;
        if let Poll::Ready((status, headers)) = polled {
            actor.request = None;
            let history = &self.machine.history;
            let step = history.step();
            let result = match status.as_u16() {
                200 => CommitResult::Success,
                409 => CommitResult::Refused,
                _ => CommitResult::Unknown,
            };
            let ended = Entry::Ended {
                step,
                result,
                view: None,
                late: Vec::new(),
            };
            history.push(number, ended);
            actor.ending = Some(Ending {
                status: Some(status),
                headers,
                step,
                ..Ending::default()
            });
        } else {
            self.begin_wait(number);
        }
        true
    }
}

impl RunningActor {
    fn is_woken(&self) -> bool {
        self.request.is_some() && !self.is_waiting && self.wakeup.0.load(Ordering::SeqCst)
    }
}

/// Returns the number of commit queues that have a worker.
pub(crate) fn alive_tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

fn request(
    sessions: &Sessions,
    number: usize,
    actor: &Actor,
    jar: &Jar,
    history: History,
) -> RunningRequest {
    let (sessions, actor) = (sessions.clone(), actor.clone());
    let mut request = Request::new(());
    jar.add_to(request.headers_mut());
    Box::pin(async move {
        let service = sessions.wrap_fn(move |_: Request<()>, session| {
            let (history, actor) = (history.clone(), actor.clone());
            async move { Ok::<_, Infallible>(handle(session, number, actor, history).await) }
        });
        let (head, _) = service.call(request).await.unwrap().into_parts();
        (head.status, head.headers)
    })
}
