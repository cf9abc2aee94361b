//! The `Set-Cookie` of a request whose session is ended by another request meanwhile.

use std::time::Duration;

use hyper_session::{Session, Sessions, clock::Clock, session::CookiePolicy};

use crate::support::{Browser, GateStore, Visit, config, test_server};

/// What the handler does with its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Untouched,
    /// Untouched, when a renewal is due.
    Due,
    Read,
    Write,
    Flash,
    Regenerate,
    Destroy,
}

/// What happens to the session meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Alive,
    Destroyed,
    Regenerated,
    Expired,
}

use Fate::{Alive, Destroyed, Expired, Regenerated};
use Use::{Destroy, Due, Flash, Read, Regenerate, Untouched, Write};

/// The cookie of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// The id of the request.
    Own,
    /// Another id.
    New,
    Removal,
    Nothing,
}

const OWN: Sent = Sent::Own;
const NEW: Sent = Sent::New;
const DEL: Sent = Sent::Removal;
const ___: Sent = Sent::Nothing;

/// The use and the fate; the cookie if the fate comes before the load, under `Rolling` and `WhenUsed`;
/// the cookie if it comes after the load, under `Rolling` in the same process, under `Rolling` in
/// another process, and under `WhenUsed`.
///
/// A request that read its session before it ended in another process cannot know of the end.
type Row = (Use, Fate, [Sent; 2], [Sent; 3]);

#[rustfmt::skip]
const TABLE: [Row; 28] = [
    (Untouched,  Alive,       [___, ___], [___, ___, ___]),
    (Untouched,  Destroyed,   [___, ___], [___, ___, ___]),
    (Untouched,  Regenerated, [___, ___], [___, ___, ___]),
    (Untouched,  Expired,     [NEW, ___], [NEW, NEW, ___]),
    (Due,        Alive,       [OWN, OWN], [OWN, OWN, OWN]),
    (Due,        Destroyed,   [___, ___], [___, ___, ___]),
    (Due,        Regenerated, [___, ___], [___, ___, ___]),
    (Due,        Expired,     [NEW, ___], [NEW, NEW, ___]),
    (Read,       Alive,       [OWN, ___], [OWN, OWN, ___]),
    (Read,       Destroyed,   [___, ___], [___, OWN, ___]),
    (Read,       Regenerated, [___, ___], [___, OWN, ___]),
    (Read,       Expired,     [NEW, ___], [OWN, OWN, ___]),
    (Write,      Alive,       [OWN, ___], [OWN, OWN, ___]),
    (Write,      Destroyed,   [NEW, NEW], [___, ___, ___]),
    (Write,      Regenerated, [NEW, NEW], [___, ___, ___]),
    (Write,      Expired,     [NEW, NEW], [___, ___, ___]),
    (Flash,      Alive,       [OWN, ___], [OWN, OWN, ___]),
    (Flash,      Destroyed,   [NEW, NEW], [___, ___, ___]),
    (Flash,      Regenerated, [NEW, NEW], [___, ___, ___]),
    (Flash,      Expired,     [NEW, NEW], [___, ___, ___]),
    (Regenerate, Alive,       [NEW, NEW], [NEW, NEW, NEW]),
    (Regenerate, Destroyed,   [___, ___], [___, ___, ___]),
    (Regenerate, Regenerated, [___, ___], [___, ___, ___]),
    (Regenerate, Expired,     [NEW, ___], [___, ___, ___]),
    (Destroy,    Alive,       [DEL, DEL], [DEL, DEL, DEL]),
    (Destroy,    Destroyed,   [DEL, DEL], [DEL, DEL, DEL]),
    (Destroy,    Regenerated, [DEL, DEL], [DEL, DEL, DEL]),
    (Destroy,    Expired,     [DEL, DEL], [DEL, DEL, DEL]),
];

/// Returns the sessions of one process of a service.
fn process(policy: CookiePolicy, store: &GateStore, clock: &Clock) -> Sessions {
    Sessions::builder(config().cookie_policy(policy))
        .store(store.clone())
        .clock(clock.clone())
        .build()
        .unwrap()
}

async fn befall(fate: Fate, mut other: Browser, clock: &Clock) {
    match fate {
        Alive => {}
        Destroyed => other.visit(async |s| s.destroy()).await.unwrap(),
        Regenerated => other.visit(async |s| s.regenerate()).await.unwrap(),
        Expired => clock.advance(Duration::from_secs(3 * 3600)),
    }
}

fn apply(session: &Session, how: Use) {
    match how {
        Untouched | Due => {}
        Read => drop(session.has("n").unwrap()),
        Write => session.put("n", 2).unwrap(),
        Flash => session.flash("notice", "hello").unwrap(),
        Regenerate => session.regenerate().unwrap(),
        Destroy => session.destroy().unwrap(),
    }
}

/// Returns the id that a browser's cookie holds.
async fn id_of(browser: &Browser, policy: CookiePolicy, clock: &Clock) -> Option<String> {
    let store = GateStore::new(hyper_session::store::MemoryStore::new());
    let reader = browser
        .clone()
        .with_sessions(&process(policy, &store, clock));
    browser.cookie()?;
    // Not loaded, so no store decides about the id.
    let mut reader = reader;
    let id = reader.request(async |s| s.id().unwrap().to_string()).await;
    id.value
}

async fn sent<T>(
    visit: &Visit<T>,
    (before, after): (&Browser, &Browser),
    policy: CookiePolicy,
    clock: &Clock,
) -> Sent {
    let [line] = visit.cookies()[..] else {
        assert_eq!(visit.cookies(), [""; 0]);
        return Sent::Nothing;
    };
    if line.contains("Max-Age=0") {
        return Sent::Removal;
    }
    match id_of(before, policy, clock).await == id_of(after, policy, clock).await {
        true => Sent::Own,
        false => Sent::New,
    }
}

async fn run(
    (how, fate, is_before_load): (Use, Fate, bool),
    policy: CookiePolicy,
    is_same_process: bool,
) -> Sent {
    let server = test_server(config());
    let clock = &server.clock;
    let own = process(policy, &server.store, clock);
    let other = match is_same_process {
        true => own.clone(),
        false => process(policy, &server.store, clock),
    };
    let mut browser = Browser::new(&own);
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    if how == Due {
        clock.advance(Duration::from_secs(61));
    }
    let before = browser.clone();
    let other = browser.clone().with_sessions(&other);
    let visit = browser
        .request(async |s| {
            if is_before_load {
                befall(fate, other.clone(), clock).await;
            }
            if !matches!(how, Untouched | Due) {
                s.load().await.unwrap();
            }
            if !is_before_load {
                befall(fate, other, clock).await;
            }
            apply(&s, how);
        })
        .await;
    assert_eq!(visit.status, 200);
    sent(&visit, (&before, &browser), policy, clock).await
}

#[tokio::test]
async fn a_response_speaks_only_for_its_own_request() {
    for (how, fate, before, after) in TABLE {
        for is_same in [true, false] {
            let [rolling, when_used] = before;
            for (policy, expected) in [
                (CookiePolicy::Rolling, rolling),
                (CookiePolicy::WhenUsed, when_used),
            ] {
                let sent = run((how, fate, true), policy, is_same).await;
                let place = format!("{how:?}, {fate:?} before the load, {policy:?}, {is_same}");
                assert_eq!(sent, expected, "{place}");
            }
            let [same, other, when_used] = after;
            let rolling = if is_same { same } else { other };
            for (policy, expected) in [
                (CookiePolicy::Rolling, rolling),
                (CookiePolicy::WhenUsed, when_used),
            ] {
                let sent = run((how, fate, false), policy, is_same).await;
                let place = format!("{how:?}, {fate:?} after the load, {policy:?}, {is_same}");
                assert_eq!(sent, expected, "{place}");
            }
        }
    }
}
