//! A clock that is set back and forward by an hour while the service runs.

use std::time::Duration;

use hyper_session::{
    Sessions,
    clock::{Clock, Timestamp},
    store::{CookieStore, MemoryStore, Store},
};

use crate::support::{Browser, config};

const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

/// Sessions that end after two hours without requests, and after four hours.
struct Steps {
    sessions: Sessions,
    clock: Clock,
}

impl Steps {
    fn new<S: Store>(make: impl FnOnce(Clock) -> S) -> Self {
        let clock = Clock::manual(START);
        let config = config().absolute_timeout(4 * HOUR);
        let sessions = Sessions::builder(config).store(make(clock.clone()));
        let sessions = sessions.clock(clock.clone()).build().unwrap();
        Self { sessions, clock }
    }

    /// Sets the clock to a number of minutes before or after the start.
    fn set(&self, minutes: i64) {
        let millis = START.as_millis().checked_add_signed(minutes * 60_000);
        self.clock.set(Timestamp::from_millis(millis.unwrap()));
    }

    /// Begins a session at the start.
    async fn begin(&self) -> Browser {
        self.set(0);
        let mut browser = Browser::new(&self.sessions);
        browser.visit(async |s| s.put("n", 0).unwrap()).await;
        browser
    }

    /// Sends requests that read and change the session.
    async fn use_session(&self, browser: &mut Browser, context: &str) {
        for _ in 0..2 {
            let before = browser.visit(async |s| s.get::<u32>("n").unwrap()).await;
            assert!(before.is_some(), "{context}: the session has ended");
            browser.visit(async |s| s.increment("n").unwrap()).await;
        }
    }

    async fn is_alive(&self, browser: &Browser) -> bool {
        let mut browser = browser.clone();
        browser.visit(async |s| s.has("n").unwrap()).await
    }

    async fn check(&self, name: &str) {
        // A session that is used at each step.
        let mut browser = self.begin().await;
        let unused = self.begin().await;
        for minutes in [0, -60, -59, 0, 60, 0, 59, 119] {
            self.set(minutes);
            self.use_session(&mut browser, &format!("{name}, minute {minutes}"))
                .await;
        }
        self.set(121);
        assert!(
            !self.is_alive(&unused).await,
            "{name}: two hours without a request"
        );
        self.set(239);
        assert!(!self.is_alive(&unused).await, "{name}");
        // The step back does not extend the absolute timeout.
        self.set(200);
        self.use_session(&mut browser, name).await;
        self.set(241);
        assert!(
            !self.is_alive(&browser).await,
            "{name}: after the absolute timeout"
        );

        // A step forward and back: the session was renewed at the later time.
        let mut browser = self.begin().await;
        self.set(60);
        self.use_session(&mut browser, name).await;
        self.set(0);
        assert!(self.is_alive(&browser).await, "{name}");
        self.set(60 + 121);
        assert!(!self.is_alive(&browser).await, "{name}");

        // A sign-out holds at every time.
        let mut browser = self.begin().await;
        let copy = browser.clone();
        self.set(-60);
        browser.visit(async |s| s.destroy().unwrap()).await;
        for minutes in [-60, 0, -60, 60] {
            self.set(minutes);
            assert!(!self.is_alive(&copy).await, "{name}, minute {minutes}");
        }
    }
}

#[tokio::test]
async fn a_clock_that_jumps_ends_no_used_session_and_extends_no_unused_one() {
    let memory = |clock| {
        let builder = MemoryStore::builder().clock(clock);
        builder.refuse_when_full(true).build()
    };
    Steps::new(memory).check("memory").await;
    let cookies = |clock: Clock| {
        CookieStore::new()
            .clock(clock.clone())
            .with_revocation(memory(clock))
    };
    Steps::new(cookies).check("cookie").await;
}

#[cfg(feature = "file")]
#[tokio::test]
async fn a_clock_that_jumps_ends_no_used_session_of_a_file_store() {
    use crate::support::scratch::Scratch;
    use hyper_session::store::FileStore;

    let folder = Scratch::new();
    let open = |clock| {
        FileStore::builder(folder.path())
            .clock(clock)
            .open()
            .unwrap()
    };
    let steps = Steps::new(open);
    steps.check("file").await;
    steps.sessions.close().await.unwrap();
}
