//! A full run on all stores with all logs, metrics, events, `Debug` texts and errors: none contains a
//! secret.

use std::{
    error::Error,
    fmt::{Debug, Write},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use http::Request;
use http_body_util::Full;
use hyper_session::{
    CookieStore, Event, FileStore, MemoryStore, MigratingStore, RedisStore, Session, SessionConfig,
    Sessions,
    cookie::{CookieName, Finder},
    form::{Input, InputLimits, ValidationErrors},
    id::SessionId,
    import::Importer,
    seal::SealKey,
    service::{RequestInfo, SessionsBuilder},
    store::{Expected, Store, Tag, Tags, WriteRequest},
    testing::{StoreCall, TestStore},
};
use metrics_util::debugging::DebuggingRecorder;
use serde_json::json;

use crate::{
    file_stores::show_file_stores,
    forms::show_forms,
    log::Log,
    support::{
        Browser,
        redis_servers::Server,
        scratch::Scratch,
        secrets::{find, line},
        test_name,
    },
    tokens::{self, CsrfSecret},
};

pub(crate) const APP_KEY: &str = "canary-key-of-thirty-two-characters-1";
const PREVIOUS_KEY: &str = "canary-key-of-thirty-two-characters-2";
const PASSWORD: &str = "canary-redis-password";
/// Part of every value, message, tag and form field of the sessions.
pub(crate) const VALUE: &str = "canary-value";

/// All texts that a program may print, and the secrets that must not be in them.
#[derive(Clone, Default)]
pub(crate) struct Capture {
    texts: Arc<Mutex<String>>,
    secrets: Arc<Mutex<Vec<String>>>,
    csrf_secrets: Arc<Mutex<Vec<CsrfSecret>>>,
}

impl Capture {
    pub(crate) fn show(&self, shown: &dyn Debug) {
        writeln!(self.texts.lock().unwrap(), "{shown:?} {shown:#?}").unwrap();
    }

    /// Adds what a program has printed.
    pub(crate) fn add(&self, text: &str) {
        writeln!(self.texts.lock().unwrap(), "{text}").unwrap();
    }

    pub(crate) fn has(&self, text: &str) -> bool {
        self.texts.lock().unwrap().contains(text)
    }

    pub(crate) fn show_error(&self, error: &(dyn Error + 'static)) {
        writeln!(self.texts.lock().unwrap(), "{error:?} {error:#?}").unwrap();
        for error in std::iter::successors(Some(error), |&error| error.source()) {
            writeln!(self.texts.lock().unwrap(), "{error}").unwrap();
        }
    }

    #[track_caller]
    pub(crate) fn show_failure<T>(&self, result: Result<T, impl Error + 'static>) {
        let error = result.err();
        self.show_error(&error.expect("an error to show"));
    }

    pub(crate) fn hide(&self, secret: impl Into<String>) {
        self.secrets.lock().unwrap().push(secret.into());
    }

    /// Hides what identifies a session: its id and its CSRF secret.
    pub(crate) fn hide_session(&self, session: &Session) {
        self.hide(session.id().unwrap().to_string());
        let token = session.csrf_token().unwrap();
        let secret = CsrfSecret::from_token(token.as_bytes()).unwrap();
        secret.texts().into_iter().for_each(|text| self.hide(text));
        self.csrf_secrets.lock().unwrap().push(secret);
        let bytes = session.id().unwrap();
        let hex = bytes.as_bytes().iter().map(|byte| format!("{byte:02x}"));
        self.hide(hex.collect::<String>());
    }

    pub(crate) fn hide_cookies(&self, browser: &Browser) {
        for name in browser.jar.names() {
            self.hide(browser.jar.get(name).unwrap());
        }
    }
}

pub(crate) fn config() -> SessionConfig {
    SessionConfig::default()
        .secure(false)
        .app_key(APP_KEY)
        .previous_key(PREVIOUS_KEY)
}

pub(crate) fn build(config: SessionConfig, store: impl Store, capture: &Capture) -> Sessions {
    build_with(Sessions::builder(config).store(store), capture)
}

/// Builds sessions that show their events.
pub(crate) fn build_with(builder: SessionsBuilder, capture: &Capture) -> Sessions {
    let events = capture.clone();
    let sessions = builder
        .listener(move |event: &Event<'_>| {
            events.show(event);
            if let Event::StoreFailed { error, .. } = event {
                events.show_error(*error);
            }
        })
        .build()
        .unwrap();
    capture.show(&sessions);
    sessions
}

/// Uses every kind of operation, with the secret value in all that a session holds.
pub(crate) async fn use_sessions(sessions: &Sessions, capture: &Capture) {
    let mut browser = Browser::new(sessions);
    let value = json!({"name": VALUE, "list": [VALUE], VALUE: 1});
    let tag = format!("tag-{VALUE}");
    browser
        .visit(async |s| {
            s.put("data", &value).unwrap();
            s.put(VALUE, 1).unwrap();
            s.flash("message", VALUE).unwrap();
            s.set_intended_url(&format!("/{VALUE}")).unwrap();
            capture.show(s);
            capture.show(&s.all::<serde_json::Map<_, _>>().is_ok());
            capture.show(&s.snapshot().unwrap());
            capture.show(&s.flash_messages().unwrap());
            capture.hide_session(s);
        })
        .await;
    capture.hide_cookies(&browser);
    browser
        .visit(async |s| {
            drop(s.tag(&tag));
            capture.show(s);
            show_failures(s, capture);
            s.commit().await.unwrap();
            s.pull::<serde_json::Value>("data.list").unwrap();
            s.regenerate().unwrap();
            capture.hide_session(s);
        })
        .await;
    capture.hide_cookies(&browser);
    let mut other = browser.clone();
    browser
        .visit(async |s| {
            drop(s.rotate_id(Duration::from_secs(60)));
            s.put("data.name", VALUE).unwrap();
            capture.hide_session(s);
        })
        .await;
    capture.hide_cookies(&browser);
    other.request(async |s| drop(s.load().await)).await;
    let mut forged = browser.clone();
    let cookie = browser.cookie().unwrap().to_owned();
    forged
        .jar
        .set("session", &cookie.replace(['a', 'e', 'x'], "b"));
    capture.hide_cookies(&forged);
    forged.request(async |s| drop(s.load().await)).await;
    let collection = sessions.collection();
    capture.show(&collection);
    if let Err(error) = collection.destroy_tagged(&tag, None).await {
        capture.show_error(&error);
    }
    let mut browser = Browser::new(sessions);
    browser.visit(async |s| s.put("data", VALUE).unwrap()).await;
    capture.hide_cookies(&browser);
    let mut late = browser.clone();
    late.request(async |s| {
        s.load().await.unwrap();
        browser
            .visit(async |s| {
                s.destroy().unwrap();
                s.flash("bye", VALUE).unwrap();
            })
            .await;
        s.put("late", VALUE).unwrap();
    })
    .await;
    capture.hide_cookies(&browser);
    sessions.record_metrics();
}

/// Calls methods that fail because of the session's values.
fn show_failures(session: &Session, capture: &Capture) {
    capture.show_failure(session.get::<u8>("data.name"));
    capture.show_failure(session.get::<Vec<u8>>("data"));
    capture.show_failure(session.increment("data.name"));
    capture.show_failure(session.put("data.list.99999999", VALUE));
    capture.show_failure(session.set_intended_url(&format!("//{VALUE}.example/")));
    capture.show_failure(session.put("large", "canary-value".repeat(200_000)));
    capture.show_failure(session.flash("large", "canary-value".repeat(200_000)));
    capture.show_failure(Tag::new("canary-value".repeat(100)));
    let errors = ValidationErrors::new().with_error("name", format!("not {VALUE}"));
    session.set_form_input(json!({"name": VALUE, "password": VALUE}));
    errors.flash(session).unwrap();
}

/// Stores that fail, records that do not open, and settings that are wrong.
async fn show_troubles(capture: &Capture) {
    let store = TestStore::new(MemoryStore::new());
    let sessions = build(config(), store.clone(), capture);
    let mut browser = Browser::new(&sessions);
    browser
        .visit(async |s| {
            s.put("data", VALUE).unwrap();
            capture.hide_session(s);
        })
        .await;
    capture.hide_cookies(&browser);
    let put = async |s: Session| match s.load().await {
        Ok(session) => session.put("data", [VALUE]).unwrap(),
        Err(error) => capture.show_error(&error),
    };
    store.fail(StoreCall::Write);
    browser.request(put).await;
    store.fail(StoreCall::Read);
    browser.request(put).await;
    // Another key, and a change that does not fit another one.
    let stranger = config().app_key("canary-key-of-thirty-two-characters-3");
    let stranger = build(stranger, store.clone(), capture);
    let moved = browser.clone().with_sessions(&stranger);
    moved.clone().request(put).await;
    browser
        .visit(async |s| s.put("data", [VALUE]).unwrap())
        .await;
    let (mut first, mut second) = (browser.clone(), browser.clone());
    let writes = store.hold(StoreCall::Write);
    let slow = first.request(async |s| s.load().await.unwrap().push("data", VALUE).unwrap());
    let fast = async {
        writes.reached().await;
        let replace = async |s: Session| s.load().await.unwrap().put("data", VALUE).unwrap();
        second.request(replace).await;
        writes.open();
    };
    tokio::join!(slow, fast);
    for config in [
        config().app_key("canary-short"),
        config().app_key("\"canary-key-of-thirty-two-characters-4\""),
        config().previous_key("canary-short"),
        SessionConfig::default(),
    ] {
        capture.show(&config);
        if let Err(error) = Sessions::new(config, MemoryStore::new()) {
            capture.show_error(&error);
        }
    }
    let key = SealKey::from_text(APP_KEY).unwrap();
    capture.show(&key);
}

/// What a store, a cookie scan and an error page hold of a session and a request.
async fn show_parts(capture: &Capture) {
    let key = SessionId::generate().unwrap().store_key();
    let mut tags = Tags::new();
    tags.insert(&Tag::new(VALUE).unwrap()).unwrap();
    let request = WriteRequest::new(&key, VALUE, Duration::from_secs(60), Expected::Absent);
    let request = request.tags(tags);
    capture.show(&request);
    let store = MemoryStore::new();
    store.write(request.clone()).await.unwrap();
    capture.show(&store.write(request).await.unwrap());
    capture.show(&store.read(&key, None).await.unwrap());
    let line = format!("a={VALUE}; session={VALUE}");
    let head = Request::get(format!("/?token={VALUE}"))
        .header("cookie", &line)
        .header("referer", format!("http://localhost/?token={VALUE}"));
    let head = head.body(()).unwrap();
    let finder = Finder::new(&CookieName::new("session").unwrap());
    for mut cookies in [finder.find(head.headers()), finder.find_in(line.as_bytes())] {
        capture.show(&cookies);
        cookies.next().unwrap();
        capture.show(&cookies);
    }
    capture.show(&RequestInfo::new(&head));
}

/// A form with a file, and the import of a session.
async fn show_files(capture: &Capture) {
    let body = format!(
        "--b\r\ncontent-disposition: form-data; name=\"{VALUE}\"; filename=\"{VALUE}\"\r\n\r\n\
         {VALUE}\r\n--b--\r\n"
    );
    let request = Request::post("/")
        .header("content-type", "multipart/form-data; boundary=b")
        .body(Full::<bytes::Bytes>::from(body))
        .unwrap();
    let mut reader = Input::reader(request, &InputLimits::new()).await.unwrap();
    capture.show(&reader.next_file().await.unwrap().unwrap());
    let input = reader.finish().await.unwrap();
    capture.show(&(&input, input.files()));
    let folder = Scratch::new();
    let sessions = folder.path().join("sessions");
    std::fs::create_dir(&sessions).unwrap();
    std::fs::write(sessions.join(format!("{VALUE}.txt")), VALUE).unwrap();
    let store = FileStore::open(folder.path().join("store")).unwrap();
    let importer = Importer::new(&sessions, Duration::from_secs(60));
    let import = importer.run(&store, |file| {
        capture.show(&file);
        None
    });
    assert_eq!(import.await.unwrap().refused, 1);
}

/// A commit while it writes.
async fn show_commit(capture: &Capture) {
    let store = TestStore::new(MemoryStore::new());
    let sessions = build(config(), store.clone(), capture);
    let mut browser = Browser::new(&sessions);
    browser.visit(async |s| s.put("data", VALUE).unwrap()).await;
    capture.hide_cookies(&browser);
    let change = async |s: Session| {
        s.load().await.unwrap().put("data", [VALUE]).unwrap();
        let write = store.hold(StoreCall::Write);
        let mut commit = Box::pin(s.commit());
        tokio::select! {
            biased;
            _ = &mut commit => panic!("the write is held"),
            () = write.reached() => capture.show(&commit),
        }
        write.open();
        commit.await.unwrap();
    };
    browser.request(change).await;
    capture.hide_cookies(&browser);
}

async fn run(capture: &Capture) {
    show_parts(capture).await;
    show_files(capture).await;
    show_commit(capture).await;
    show_forms(capture).await;

    show_file_stores(capture).await;

    use_sessions(&build(config(), MemoryStore::new(), capture), capture).await;
    let cookies = CookieStore::new()
        .with_overflow(MemoryStore::new())
        .with_revocation(MemoryStore::builder().refuse_when_full(true).build());
    use_sessions(&build(config(), cookies, capture), capture).await;
    let migrating = MigratingStore::new(MemoryStore::new(), MemoryStore::new());
    use_sessions(&build(config(), migrating, capture), capture).await;
    let server = Server::start_with(&["--requirepass", PASSWORD]);
    let url = |password: &str| format!("redis://:{password}@127.0.0.1:{}", server.port);
    let redis = RedisStore::connect(&url(PASSWORD)).await.unwrap();
    capture.show(&redis);
    let sessions = build(config(), redis, capture);
    use_sessions(&sessions, capture).await;
    let cached = RedisStore::builder(&url(PASSWORD)).with_near_cache();
    capture.show(&cached);
    let cached = cached.connect().await.unwrap();
    use_sessions(&build(config(), cached.clone(), capture), capture).await;
    capture.show(&(&cached, cached.cache_stats()));
    capture.hide("canary-wrong-password");
    capture.show_failure(RedisStore::connect(&url("canary-wrong-password")).await);
    capture.show_failure(RedisStore::builder("redis://:canary-wrong-password@:x").build());
    let mut browser = Browser::new(&sessions);
    browser.visit(async |s| s.put("data", VALUE).unwrap()).await;
    capture.hide_cookies(&browser);
    drop(server);
    browser.request(async |s| drop(s.load().await)).await;
    show_troubles(capture).await;
}

/// Set in the process whose output is searched.
const OWN_PROCESS: &str = "FULL_RUN";

/// The subscriber and the recorder are those of all threads, so the run has a process of its own.
#[test]
fn logs_metrics_events_and_errors_contain_no_secret() {
    if std::env::var_os(OWN_PROCESS).is_some() {
        return search_full_run();
    }
    let test = "logs_metrics_events_and_errors_contain_no_secret";
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&test_name(module_path!(), test), "--exact"])
        .env(OWN_PROCESS, "1")
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("1 passed"), "{printed}");
}

fn search_full_run() {
    let (capture, log) = (Capture::default(), Log::default());
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_ansi(false)
        .with_thread_names(true)
        .with_writer(log.clone())
        .init();
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run(&capture));
    let metrics = snapshotter.snapshot().into_vec();
    let metrics: Vec<String> = metrics.iter().map(|metric| format!("{metric:?}")).collect();
    let texts = [
        ("log", log.text()),
        ("metrics", metrics.join("\n")),
        ("texts", capture.texts.lock().unwrap().clone()),
    ];
    assert_complete(&texts);
    assert_no_secret(&texts, &capture);
}

/// Checks that each kind of output is there, so that the search can find something.
fn assert_complete(texts: &[(&str, String)]) {
    for (text, part) in [
        (0, "session.commit{store=\"cookie\" outcome=\"stored\""),
        (0, "event=\"store_failed\""),
        (0, "event=\"cookie_rejected\""),
        (
            0,
            "event=\"store_problem\" store=\"file\" problem=\"damaged\"",
        ),
        (0, "event=\"store_stopped\" store=\"file\""),
        (1, "store_problem"),
        (1, "store_stopped"),
        (1, "hyper_session_load_seconds"),
        (2, "CookieRejected"),
        (2, "WriteDropped"),
        (2, "Conflict {"),
        (2, "StoreFailed"),
        (2, "StoreProblem {"),
        (2, "StoreStopped {"),
        (2, "Conflict(Record {"),
        (2, "WriteRequest {"),
        (2, "RequestInfo {"),
        (2, "FileInfo {"),
        (2, "ImportedFile {"),
        (2, "Commit {"),
        (2, "CsrfFailed"),
        (2, "RequestFailure {"),
        (2, "CacheStats {"),
        (2, "session-file: sound"),
        (2, "are damaged at offset"),
        (2, "session-file: session-file: environment variable CANARY"),
    ] {
        assert!(texts[text].1.contains(part), "{part} in {}", texts[text].0);
    }
    let mut lines = texts[0].1.lines();
    let stopped = lines.find(|line| line.contains("store_stopped")).unwrap();
    assert!(
        stopped.contains(" file-"),
        "not from the store's thread: {stopped}"
    );
}

fn assert_no_secret(texts: &[(&str, String)], capture: &Capture) {
    let csrf_secrets = capture.csrf_secrets.lock().unwrap().clone();
    for (kind, text) in texts {
        assert_eq!(tokens::find(text, &csrf_secrets), None, "in the {kind}");
    }
    let secrets = capture.secrets.lock().unwrap().clone();
    assert!(secrets.len() > 60, "{}", secrets.len());
    let bytes = format!("{:?}", VALUE.as_bytes());
    let bytes = bytes.trim_matches(['[', ']']);
    let fixed = ["canary", APP_KEY, PREVIOUS_KEY, PASSWORD, VALUE, bytes];
    let secrets = secrets.iter().map(String::as_str).chain(fixed);
    assert!(secrets.clone().all(|secret| secret.len() >= 6));
    for (kind, text) in texts {
        if let Some(at) = find(text, secrets.clone()) {
            panic!("a secret is in the {kind}: {}", line(text, at));
        }
    }
}
