//! Requests that are dropped at every await of their commit.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::service::Service;
use hyper_session::{
    Session, Sessions,
    clock::{Clock, Timestamp},
    id::StoreKey,
    store::{
        MemoryStore, ReadOutcome, Store, StoreError, StoreFuture, TagStore, WriteOutcome,
        WriteRequest,
    },
};
use serde_json::{Value, json};
use tokio::task::yield_now;

use crate::support::{Browser, config};

const HOUR: Duration = Duration::from_secs(3600);

/// A store whose operations are pending once before each of them, and once after it.
#[derive(Clone)]
struct YieldingStore {
    memory: MemoryStore,
    written: Arc<Mutex<BTreeSet<StoreKey>>>,
}

impl YieldingStore {
    fn new(clock: &Clock) -> Self {
        Self {
            memory: MemoryStore::builder().clock(clock.clone()).build(),
            written: Arc::default(),
        }
    }

    fn run<T: Send + Unpin + 'static>(
        &self,
        operation: impl FnOnce(&MemoryStore) -> StoreFuture<T> + Send + 'static,
    ) -> StoreFuture<T> {
        let store = self.memory.clone();
        StoreFuture::new(async move {
            yield_now().await;
            let result: Result<T, StoreError> = operation(&store).await;
            yield_now().await;
            result
        })
    }
}

impl Store for YieldingStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        let key = *key;
        self.run(move |store| store.read(&key, touch))
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        self.written.lock().unwrap().insert(request.key);
        self.run(move |store| store.write(request))
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        let key = *key;
        self.run(move |store| store.destroy(&key))
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        let key = *key;
        self.run(move |store| store.touch(&key, ttl))
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        self.memory.tags()
    }
}

/// A request, and the data of its session before and after it. `None` is no session.
struct Case {
    name: &'static str,
    old: Option<Value>,
    new: Option<Value>,
    /// Stores the changes under a new id.
    changes_id: bool,
    handler: fn(&Session),
}

fn cases() -> Vec<Case> {
    let (old, new) = (json!({"a": 1, "b": 1}), json!({"a": 2, "b": 2}));
    let case = |name, changes_id, handler| Case {
        name,
        old: Some(old.clone()),
        new: Some(new.clone()),
        changes_id,
        handler,
    };
    let put: fn(&Session) = |s| s.merge(json!({"a": 2, "b": 2})).unwrap();
    vec![
        case("write", false, put),
        Case {
            old: None,
            ..case("first write", false, put)
        },
        case("regenerate", true, |s| {
            s.put("a", 2).unwrap();
            s.regenerate().unwrap();
            s.put("b", 2).unwrap();
        }),
        case("rotate", true, |s| {
            s.put("a", 2).unwrap();
            s.rotate_id(Duration::from_secs(60)).unwrap();
            s.put("b", 2).unwrap();
        }),
        case("tag", false, |s| {
            s.put("a", 2).unwrap();
            s.tag("user").unwrap();
            s.put("b", 2).unwrap();
        }),
        case("tag under a new id", true, |s| {
            s.merge(json!({"a": 2, "b": 2})).unwrap();
            s.tag("user").unwrap();
            s.regenerate().unwrap();
        }),
        case("flash", false, |s| {
            s.put("a", 2).unwrap();
            s.flash("notice", 1).unwrap();
            s.put("b", 2).unwrap();
        }),
        Case {
            new: None,
            ..case("destroy", false, |s| s.destroy().unwrap())
        },
        Case {
            new: Some(old.clone()),
            ..case("touch", false, |_| ())
        },
    ]
}

/// The service of one run, and its visitor.
struct Run {
    store: YieldingStore,
    sessions: Sessions,
    clock: Clock,
    browser: Browser,
}

impl Run {
    /// Begins the old session of a case, half an hour before its request.
    async fn begin(case: &Case) -> Self {
        let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
        let store = YieldingStore::new(&clock);
        let sessions = Sessions::builder(config()).store(store.clone());
        let sessions = sessions.clock(clock.clone()).build().unwrap();
        let mut browser = Browser::new(&sessions);
        if let Some(old) = &case.old {
            browser.visit(async |s| s.merge(old).unwrap()).await;
        }
        clock.advance(HOUR / 2);
        Self {
            store,
            sessions,
            clock,
            browser,
        }
    }

    /// Sends the request, and drops it after `polls` polls. Returns `true` if it finished.
    async fn send_and_drop(&self, handler: fn(&Session), polls: usize) -> bool {
        let service = self
            .sessions
            .wrap_fn(move |_: Request<()>, session: Session| async move {
                handler(session.load().await.unwrap());
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            });
        let mut request = Request::new(());
        self.browser.jar.add_to(request.headers_mut());
        let mut call = pin!(service.call(request));
        let mut context = Context::from_waker(Waker::noop());
        (0..polls).any(|_| call.as_mut().poll(&mut context).is_ready())
    }

    /// Returns every stored session: its key and its data.
    async fn stored(&self) -> Vec<(StoreKey, Value)> {
        self.stored_in(&self.sessions).await
    }

    async fn stored_in(&self, sessions: &Sessions) -> Vec<(StoreKey, Value)> {
        let collection = sessions.collection();
        let keys = self.store.written.lock().unwrap().clone();
        let mut all = Vec::new();
        for key in keys {
            if let Some(session) = collection.get(&key).await.unwrap() {
                all.push((key, session.all::<Value>().unwrap()));
            }
        }
        all
    }

    /// Checks the stored sessions of a case. Returns `true` if the request has changed something.
    async fn check(&mut self, case: &Case) -> bool {
        let stored = self.stored().await;
        let data: Vec<_> = stored.iter().map(|(_, data)| Some(data.clone())).collect();
        let is_new = match data.as_slice() {
            [] => {
                assert!(case.old.is_none() || case.new.is_none(), "no session");
                case.new.is_none()
            }
            [one] => {
                assert!(*one == case.old || *one == case.new, "{stored:?}");
                *one == case.new
            }
            // After a rotation, the old id leads to the new one.
            [old, new] if case.name == "rotate" && old == new => *new == case.new,
            // The new record is written, and the old one not replaced yet. The visitor has the old id.
            two => {
                assert!(case.changes_id && two.len() == 2, "{stored:?}");
                assert!(
                    two.contains(&case.old) && two.contains(&case.new),
                    "{stored:?}"
                );
                false
            }
        };
        self.check_tags(case).await;
        match case.name {
            // After the end of the session, and before its end if the request has renewed it.
            "touch" => {
                self.clock.advance(HOUR + HOUR * 3 / 4);
                !self.stored().await.is_empty()
            }
            _ => is_new,
        }
    }

    /// Checks that the tag and the data are one record. The tag lists a new record before the session has its id.
    /// Nothing reads that record until then, or until no regeneration can be running, as in a process whose clock
    /// is ahead.
    async fn check_tags(&self, case: &Case) {
        let ahead = Clock::manual(self.clock.now());
        ahead.advance(HOUR);
        let sessions = Sessions::builder(config()).store(self.store.clone());
        let sessions = sessions.clock(ahead).build().unwrap();
        let mut expected = self.stored_in(&sessions).await;
        expected
            .retain(|(_, data)| case.name.starts_with("tag") && Some(data) == case.new.as_ref());
        let expected: Vec<_> = expected.iter().map(|(key, _)| *key).collect();
        let mut tagged = self.sessions.collection().tagged("user").await.unwrap();
        tagged.sort_unstable();
        assert_eq!(tagged, expected, "the tag and the data are one record");
    }

    /// The visitor sends the next request, with the session or with a new one.
    async fn go_on(&mut self, case: &Case) {
        let (seen, notice) = self
            .browser
            .visit(async |s| {
                let notice = s.flash_messages().unwrap().has("notice").unwrap();
                (s.all::<Value>().unwrap(), notice)
            })
            .await;
        let is_new = Some(&seen) == case.new.as_ref();
        let is_known = is_new || Some(&seen) == case.old.as_ref() || seen == json!({});
        assert!(is_known, "{seen}");
        assert_eq!(notice, is_new && case.name == "flash");
        self.browser.visit(async |s| s.put("c", 3).unwrap()).await;
        let c = self.browser.visit(async |s| s.get("c").unwrap());
        assert_eq!(c.await, Some(3));
    }
}

#[tokio::test]
async fn a_request_dropped_at_any_await_is_stored_whole_or_not_at_all() {
    for case in cases() {
        let mut outcomes = [0; 2];
        for polls in 1.. {
            println!("{}, {polls} polls", case.name);
            let mut run = Run::begin(&case).await;
            let finished = run.send_and_drop(case.handler, polls).await;
            let is_new = run.check(&case).await;
            outcomes[usize::from(is_new)] += 1;
            run.go_on(&case).await;
            if finished {
                assert!(is_new, "it has ended");
                break;
            }
        }
        assert!(
            outcomes.iter().all(|count| *count > 0),
            "{}: {outcomes:?}",
            case.name
        );
    }
}
