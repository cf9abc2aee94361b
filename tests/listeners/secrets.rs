//! Everything that a run prints, searched for secrets.

use std::sync::{Arc, Mutex};

use hyper_session::{
    Session, SessionError, Sessions,
    service::{MetricsListener, TracingListener},
    session::Event,
    store::{CookieStore, MemoryStore, Store},
    testing::{StoreCall, TestStore},
};
use metrics_util::debugging::DebuggingRecorder;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::{
    log::{Log, ONE},
    support::{
        Browser, KEY, config,
        secrets::{find, line},
    },
    tokens::{self, CsrfSecret},
};

const VALUE: &str = "a value of the session 4711";
const MEMBER: &str = "member-of-4711";
const OWNER: &str = "owner-4711";

/// Everything that is printed, and the secrets that must not be in it.
#[derive(Clone, Default)]
struct Printed {
    texts: Arc<Mutex<Vec<String>>>,
    secrets: Arc<Mutex<Vec<String>>>,
    csrf_secrets: Arc<Mutex<Vec<CsrfSecret>>>,
    /// A token, to check that the search finds it under another mask.
    token: Arc<Mutex<String>>,
}

impl Printed {
    fn add(&self, text: String) {
        self.texts.lock().unwrap().push(text);
    }

    fn add_error(&self, error: &(dyn std::error::Error + 'static)) {
        self.add(format!("{error} {error:?} {error:#?}"));
        if let Some(source) = error.source() {
            self.add_error(source);
        }
    }

    /// Keeps the secrets of a session and its cookies.
    fn hide(&self, session: &Session) {
        let id = session.id().unwrap();
        let mut secrets = self.secrets.lock().unwrap();
        let hex: String = id
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        secrets.extend([id.to_string(), hex, format!("{:?}", id.as_bytes())]);
        let token = session.csrf_token().unwrap();
        let secret = CsrfSecret::from_token(token.as_bytes()).unwrap();
        secrets.extend(secret.texts());
        self.csrf_secrets.lock().unwrap().push(secret);
        *self.token.lock().unwrap() = session.csrf_token().unwrap();
    }

    fn hide_cookies(&self, browser: &Browser) {
        let mut secrets = self.secrets.lock().unwrap();
        for name in browser.jar.names() {
            // The first characters claim a time, which is no secret.
            let value = browser.jar.get(name).unwrap();
            secrets.push(value.get(8..).unwrap_or(value).to_owned());
        }
    }

    fn check(&self) {
        let all = self.texts.lock().unwrap().join("\n");
        let csrf_secrets = self.csrf_secrets.lock().unwrap();
        assert_eq!(
            tokens::find(&all, &csrf_secrets),
            None,
            "a CSRF token is printed"
        );
        let secrets = self.secrets.lock().unwrap();
        assert!(secrets.len() > 20 && secrets.iter().all(|secret| secret.len() >= 8));
        let fixed = [KEY, VALUE, MEMBER, OWNER];
        let secrets = secrets.iter().map(String::as_str).chain(fixed);
        if let Some(at) = find(&all, secrets) {
            panic!("a secret is printed: {}", line(&all, at));
        }
    }
}

fn build(printed: &Printed, store: impl Store) -> Sessions {
    let events = printed.clone();
    let built = Sessions::builder(config())
        .store(store)
        .listener(TracingListener)
        .listener(MetricsListener)
        .listener(move |event: &Event<'_>| events.add(format!("{event:?} {event:#?}")))
        .build();
    built.unwrap()
}

/// Visits with every kind of change, success and failure.
async fn visit(printed: &Printed, sessions: &Sessions) {
    let mut browser = Browser::new(sessions);
    let change = async |session: &Session| {
        session.put("secret", VALUE).unwrap();
        session.put(MEMBER, [VALUE]).unwrap();
        session.flash("notice", VALUE).unwrap();
        printed.hide(session);
        let failures: [Result<(), SessionError>; 3] = [
            session.increment("secret").map(drop),
            session.get::<u8>("secret").map(drop),
            session.all::<Vec<u8>>().map(drop),
        ];
        for failure in failures {
            printed.add_error(&failure.unwrap_err());
        }
        printed.add(format!("{session:?} {session:#?}"));
        printed.add(format!(
            "{:?} {:?}",
            session.id().unwrap(),
            session.store_key().unwrap()
        ));
        printed.add(format!("{:?}", session.flash_messages()));
        printed.add(format!("{:?}", session.snapshot()));
    };
    for _ in 0..2 {
        browser.visit(change).await;
        printed.hide_cookies(&browser);
    }
    browser
        .visit(async |session| {
            session.tag(OWNER).unwrap();
            session.regenerate().unwrap();
            printed.hide(session);
        })
        .await;
    printed.hide_cookies(&browser);
    forged(printed, sessions, &browser).await;
    let mut other = browser.clone();
    browser
        .visit(async |session| session.destroy().unwrap())
        .await;
    other
        .request(async |session| {
            let _ = session.load().await;
            let _ = session.put("secret", VALUE);
        })
        .await;
    printed.hide_cookies(&other);
}

/// Sends cookies that do not open.
async fn forged(printed: &Printed, sessions: &Sessions, browser: &Browser) {
    for name in browser.jar.names() {
        let value = browser.jar.get(name).unwrap().to_owned();
        for forged in [
            value[1..].to_owned(),
            format!("{value}A"),
            VALUE.replace(' ', "-"),
        ] {
            let mut forger = Browser::new(sessions);
            forger.jar.set(name, &forged);
            forger.visit(async |session| printed.hide(session)).await;
            printed.hide_cookies(&forger);
        }
    }
}

/// Visits while the store fails.
async fn fail(printed: &Printed, sessions: &Sessions, store: &TestStore<MemoryStore>) {
    let mut browser = Browser::new(sessions);
    browser
        .visit(async |session| session.put("secret", VALUE).unwrap())
        .await;
    for call in [StoreCall::Read, StoreCall::Write, StoreCall::Destroy] {
        store.fail_always(call);
        let visit = browser
            .request(async |session| {
                if let Err(error) = session.load().await {
                    printed.add_error(&error);
                    return;
                }
                printed.hide(&session);
                session.put("secret", [VALUE, VALUE]).unwrap();
                if let Err(error) = session.commit().await {
                    printed.add_error(&error);
                }
                let _ = session.destroy();
            })
            .await;
        printed.add(format!("{:?} {:?}", visit.status, visit.value));
        store.clear_rules();
    }
    printed.hide_cookies(&browser);
}

#[test]
fn nothing_secret_is_printed_by_a_run_at_trace_level() {
    let _one = ONE.blocking_lock();
    let (log, printed) = (Log::default(), Printed::default());
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _here = tracing::subscriber::set_default(subscriber);
    let recorder = DebuggingRecorder::new();
    let counted = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    metrics::with_local_recorder(&recorder, || {
        runtime.block_on(async {
            let memory = TestStore::new(MemoryStore::new());
            let cookies = CookieStore::new()
                .max_chunks(2)
                .with_revocation(MemoryStore::builder().refuse_when_full(true).build());
            printed.add(format!("{memory:?} {cookies:?} {:?}", config()));
            let (at_server, in_cookies) =
                (build(&printed, memory.clone()), build(&printed, cookies));
            printed.add(format!("{at_server:?} {in_cookies:?}"));
            visit(&printed, &at_server).await;
            visit(&printed, &in_cookies).await;
            fail(&printed, &at_server, &memory).await;
        });
    });
    let metrics = counted.snapshot().into_vec();
    assert!(metrics.len() > 5, "{metrics:?}");
    printed.add(format!("{metrics:?}"));
    for event in [
        "initiated",
        "committed",
        "migrated",
        "destroyed",
        "cookie_rejected",
        "store_failed",
    ] {
        assert!(log.text().contains(event), "{event} is not logged");
    }
    printed.add(log.text());
    printed.check();
    // The search finds what is printed.
    let token = printed.token.lock().unwrap().clone();
    let cookie = printed
        .secrets
        .lock()
        .unwrap()
        .iter()
        .max_by_key(|it| it.len())
        .unwrap()[8..24]
        .to_owned();
    for text in [
        format!("x {VALUE}"),
        format!("x{token}x"),
        format!("x{cookie}x"),
    ] {
        printed.add(text);
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| printed.check()));
        assert!(found.is_err());
        printed.texts.lock().unwrap().pop();
    }
}
