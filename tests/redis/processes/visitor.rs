//! Visitors of one process: what they do with sessions, and what each of them can tell at once of
//! what it gets.

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
    processes::board::Board,
    support::{Browser, config, redis_servers::sessions::HOUR},
};

pub(crate) const SESSIONS: usize = 40;
/// Ended by whoever is in them; their ids stay, since one that gets a new id meanwhile lives on.
pub(crate) const BY_ID: Range<usize> = 0..14;
/// Ended by their owner's tag, whatever their id is at the moment.
pub(crate) const BY_TAG: Range<usize> = 14..28;
pub(crate) const LIVING: Range<usize> = 28..SESSIONS;

/// How often each visitor comes, and how many of its visits are to the same few sessions.
const TURNS: usize = 320;
const STAY: usize = 32;
const FEW: u64 = 5;

tokio::task_local! {
    /// What the engine has told of the request of this task.
    static HEARD: RefCell<Vec<&'static str>>;
}

pub(crate) fn owner(place: usize) -> String {
    format!("owner-{place}")
}

/// A new session, by its cookie.
pub(crate) async fn begin(sessions: &Sessions, place: usize) -> String {
    let mut browser = Browser::new(sessions);
    browser
        .visit(async |session| {
            session.put("name", &place).unwrap();
            session.tag(&owner(place)).unwrap();
        })
        .await;
    browser.cookie().unwrap().to_owned()
}

/// What a request with this cookie finds, and under which key.
pub(crate) async fn open(sessions: &Sessions, cookie: &str) -> (Map<String, Value>, StoreKey) {
    let mut browser = Browser::new(sessions);
    browser.jar.set("session", cookie);
    let look = async |session: &Session| (session.all().unwrap(), session.store_key().unwrap());
    match browser.visit(look).await {
        (Value::Object(found), key) => (found, key),
        other => panic!("{other:?}"),
    }
}

/// The work of the process of this number.
pub(crate) async fn work(url: &str, number: u64, seed: u64, visitors: u64) {
    let sums = Rc::new(RefCell::new(vec![0; SESSIONS]));
    let store = hyper_session::store::RedisStore::connect(url)
        .await
        .unwrap();
    let (here, mut stays) = (LocalSet::new(), Vec::new());
    let mut engines = Vec::new();
    for _ in 0..2 {
        let stores = hyper_session::config::StoreRegistry::new().with("shared", store.clone());
        let engine = Sessions::builder(config().store("shared").age(HOUR))
            .stores(stores)
            .listener(|event: &Event<'_>| {
                let _ = HEARD.try_with(|heard| heard.borrow_mut().push(event.name()));
            });
        engines.push(engine.build().unwrap());
    }
    let board = Board::open(url).await;
    for visitor in 0..visitors {
        let visitor = Visitor {
            name: format!("{number}-{visitor}"),
            sessions: engines[visitor as usize % 2].clone(),
            board: board.clone(),
            seed: seed ^ (number << 32 | visitor),
            sums: sums.clone(),
            added: BTreeMap::new(),
            seen: BTreeMap::new(),
        };
        stays.push(here.spawn_local(visitor.stay()));
    }
    let all = async {
        for stay in stays {
            stay.await.unwrap();
        }
    };
    here.run_until(all).await;
}

struct Visitor {
    name: String,
    sessions: Sessions,
    board: Board,
    seed: u64,
    /// How much this process was told to have added to each session.
    sums: Rc<RefCell<Vec<u64>>>,
    /// What this visitor has added to sessions, and not forgotten.
    added: BTreeMap<usize, Vec<String>>,
    /// The cookies that sessions have had, as far as this visitor has seen.
    seen: BTreeMap<usize, BTreeSet<String>>,
}

/// What a visitor does in a session besides adding to it.
#[derive(Clone, Copy, PartialEq)]
enum Besides {
    Nothing,
    Forget,
    Tag,
    Move,
}

/// What came of a request.
struct Asked {
    /// The session was there, and the work in it was done.
    found: bool,
    heard: Vec<&'static str>,
    /// The cookie that the visitor has afterwards.
    cookie: Option<String>,
}

impl Asked {
    fn heard(&self, name: &str) -> bool {
        self.heard.contains(&name)
    }
}

impl Visitor {
    async fn stay(mut self) {
        for turn in 0..TURNS {
            let place = turn / STAY * usize::try_from(FEW - 1).unwrap() + self.chance(FEW);
            self.visit(place % SESSIONS, turn).await;
        }
    }

    /// The same numbers in every run of one seed (splitmix64).
    fn chance(&mut self, below: u64) -> usize {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.seed;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((bits ^ (bits >> 31)) % below).unwrap()
    }

    async fn visit(&mut self, place: usize, turn: usize) {
        // In this order: a cookie that is posted after the end is as dead as those before.
        let over = self.board.is_ended(place).await;
        let cookie = self.board.posted(place).await;
        self.seen.entry(place).or_default().insert(cookie.clone());
        let act = self.chance(30);
        match act {
            0 if BY_ID.contains(&place) => self.end(place, &cookie).await,
            0 if BY_TAG.contains(&place) && !over => self.end_by_tag(place).await,
            2..5 => self.knock(place, &cookie).await,
            5..8 if !BY_ID.contains(&place) => {
                self.add(place, turn, &cookie, over, Besides::Move).await;
            }
            8..11 => self.add(place, turn, &cookie, over, Besides::Tag).await,
            11..14 => self.add(place, turn, &cookie, over, Besides::Forget).await,
            _ => self.add(place, turn, &cookie, over, Besides::Nothing).await,
        }
    }

    /// A request with this cookie, whose `work` is done where the session is there.
    async fn ask(&self, place: usize, cookie: &str, work: impl AsyncFnOnce(&Session)) -> Asked {
        let mut browser = Browser::new(&self.sessions);
        browser.jar.set("session", cookie);
        let request = async {
            let found = browser
                .visit(async |session| {
                    let name: Option<usize> = session.get("name").unwrap();
                    match name {
                        Some(name) => {
                            assert_eq!(name, place, "one session is not another");
                            work(session).await;
                        }
                        None => assert!(session.all::<Map<String, Value>>().unwrap().is_empty()),
                    }
                    name.is_some()
                })
                .await;
            (found, HEARD.with(RefCell::take))
        };
        let (found, heard) = HEARD.scope(RefCell::default(), request).await;
        Asked {
            found,
            heard,
            cookie: browser.cookie().map(str::to_owned),
        }
    }

    /// Adds to the session, by a number and by a member of its own; and something besides.
    async fn add(&mut self, place: usize, turn: usize, cookie: &str, over: bool, besides: Besides) {
        let (name, by) = (format!("{}-{turn}", self.name), 1 + self.chance(9) as u64);
        let least = self.sums.borrow()[place] + by;
        let forgotten = match besides {
            Besides::Forget => self.added.get_mut(&place).and_then(Vec::pop),
            _ => None,
        };
        let tag = format!("more-{place}-{}", self.name);
        let work = async |session: &Session| {
            let sum = session.increment_by("n", by).unwrap();
            let sum: u64 = sum.to_string().parse().unwrap();
            assert!(
                sum >= least,
                "session {place} has {sum}, of at least {least}"
            );
            session.put(&*name, &by).unwrap();
            if let Some(forgotten) = &forgotten {
                session.forget(&**forgotten).unwrap();
            }
            match besides {
                Besides::Tag => session.tag(&tag).unwrap(),
                Besides::Move => session.regenerate().unwrap(),
                Besides::Nothing | Besides::Forget => {}
            }
        };
        let asked = self.ask(place, cookie, work).await;
        assert!(!(over && asked.found), "session {place} came back");
        let kept = asked.heard("committed");
        if asked.found {
            let heard = &asked.heard;
            assert_ne!(
                kept,
                asked.heard("write_dropped"),
                "either of both: {heard:?}"
            );
            assert_eq!(
                kept && besides == Besides::Move,
                asked.heard("migrated"),
                "{heard:?}"
            );
        }
        if !kept {
            self.added.entry(place).or_default().extend(forgotten);
            let act = if asked.found { "drop" } else { "late" };
            return println!("did {act} {place}");
        }
        if besides == Besides::Move {
            let cookie = asked.cookie.as_deref().unwrap();
            self.board.post(place, cookie).await;
            println!("did move {place} {cookie}");
        }
        self.sums.borrow_mut()[place] += by;
        println!("did add {place} {name} {by}");
        self.added.entry(place).or_default().push(name);
        if let Some(forgotten) = forgotten {
            println!("did forget {place} {forgotten}");
        }
        if besides == Besides::Tag {
            println!("did tag {place} {tag}");
        }
        if asked.heard("conflict_resolved") {
            println!("did conflict {place}");
        }
    }

    /// Comes back with a cookie whose session has another by now.
    async fn knock(&mut self, place: usize, newest: &str) {
        let seen = &self.seen[&place];
        let Some(old) = seen.iter().find(|cookie| *cookie != newest) else {
            return;
        };
        let asked = self.ask(place, old, async |_| ()).await;
        assert!(!asked.found, "session {place} opens to an old id");
        println!("did knock {place}");
    }

    /// Logs out.
    async fn end(&mut self, place: usize, cookie: &str) {
        let asked = self
            .ask(place, cookie, async |session| session.destroy().unwrap())
            .await;
        if asked.found {
            assert!(asked.heard("destroyed"), "{:?}", asked.heard);
            self.board.end(place).await;
            println!("did end {place}");
        }
    }

    /// Logs out everywhere.
    async fn end_by_tag(&mut self, place: usize) {
        let all = self.sessions.collection();
        all.destroy_tagged(&owner(place), None).await.unwrap();
        self.board.end(place).await;
        println!("did end {place}");
    }
}
