//! Interleavings of several requests on one session, compared with a model that runs them one by one.

use std::collections::BTreeMap;

use hyper_session::Session;
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use crate::support::{Browser, config, object, test_server};

/// One step of a request. Each request writes keys of its own, and all increment the same number.
#[derive(Clone, Copy, Debug)]
enum Step {
    Count(i8),
    Put,
    PutNested,
    Message,
    Commit,
    Regenerate,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<i8>().prop_map(Step::Count),
        3 => Just(Step::Put),
        2 => Just(Step::PutNested),
        2 => Just(Step::Message),
        1 => Just(Step::Commit),
    ]
}

/// The expected session after all requests have finished.
#[derive(Default)]
struct Model {
    count: Option<i64>,
    keys: BTreeMap<String, Value>,
    nested: BTreeMap<String, Value>,
    messages: BTreeMap<String, Value>,
    /// Messages that requests have read so far.
    read: BTreeMap<String, Value>,
}

impl Model {
    async fn run(&mut self, session: &Session, name: &str, step: Step) {
        match step {
            Step::Count(by) => {
                session.increment_by("n", i64::from(by)).unwrap();
                *self.count.get_or_insert(0) += i64::from(by);
            }
            Step::Put => {
                session.put(name, name).unwrap();
                self.keys.insert(name.to_owned(), json!(name));
            }
            Step::PutNested => {
                session.put(["all", name], json!([name])).unwrap();
                self.nested.insert(name.to_owned(), json!([name]));
            }
            Step::Message => {
                session.flash([name], true).unwrap();
                self.messages.insert(name.to_owned(), json!(true));
            }
            Step::Commit => session.commit().await.unwrap(),
            Step::Regenerate => session.regenerate().unwrap(),
        }
    }

    fn data(&self) -> Value {
        let mut data: Value = json!(self.keys);
        if let Some(count) = self.count {
            data["n"] = json!(count);
        }
        if !self.nested.is_empty() {
            data["all"] = json!(self.nested);
        }
        data
    }
}

/// Runs `turns` of up to four requests. Each begins at its first turn, and they finish in the order of
/// `ends`.
async fn interleave(browser: &Browser, turns: &[(usize, Step)], ends: &[usize], model: &mut Model) {
    let mut waiting: Vec<_> = ends.to_vec();
    let mut open: BTreeMap<usize, RunningRequest> = BTreeMap::new();
    for (number, step) in turns {
        let request = open
            .entry(*number)
            .or_insert_with(|| RunningRequest::begin(browser));
        let session = request.session().await;
        let messages: BTreeMap<_, _> = session.flash_messages().unwrap().all().unwrap();
        model.read.extend(messages);
        model.run(&session, &format!("r{number}"), *step).await;
    }
    while let Some(number) = waiting.pop() {
        if let Some(request) = open.remove(&number) {
            request.finish().await;
        }
    }
}

/// A request whose handler waits until `finish` is called.
struct RunningRequest {
    session: Option<Session>,
    loaded: tokio::sync::mpsc::Receiver<Session>,
    finish: tokio::sync::oneshot::Sender<()>,
    running: tokio::task::JoinHandle<()>,
}

impl RunningRequest {
    fn begin(browser: &Browser) -> Self {
        let (sender, loaded) = tokio::sync::mpsc::channel(1);
        let (finish, finished) = tokio::sync::oneshot::channel();
        let mut browser = browser.clone();
        let running = tokio::task::spawn_local(async move {
            let visit = browser
                .request(async |s| {
                    s.load().await.unwrap();
                    sender.send(s.clone()).await.unwrap();
                    finished.await.unwrap();
                })
                .await;
            assert_eq!(visit.status, 200);
        });
        Self {
            session: None,
            loaded,
            finish,
            running,
        }
    }

    async fn session(&mut self) -> Session {
        if self.session.is_none() {
            self.session = self.loaded.recv().await;
        }
        self.session.clone().unwrap()
    }

    async fn finish(self) {
        self.finish.send(()).unwrap();
        self.running.await.unwrap();
    }
}

fn check(turns: &[(usize, Step)], ends: &[usize], stored_before: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let server = test_server(config());
        let mut browser = server.browser();
        let mut model = Model::default();
        browser.pass().await;
        if stored_before {
            browser.visit(async |s| s.put("n", 7)).await.unwrap();
            model.count = Some(7);
        }
        interleave(&browser, turns, ends, &mut model).await;
        let (data, messages) = browser
            .visit(async |s| {
                (
                    object(s),
                    s.flash_messages().unwrap().all::<Value>().unwrap(),
                )
            })
            .await;
        assert_eq!(data, model.data());
        model
            .read
            .extend(serde_json::from_value::<BTreeMap<_, _>>(messages).unwrap());
        assert_eq!(model.read, model.messages, "each is read by some request");
        let left = browser
            .visit(async |s| s.flash_messages().unwrap().is_empty())
            .await;
        assert!(left, "and then gone");
        assert_eq!(server.events.with_name("write_dropped"), []);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn all_increments_all_keys_and_all_messages_are_there(
        turns in vec((0..4_usize, step()), 0..24),
        ends in Just(vec![0, 1, 2, 3]).prop_shuffle(),
        stored_before in any::<bool>(),
    ) {
        check(&turns, &ends, stored_before);
    }
}

#[test]
fn a_regenerate_among_them_takes_all_that_was_stored_before_it_along() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let server = test_server(config());
        let mut browser = server.browser();
        browser.visit(async |s| s.put("n", 1)).await.unwrap();
        let mut mover = browser.clone();
        let mut model = Model {
            count: Some(1),
            ..Model::default()
        };
        mover
            .visit(async |s| {
                model.run(s, "mover", Step::Count(2)).await;
                model.run(s, "mover", Step::Regenerate).await;
                let turns = [(0, Step::Count(3)), (1, Step::Put), (1, Step::Count(4))];
                interleave(&browser, &turns, &[0, 1], &mut model).await;
            })
            .await;
        assert_eq!(mover.visit(async |s| object(s)).await, model.data());
    });
}
