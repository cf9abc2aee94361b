//! The session collection: read, tag, count and destroy sessions without a request.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_session::{
    Session, SessionError, Sessions,
    session::SessionCollection,
    store::{Expected, MemoryStore, ReadOutcome, Store, StoreFuture, WriteOutcome, WriteRequest},
};
use serde_json::{Value, json};

use crate::support::{
    Browser, Call, TestServer, config,
    net::{Remote, serve},
    test_server,
};

async fn tagged(setup: &TestServer, owner: &str) -> Browser {
    let mut browser = setup.browser();
    browser
        .visit(async |s| {
            s.put("owner", owner)?;
            s.tag(owner)
        })
        .await
        .unwrap();
    browser
}

#[tokio::test]
async fn get_reads_a_live_session_and_nothing_else() {
    let setup = test_server(config());
    let all = setup.sessions.collection();
    let mut browser = tagged(&setup, "ada").await;
    let key = browser.visit(async |s| s.store_key()).await.unwrap();
    let found = all.get(&key).await.unwrap().unwrap();
    assert_eq!(found.all::<Value>().unwrap(), json!({"owner": "ada"}));
    assert_eq!(found.get("owner").unwrap(), Some("ada"));

    browser.visit(async |s| s.regenerate()).await.unwrap();
    assert!(all.get(&key).await.unwrap().is_none(), "the old id is dead");
    let key = browser.visit(async |s| s.store_key()).await.unwrap();
    all.destroy(&key).await.unwrap();
    assert!(all.get(&key).await.unwrap().is_none());
}

#[tokio::test]
async fn tags_are_put_on_and_taken_off() {
    let setup = test_server(config());
    let all = setup.sessions.collection();
    let mut browser = tagged(&setup, "ada").await;
    let key = browser.visit(async |s| s.store_key()).await.unwrap();
    assert_eq!(all.tagged("ada").await.unwrap(), [key]);
    assert!(all.tag(&key, "team").await.unwrap());
    assert_eq!(all.tagged("team").await.unwrap(), [key]);
    all.untag(&key, "team").await.unwrap();
    assert_eq!(all.tagged("team").await.unwrap(), []);
    browser.visit(async |s| s.untag("ada")).await.unwrap();
    assert_eq!(all.tagged("ada").await.unwrap(), []);
    all.destroy(&key).await.unwrap();
    assert!(
        !all.tag(&key, "ada").await.unwrap(),
        "there is nothing to tag"
    );
}

#[tokio::test]
async fn a_session_can_be_tagged_while_it_holds_nothing() {
    let setup = test_server(config());
    let mut browser = setup.browser();
    browser.visit(async |s| s.tag("ada")).await.unwrap();
    let key = browser.visit(async |s| s.store_key()).await.unwrap();
    let all = setup.sessions.collection();
    assert_eq!(all.tagged("ada").await.unwrap(), [key]);
}

#[tokio::test]
async fn a_tag_that_is_empty_or_too_long_is_refused() {
    let setup = test_server(config());
    for name in ["", &"x".repeat(257)] {
        let tagged = setup.browser().visit(async |s| s.tag(name)).await;
        assert!(matches!(tagged, Err(SessionError::Tag(_))));
    }
}

#[tokio::test]
async fn destroy_tagged_ends_all_of_one_owner_or_all_but_one() {
    let setup = test_server(config());
    let all = setup.sessions.collection();
    let (mut a, mut b, mut c) = (
        tagged(&setup, "ada").await,
        tagged(&setup, "ada").await,
        tagged(&setup, "bob").await,
    );
    let keep = a.visit(async |s| s.store_key()).await.unwrap();
    assert_eq!(all.destroy_tagged("ada", Some(&keep)).await.unwrap(), 1);
    let owner = async |s: &Session| s.get::<String>("owner").unwrap();
    assert_eq!(a.visit(owner).await.as_deref(), Some("ada"));
    assert_eq!(b.visit(owner).await, None);
    assert_eq!(all.destroy_tagged("ada", None).await.unwrap(), 1);
    assert_eq!(a.visit(owner).await, None);
    assert_eq!(c.visit(owner).await.as_deref(), Some("bob"));
    assert_eq!(all.destroy_tagged("unknown", None).await.unwrap(), 0);
}

#[tokio::test]
async fn a_session_that_is_about_to_be_regenerated_is_excepted_under_both_keys() {
    for (old_key, committed) in [(false, false), (true, false), (false, true), (true, true)] {
        let setup = test_server(config());
        let all = setup.sessions.collection();
        let (mut a, mut b) = (tagged(&setup, "ada").await, tagged(&setup, "ada").await);
        a.visit(async |s| {
            let old = s.store_key().unwrap();
            s.regenerate().unwrap();
            if committed {
                s.commit().await.unwrap();
            }
            let except = if old_key { old } else { s.store_key().unwrap() };
            let ended = all.destroy_tagged("ada", Some(&except)).await.unwrap();
            assert_eq!(ended, 1, "the session of the other browser");
        })
        .await;
        let owner = async |s: &Session| s.get::<String>("owner").unwrap();
        assert_eq!(a.visit(owner).await.as_deref(), Some("ada"));
        assert_eq!(b.visit(owner).await, None);
        let key = a.visit(async |s| s.store_key()).await.unwrap();
        assert_eq!(all.tagged("ada").await.unwrap(), [key]);
        assert_eq!(all.destroy_tagged("ada", None).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_rotated_session_is_excepted_under_its_old_key() {
    let grace = Duration::from_secs(300);
    let setup = test_server(config());
    let all = setup.sessions.collection();
    let (mut a, mut other) = (tagged(&setup, "ada").await, tagged(&setup, "ada").await);
    let mut tab = a.clone();
    // The other tab rotates the session while this request runs.
    a.visit(async |s| {
        tab.visit(async |s| s.rotate_id(grace)).await.unwrap();
        let own = s.store_key().unwrap();
        let ended = all.destroy_tagged("ada", Some(&own)).await.unwrap();
        assert_eq!(ended, 1, "the session of the other browser");
        assert_eq!(all.destroy_tagged("ada", Some(&own)).await.unwrap(), 0);
    })
    .await;
    let owner = async |s: &Session| s.get::<String>("owner").unwrap();
    assert_eq!(tab.visit(owner).await.as_deref(), Some("ada"));
    assert_eq!(other.visit(owner).await, None);
}

#[tokio::test]
async fn a_session_that_cannot_be_read_is_excepted_and_no_obstacle() {
    let setup = test_server(config());
    let all = setup.sessions.collection();
    let (mut a, mut b) = (tagged(&setup, "ada").await, tagged(&setup, "ada").await);
    let key = a.visit(async |s| s.store_key()).await.unwrap();
    let ReadOutcome::Found(record) = setup.memory.read(&key, None).await.unwrap() else {
        panic!("it is stored")
    };
    let hour = Duration::from_secs(3600);
    let damage = WriteRequest::new(&key, "damage", hour, Expected::Any).tags(record.tags);
    setup.memory.write(damage).await.unwrap();
    assert_eq!(all.destroy_tagged("ada", Some(&key)).await.unwrap(), 1);
    let owner = async |s: &Session| s.get::<String>("owner").unwrap();
    assert_eq!(b.visit(owner).await, None);
    let outcome = setup.memory.read(&key, None).await.unwrap();
    assert!(matches!(outcome, ReadOutcome::Found(_)));
}

/// A rotation cannot be seen, so nothing is destroyed.
#[tokio::test]
async fn sessions_are_not_destroyed_while_the_exception_cannot_be_read() {
    let setup = test_server(config());
    let all = setup.sessions.collection();
    let (mut a, mut b) = (tagged(&setup, "ada").await, tagged(&setup, "ada").await);
    let key = a.visit(async |s| s.store_key()).await.unwrap();
    setup.store.fail_nth(Call::Read, 0);
    assert!(all.destroy_tagged("ada", Some(&key)).await.is_err());
    let owner = async |s: &Session| s.get::<String>("owner").unwrap();
    assert_eq!(b.visit(owner).await.as_deref(), Some("ada"));
}

#[tokio::test]
async fn a_session_past_its_absolute_timeout_is_neither_read_nor_listed() {
    let day = Duration::from_secs(24 * 3600);
    // This service keeps the record, like one with an older configuration.
    let setup = test_server(config().age(30 * day));
    let strict = Sessions::builder(config().age(30 * day).absolute_timeout(2 * day))
        .store(setup.store.clone())
        .clock(setup.clock.clone());
    let strict = strict.build().unwrap();
    let mut browser = setup.browser();
    let tag = async |s: &Session| {
        s.put("owner", "ada")?;
        s.tag("ada")?;
        s.store_key()
    };
    let key = browser.visit(tag).await.unwrap();
    let all = strict.collection();
    setup.advance(2 * day - Duration::from_secs(1));
    assert!(all.get(&key).await.unwrap().is_some());
    assert_eq!(all.tagged("ada").await.unwrap(), [key]);
    setup.advance(Duration::from_secs(1));
    assert!(all.get(&key).await.unwrap().is_none());
    assert_eq!(all.tagged("ada").await.unwrap(), []);
    let lenient = setup.sessions.collection();
    assert_eq!(lenient.tagged("ada").await.unwrap(), [key]);
}

#[tokio::test]
async fn count_counts_what_is_stored() {
    let setup = test_server(config());
    let all = setup.sessions.collection();
    assert_eq!(all.count().await.unwrap(), Some(0));
    tagged(&setup, "ada").await;
    let mut last = tagged(&setup, "bob").await;
    assert_eq!(all.count().await.unwrap(), Some(2));
    last.visit(async |s| s.destroy()).await.unwrap();
    assert_eq!(all.count().await.unwrap(), Some(1));
    tagged(&setup, "eve")
        .await
        .visit(async |s| s.regenerate())
        .await
        .unwrap();
    let count = all.count().await.unwrap();
    assert_eq!(count, Some(3), "the fence of the old id counts");
}

/// A store with the four required methods only.
struct MinimalStore(MemoryStore);

impl Store for MinimalStore {
    fn read(
        &self,
        key: &hyper_session::id::StoreKey,
        touch: Option<std::time::Duration>,
    ) -> StoreFuture<ReadOutcome> {
        self.0.read(key, touch)
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        self.0.write(request)
    }

    fn destroy(&self, key: &hyper_session::id::StoreKey) -> StoreFuture<()> {
        self.0.destroy(key)
    }

    fn touch(
        &self,
        key: &hyper_session::id::StoreKey,
        ttl: std::time::Duration,
    ) -> StoreFuture<bool> {
        self.0.touch(key, ttl)
    }
}

#[tokio::test]
async fn a_store_of_four_methods_is_enough_but_has_no_tags_and_no_count() {
    let sessions = Sessions::new(config(), MinimalStore(MemoryStore::new())).unwrap();
    let mut browser = Browser::new(&sessions);
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    browser.visit(async |s| s.regenerate()).await.unwrap();
    assert_eq!(browser.visit(async |s| s.get("n")).await.unwrap(), Some(1));
    let refused = browser.visit(async |s| s.tag("ada")).await;
    assert!(matches!(refused, Err(SessionError::TagsUnsupported)));
    let all = sessions.collection();
    assert!(all.tagged("ada").await.is_err());
    assert_eq!(all.count().await.unwrap(), None);
    browser.visit(async |s| s.destroy()).await.unwrap();
    assert!(browser.visit(async |s| s.is_empty()).await.unwrap());
}

async fn app(request: Request<Incoming>, session: Session, all: SessionCollection) -> String {
    session.load().await.unwrap();
    match request.uri().path() {
        "/login" => {
            session.regenerate().unwrap();
            session.put("user", "ada").unwrap();
            session.tag("ada").unwrap();
        }
        "/everywhere" => {
            all.destroy_tagged("ada", None).await.unwrap();
        }
        "/elsewhere" => {
            let key = session.store_key().unwrap();
            all.destroy_tagged("ada", Some(&key)).await.unwrap();
        }
        _ => {}
    }
    session.get_or("user", "none".to_owned()).unwrap()
}

#[tokio::test]
async fn two_devices_log_out_elsewhere_and_everywhere_over_http() {
    let sessions = Sessions::new(config(), MemoryStore::new()).unwrap();
    let all = sessions.collection();
    let service = sessions.wrap_fn(move |request, session| {
        let all = all.clone();
        async move {
            let text = app(request, session, all).await;
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
        }
    });
    let server = serve(Arc::new(service)).await;
    let (mut phone, mut laptop) = (Remote::http1(server.address), Remote::http2(server.address));
    assert_eq!(phone.get("/").await.text(), "none");
    for device in [&mut phone, &mut laptop] {
        assert_eq!(device.get("/login").await.text(), "ada");
        assert_eq!(device.get("/").await.text(), "ada");
    }
    assert_eq!(phone.get("/elsewhere").await.text(), "ada");
    assert_eq!(laptop.get("/").await.text(), "none");
    assert_eq!(phone.get("/").await.text(), "ada");
    laptop.get("/login").await;
    phone.get("/everywhere").await;
    for device in [&mut phone, &mut laptop] {
        assert_eq!(device.get("/").await.text(), "none");
    }
}
