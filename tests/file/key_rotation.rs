//! Keys rotate while sessions live: id cookie, data cookie, encryption at rest, fence of a rotated id.

use std::time::Duration;

use hyper_session::{
    SessionConfig, Sessions,
    clock::{Clock, Timestamp},
    seal::{KeyRing, SealKey},
    store::{CookieStore, FileStore},
};

use crate::support::{Browser, config, scratch::Scratch};

const KEYS: [&str; 3] = [
    "the first secret of thirty-two characters",
    "the second secret of thirty-two characters",
    "the third secret of thirty-two characters",
];
const GRACE: Duration = Duration::from_secs(300);

/// One deployment: a file store with encryption, and a cookie store whose large sessions overflow to it.
struct Deployment {
    file: FileStore,
    at_server: Sessions,
    in_cookies: Sessions,
}

impl Deployment {
    /// Opens the stores with a key, and with a previous key that still opens.
    fn new(scratch: &Scratch, clock: &Clock, key: &str, previous: Option<&str>) -> Self {
        let mut ring = KeyRing::new(SealKey::from_text(key).unwrap());
        let mut settings = config().app_key(key);
        if let Some(previous) = previous {
            ring = ring
                .with_previous(SealKey::from_text(previous).unwrap())
                .unwrap();
            settings = settings.previous_key(previous);
        }
        let file = FileStore::builder(scratch.path())
            .encrypt_with(&ring)
            .clock(clock.clone())
            .open()
            .unwrap();
        let overflow = CookieStore::new()
            .clock(clock.clone())
            .with_overflow(file.clone());
        let build = |config: SessionConfig| Sessions::builder(config).clock(clock.clone());
        Self {
            at_server: build(settings.clone()).store(file.clone()).build().unwrap(),
            in_cookies: build(settings.cookie_name("cookies"))
                .store(overflow)
                .build()
                .unwrap(),
            file,
        }
    }

    async fn close(self) {
        self.file.close().await.unwrap();
    }
}

/// The visitors of a service, with one session each.
struct Visitors {
    at_server: Browser,
    /// A session whose id was rotated just now, and a request with its old id.
    rotated: Browser,
    with_old_id: Browser,
    in_cookies: Browser,
    in_overflow: Browser,
}

impl Visitors {
    async fn new(deployment: &Deployment) -> Self {
        let begin = async |sessions: &Sessions, size: usize| {
            let mut browser = Browser::new(sessions);
            browser
                .visit(async |s| s.put("padding", "x".repeat(size)).unwrap())
                .await;
            browser.visit(async |s| s.increment("n").unwrap()).await;
            browser
        };
        let rotated = begin(&deployment.at_server, 10).await;
        Self {
            at_server: begin(&deployment.at_server, 10).await,
            with_old_id: rotated.clone(),
            rotated,
            in_cookies: begin(&deployment.in_cookies, 10).await,
            in_overflow: begin(&deployment.in_cookies, 9000).await,
        }
    }

    fn move_to(self, deployment: &Deployment) -> Self {
        Self {
            at_server: self.at_server.with_sessions(&deployment.at_server),
            rotated: self.rotated.with_sessions(&deployment.at_server),
            with_old_id: self.with_old_id.with_sessions(&deployment.at_server),
            in_cookies: self.in_cookies.with_sessions(&deployment.in_cookies),
            in_overflow: self.in_overflow.with_sessions(&deployment.in_cookies),
        }
    }

    /// Rotates an id, so that the fence under the old one forwards.
    async fn rotate(&mut self) {
        self.with_old_id = self.rotated.clone();
        self.rotated
            .visit(async |s| s.rotate_id(GRACE))
            .await
            .unwrap();
    }

    /// Every visitor counts. Returns the counts: the two browsers of the rotated session share one.
    async fn count(&mut self) -> [i64; 5] {
        let mut counts = [0; 5];
        let browsers = [
            &mut self.at_server,
            &mut self.with_old_id,
            &mut self.rotated,
            &mut self.in_cookies,
            &mut self.in_overflow,
        ];
        for (count, browser) in counts.iter_mut().zip(browsers) {
            let counted = browser.visit(async |s| s.increment("n").unwrap()).await;
            *count = counted.to_string().parse().unwrap();
        }
        counts
    }
}

#[tokio::test]
async fn keys_rotate_without_logouts_everywhere_at_once() {
    let scratch = Scratch::new();
    let clock = Clock::manual(Timestamp::from_millis(1_800_000_000_000));
    let first = Deployment::new(&scratch, &clock, KEYS[0], None);
    let mut visitors = Visitors::new(&first).await;
    visitors.rotate().await;
    first.close().await;

    // The old id meets a fence that the first key sealed.
    let second = Deployment::new(&scratch, &clock, KEYS[1], Some(KEYS[0]));
    let mut visitors = visitors.move_to(&second);
    assert_eq!(visitors.count().await, [2, 2, 3, 2, 2]);
    visitors.rotate().await;
    second.close().await;

    let third = Deployment::new(&scratch, &clock, KEYS[2], Some(KEYS[1]));
    let mut visitors = visitors.move_to(&third);
    assert_eq!(visitors.count().await, [3, 4, 5, 3, 3]);
    third.close().await;

    // Nothing needs an older key any more.
    let last = Deployment::new(&scratch, &clock, KEYS[2], None);
    let mut visitors = visitors.move_to(&last);
    assert_eq!(visitors.count().await, [4, 6, 7, 4, 4]);
    last.close().await;

    // The test can fail: without its key no session is found.
    let other = Deployment::new(
        &scratch,
        &clock,
        "a key of another service, long enough",
        None,
    );
    let mut stranger = visitors.move_to(&other);
    for browser in [&mut stranger.at_server, &mut stranger.in_cookies] {
        assert!(browser.visit(async |s| s.is_fresh()).await);
    }
    other.close().await;
}
