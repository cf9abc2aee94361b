//! The workers of one process: their actions on sessions, and the checks that each can make at once.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    rc::Rc,
};

use hyper_session::{Session, Sessions, id::StoreKey, session::Event};
use serde_json::{Map, Value};
use tokio::task::LocalSet;

use crate::{
    processes::ledger::Ledger,
    support::{Browser, config, redis_servers::sessions::HOUR},
};

pub(crate) const SESSIONS: usize = 40;
/// Sessions that a request ends. Their ids are never regenerated: a session that gets a new id
/// meanwhile survives.
pub(crate) const ENDED_BY_ID: Range<usize> = 0..14;
/// Sessions that are ended by their owner's tag, whatever their current id is.
pub(crate) const ENDED_BY_TAG: Range<usize> = 14..28;
pub(crate) const NEVER_ENDED: Range<usize> = 28..SESSIONS;

/// The number of requests of each worker.
const TURNS: usize = 320;
/// The number of consecutive requests to the same group of sessions.
const TURNS_PER_GROUP: usize = 32;
/// The number of sessions in a group.
const GROUP: u64 = 5;

tokio::task_local! {
    /// The events of the current request of this task.
    static EVENTS: RefCell<Vec<&'static str>>;
}

pub(crate) fn owner_tag(session: usize) -> String {
    format!("owner-{session}")
}

/// Creates a session and returns its cookie.
pub(crate) async fn create_session(sessions: &Sessions, number: usize) -> String {
    let mut browser = Browser::new(sessions);
    browser
        .visit(async |session| {
            session.put("name", number).unwrap();
            session.tag(&owner_tag(number)).unwrap();
        })
        .await;
    browser.cookie().unwrap().to_owned()
}

/// Returns the data and the key of the session that a request with this cookie gets.
pub(crate) async fn open(sessions: &Sessions, cookie: &str) -> (Map<String, Value>, StoreKey) {
    let mut browser = Browser::new(sessions);
    browser.jar.set("session", cookie);
    let read = async |session: &Session| (session.all().unwrap(), session.store_key().unwrap());
    match browser.visit(read).await {
        (Value::Object(data), key) => (data, key),
        other => panic!("{other:?}"),
    }
}

/// Runs the workers of the process with this number.
pub(crate) async fn run_all(url: &str, number: u64, seed: u64, workers: u64) {
    let sums = Rc::new(RefCell::new(vec![0; SESSIONS]));
    let store = hyper_session::store::RedisStore::connect(url)
        .await
        .unwrap();
    let (local, mut running) = (LocalSet::new(), Vec::new());
    let mut all_sessions = Vec::new();
    for _ in 0..2 {
        let stores = hyper_session::config::StoreRegistry::new().register("shared", store.clone());
        let sessions = Sessions::builder(config().store("shared").age(HOUR))
            .stores(stores)
            .listener(|event: &Event<'_>| {
                let _ = EVENTS.try_with(|events| events.borrow_mut().push(event.name()));
            });
        all_sessions.push(sessions.build().unwrap());
    }
    let ledger = Ledger::open(url).await;
    for worker in 0..workers {
        let worker = Worker {
            name: format!("{number}-{worker}"),
            sessions: all_sessions[worker as usize % 2].clone(),
            ledger: ledger.clone(),
            seed: seed ^ (number << 32 | worker),
            sums: sums.clone(),
            added: BTreeMap::new(),
            cookies: BTreeMap::new(),
        };
        running.push(local.spawn_local(worker.run()));
    }
    let all = async {
        for worker in running {
            worker.await.unwrap();
        }
    };
    local.run_until(all).await;
}

struct Worker {
    name: String,
    sessions: Sessions,
    ledger: Ledger,
    seed: u64,
    /// The acknowledged sum of this process's additions to each session.
    sums: Rc<RefCell<Vec<u64>>>,
    /// The names that this worker has added to each session and not forgotten.
    added: BTreeMap<usize, Vec<String>>,
    /// The cookies of each session that this worker has read from the ledger.
    cookies: BTreeMap<usize, BTreeSet<String>>,
}

/// A second action of a request that adds to a session.
#[derive(Clone, Copy, PartialEq)]
enum ExtraAction {
    Nothing,
    Forget,
    Tag,
    Regenerate,
}

/// The result of a request.
struct RequestResult {
    /// The session existed, and the handler ran on it.
    found: bool,
    events: Vec<&'static str>,
    /// The browser's cookie after the response.
    cookie: Option<String>,
}

impl RequestResult {
    fn has_event(&self, name: &str) -> bool {
        self.events.contains(&name)
    }
}

impl Worker {
    async fn run(mut self) {
        for turn in 0..TURNS {
            let group = turn / TURNS_PER_GROUP * usize::try_from(GROUP - 1).unwrap();
            let session = group + self.random(GROUP);
            self.act(session % SESSIONS, turn).await;
        }
    }

    /// Returns a random number; the sequence depends only on the seed (splitmix64).
    fn random(&mut self, below: u64) -> usize {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.seed;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((bits ^ (bits >> 31)) % below).unwrap()
    }

    async fn act(&mut self, session: usize, turn: usize) {
        // In this order. A cookie that is stored after the end is as dead as the earlier ones.
        let ended = self.ledger.is_ended(session).await;
        let cookie = self.ledger.cookie(session).await;
        let known = self.cookies.entry(session).or_default();
        known.insert(cookie.clone());
        let extra = match self.random(30) {
            0 if ENDED_BY_ID.contains(&session) => return self.end(session, &cookie).await,
            0 if ENDED_BY_TAG.contains(&session) && !ended => {
                return self.end_by_tag(session).await;
            }
            2..5 => return self.use_old_cookie(session, &cookie).await,
            5..8 if !ENDED_BY_ID.contains(&session) => ExtraAction::Regenerate,
            8..11 => ExtraAction::Tag,
            11..14 => ExtraAction::Forget,
            _ => ExtraAction::Nothing,
        };
        self.add(session, turn, &cookie, ended, extra).await;
    }

    /// Sends a request with this cookie, which runs `work` if the session exists.
    async fn request(
        &self,
        number: usize,
        cookie: &str,
        work: impl AsyncFnOnce(&Session),
    ) -> RequestResult {
        let mut browser = Browser::new(&self.sessions);
        browser.jar.set("session", cookie);
        let request = async {
            let found = browser
                .visit(async |session| {
                    let name: Option<usize> = session.get("name").unwrap();
                    match name {
                        Some(name) => {
                            assert_eq!(name, number, "one session is not another");
                            work(session).await;
                        }
                        None => assert!(session.all::<Map<String, Value>>().unwrap().is_empty()),
                    }
                    name.is_some()
                })
                .await;
            (found, EVENTS.with(RefCell::take))
        };
        let (found, events) = EVENTS.scope(RefCell::default(), request).await;
        RequestResult {
            found,
            events,
            cookie: browser.cookie().map(str::to_owned),
        }
    }

    /// Adds to the session's number and adds a member of its own; then runs the extra action.
    async fn add(
        &mut self,
        number: usize,
        turn: usize,
        cookie: &str,
        ended: bool,
        extra: ExtraAction,
    ) {
        let (name, amount) = (format!("{}-{turn}", self.name), 1 + self.random(9) as u64);
        let min_sum = self.sums.borrow()[number] + amount;
        let forgotten = match extra {
            ExtraAction::Forget => self.added.get_mut(&number).and_then(Vec::pop),
            _ => None,
        };
        let tag = format!("more-{number}-{}", self.name);
        let work = async |session: &Session| {
            let sum = session.increment_by("n", amount).unwrap();
            let sum: u64 = sum.to_string().parse().unwrap();
            assert!(
                sum >= min_sum,
                "session {number} has {sum}, of at least {min_sum}"
            );
            session.put(&*name, amount).unwrap();
            if let Some(forgotten) = &forgotten {
                session.forget(&**forgotten).unwrap();
            }
            match extra {
                ExtraAction::Tag => session.tag(&tag).unwrap(),
                ExtraAction::Regenerate => session.regenerate().unwrap(),
                ExtraAction::Nothing | ExtraAction::Forget => {}
            }
        };
        let result = self.request(number, cookie, work).await;
        assert!(!(ended && result.found), "session {number} returned");
        let committed = result.has_event("committed");
        if result.found {
            let events = &result.events;
            assert_ne!(
                committed,
                result.has_event("write_dropped"),
                "one of both: {events:?}"
            );
            assert_eq!(
                committed && extra == ExtraAction::Regenerate,
                result.has_event("migrated"),
                "{events:?}"
            );
        }
        if !committed {
            self.added.entry(number).or_default().extend(forgotten);
            let action = if result.found {
                "write_dropped"
            } else {
                "not_found"
            };
            return println!("did {action} {number}");
        }
        if extra == ExtraAction::Regenerate {
            let cookie = result.cookie.as_deref().unwrap();
            self.ledger.set_cookie(number, cookie).await;
            println!("did regenerate {number} {cookie}");
        }
        self.sums.borrow_mut()[number] += amount;
        println!("did add {number} {name} {amount}");
        self.added.entry(number).or_default().push(name);
        if let Some(forgotten) = forgotten {
            println!("did forget {number} {forgotten}");
        }
        if extra == ExtraAction::Tag {
            println!("did tag {number} {tag}");
        }
        if result.has_event("conflict_resolved") {
            println!("did conflict {number}");
        }
    }

    /// Sends a request with an earlier cookie of a session that has a newer one.
    async fn use_old_cookie(&mut self, number: usize, newest: &str) {
        let known = &self.cookies[&number];
        let Some(old) = known.iter().find(|cookie| *cookie != newest) else {
            return;
        };
        let result = self.request(number, old, async |_| ()).await;
        assert!(!result.found, "session {number} opens with an old id");
        println!("did old_cookie {number}");
    }

    /// Logs out. If several requests do so at once, one of them reports that it destroyed the session.
    async fn end(&mut self, number: usize, cookie: &str) {
        let result = self
            .request(number, cookie, async |session| session.destroy().unwrap())
            .await;
        if result.has_event("destroyed") {
            println!("did destroy {number}");
        }
        if result.found {
            self.ledger.set_ended(number).await;
            println!("did end {number}");
        }
    }

    /// Logs out everywhere.
    async fn end_by_tag(&mut self, number: usize) {
        let collection = self.sessions.collection();
        collection
            .destroy_tagged(&owner_tag(number), None)
            .await
            .unwrap();
        self.ledger.set_ended(number).await;
        println!("did end {number}");
    }
}
