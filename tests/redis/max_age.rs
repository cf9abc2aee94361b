//! Sessions of 2 hours and of 30 days side by side on a real server: the expiry that the server has for each.

use std::time::Duration;

use hyper_session::{
    Session, Sessions,
    clock::{Clock, Timestamp},
    id::StoreKey,
};

use crate::support::{
    Browser, config,
    redis_servers::{Server, sessions::connect},
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A session, with the range of its expiry on the server, in milliseconds. The upper limit is the timeout and
/// the touch interval.
struct Visitor {
    browser: Browser,
    range: std::ops::RangeInclusive<u64>,
}

fn millis(time: Duration) -> u64 {
    time.as_millis() as u64
}

async fn sign_in(sessions: &Sessions, max_age: Option<Duration>) -> Visitor {
    let mut browser = Browser::new(sessions);
    browser
        .visit(async |s| {
            s.put("n", 1).unwrap();
            if let Some(max_age) = max_age {
                s.set_max_age(max_age).unwrap();
            }
        })
        .await;
    let timeout = max_age.unwrap_or(2 * HOUR);
    Visitor {
        browser,
        range: millis(timeout - HOUR)..=millis(timeout + MINUTE),
    }
}

impl Visitor {
    async fn key(&self) -> StoreKey {
        let mut browser = self.browser.clone();
        let id = browser.request(async |s| s.store_key().unwrap()).await;
        id.value.unwrap()
    }

    /// Asserts that the server removes the session after its own timeout.
    async fn assert_expiry(&self, server: &Server, place: &str) {
        let ttl = ttl(server, &self.key().await);
        assert!(self.range.contains(&ttl), "{place}: {ttl} ms");
    }

    /// Moves the session's expiry on the server, as if time had passed.
    async fn expire_soon(&self, server: &Server) {
        let name = format!("session:{}", self.key().await);
        server.send(&["PEXPIRE", &name, "600000"]);
    }
}

/// Returns the time to live of a record in milliseconds.
fn ttl(server: &Server, key: &StoreKey) -> u64 {
    let reply = server.send(&["PTTL", &format!("session:{key}")]);
    let number = reply.trim().trim_start_matches(':');
    number.parse().unwrap_or_else(|_| panic!("{reply:?}"))
}

async fn service(server: &Server) -> (Sessions, Clock) {
    let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
    let sessions = Sessions::builder(config())
        .store(connect(server).await)
        .clock(clock.clone())
        .build();
    (sessions.unwrap(), clock)
}

#[tokio::test]
async fn sessions_of_two_hours_and_of_thirty_days_expire_at_their_own_time() {
    let server = &Server::start();
    let (sessions, clock) = service(server).await;
    for max_age in [None, Some(30 * DAY)] {
        let mut visitor = sign_in(&sessions, max_age).await;
        visitor.assert_expiry(server, "sign-in").await;

        for loads in [false, true] {
            visitor.expire_soon(server).await;
            clock.advance(2 * MINUTE);
            match loads {
                true => visitor.browser.visit(async |_| ()).await,
                false => drop(visitor.browser.pass().await),
            }
            visitor.assert_expiry(server, "renewal").await;
        }

        let mut old = visitor.browser.clone();
        let former = visitor.key().await;
        let rotate = async |s: &Session| s.rotate_id(MINUTE);
        visitor.browser.visit(rotate).await.unwrap();
        visitor.assert_expiry(server, "rotation").await;
        assert!(ttl(server, &former) <= millis(MINUTE), "the fence");

        // The old id forwards, and a write under the new one has the session's own timeout.
        visitor.expire_soon(server).await;
        clock.advance(MINUTE - Duration::from_secs(1));
        assert!(old.visit(async |s| s.has("n")).await.unwrap());
        visitor
            .browser
            .visit(async |s| s.put("n", 2))
            .await
            .unwrap();
        visitor
            .assert_expiry(server, "write after a rotation")
            .await;

        visitor
            .browser
            .visit(async |s| s.regenerate())
            .await
            .unwrap();
        visitor.assert_expiry(server, "regeneration").await;
    }
}

/// A touch with the former timeout is corrected on the server too.
#[tokio::test]
async fn an_old_cookie_does_not_change_the_expiry_of_a_session_whose_timeout_changed() {
    let server = Server::start();
    let (sessions, clock) = service(&server).await;
    for (first, second) in [(None, 30 * DAY), (Some(30 * DAY), 2 * HOUR)] {
        for loads in [false, true] {
            let mut visitor = sign_in(&sessions, first).await;
            let mut old = visitor.browser.clone();
            let change = async |s: &Session| s.set_max_age(second);
            visitor.browser.visit(change).await.unwrap();
            visitor.range = millis(second - HOUR)..=millis(second + MINUTE);
            visitor.assert_expiry(&server, "change").await;
            clock.advance(2 * MINUTE);
            match loads {
                true => old.visit(async |_| ()).await,
                false => drop(old.pass().await),
            }
            visitor.assert_expiry(&server, "an old cookie").await;
        }
    }
}
