//! Visitors, each with a session of its own, and counters, which share one.

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::task::JoinHandle;

use crate::{
    faults::StoreKind,
    ledger::Ledger,
    server::{AGE, Contents, GRACE, Job},
    support::Jar,
};

/// The deadlines of a request: three operations of the store (to load a session, to list those of a tag and to
/// destroy them) of 3 s each, a commit of 5 s, and the suspension of its server for 2 s.
const DEADLINE: Duration = Duration::from_secs(3 * 3 + 5 + 2);

/// The time by which a busy machine may run a timer late, in the server and in this process. The slowest request
/// is in the report.
const SCHEDULING_ALLOWANCE: Duration = Duration::from_secs(4);

/// The time in which each request must end, with an answer or an error.
const REQUEST_LIMIT: Duration = DEADLINE.saturating_add(SCHEDULING_ALLOWANCE);

/// The time in which the site must answer again after the last fault.
const RECOVERY_LIMIT: Duration = Duration::from_secs(60);

/// A visitor removes numbers from a session that has more.
const MAX_NUMBERS: usize = 10;

/// The number of cookies of ended sessions that a visitor tries again.
const MAX_ENDED: usize = 16;

/// Addresses of the servers. A server that starts again has a new one.
pub(crate) type Addresses = Arc<RwLock<Vec<SocketAddr>>>;

/// The servers, as visitors see them, and what happened to all requests.
pub(crate) struct Site {
    store: StoreKind,
    addresses: Addresses,
    client: Client<HttpConnector, Full<Bytes>>,
    pub(crate) stop: AtomicBool,
    failed: AtomicBool,
    pub(crate) acknowledged: AtomicU64,
    pub(crate) unknown: AtomicU64,
    pub(crate) ended: AtomicU64,
    /// Microseconds of each request that was answered with success.
    pub(crate) times: Mutex<Vec<u32>>,
    /// Milliseconds of the slowest request, whatever its outcome.
    pub(crate) slowest: AtomicU64,
    counters: Mutex<CounterState>,
}

/// The session that all counters share.
#[derive(Default)]
struct CounterState {
    jar: Jar,
    /// The increments of each counter: acknowledged, and without acknowledgement.
    totals: Vec<(u64, u64)>,
}

/// The result of a request.
enum Reply {
    Done(Contents),
    /// It may have been applied, or may still be.
    Unknown,
    /// No server was reached.
    NotSent,
}

impl Site {
    pub(crate) fn new(store: StoreKind, addresses: Addresses) -> Self {
        Self {
            store,
            addresses,
            client: Client::builder(TokioExecutor::new()).build_http(),
            stop: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            times: Mutex::default(),
            slowest: AtomicU64::new(0),
            counters: Mutex::default(),
        }
    }

    /// Returns `true` if a visitor has found a mistake, so that the soak can end.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Relaxed)
    }

    /// Marks the soak as failed and panics.
    fn fail(&self, text: &str) -> ! {
        self.failed.store(true, Relaxed);
        panic!("{text}");
    }

    /// Sends a request to one of the servers.
    async fn send(&self, jar: &mut Jar, job: &Job, server: u64) -> Reply {
        let start = Instant::now();
        let result = tokio::time::timeout(REQUEST_LIMIT, self.exchange(jar, job, server)).await;
        let took = start.elapsed();
        self.slowest.fetch_max(took.as_millis() as u64, Relaxed);
        let Ok(reply) = result else {
            self.fail(&format!("{job:?}: no answer within {REQUEST_LIMIT:?}"));
        };
        match reply {
            Reply::Done(_) => {
                self.acknowledged.fetch_add(1, Relaxed);
                self.times.lock().unwrap().push(took.as_micros() as u32);
            }
            Reply::Unknown => drop(self.unknown.fetch_add(1, Relaxed)),
            // The server is about to start again.
            Reply::NotSent => tokio::time::sleep(Duration::from_millis(20)).await,
        }
        reply
    }

    async fn exchange(&self, jar: &mut Jar, job: &Job, server: u64) -> Reply {
        let address = {
            let addresses = self.addresses.read().unwrap();
            addresses[server as usize % addresses.len()]
        };
        let mut request = Request::post(format!("http://{address}/"));
        jar.add_to(request.headers_mut().unwrap());
        let body = serde_json::to_vec(job).unwrap();
        let request = request.body(Full::from(body)).unwrap();
        let response = match self.client.request(request).await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Reply::NotSent,
            Err(_) => return Reply::Unknown,
        };
        let (head, body) = response.into_parts();
        let Ok(body) = body.collect().await else {
            return Reply::Unknown;
        };
        self.read(jar, job, head.status, &head.headers, &body.to_bytes())
    }

    fn read(
        &self,
        jar: &mut Jar,
        job: &Job,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Reply {
        match status {
            StatusCode::OK => {
                jar.take_from(headers);
                Reply::Done(serde_json::from_slice(body).unwrap())
            }
            StatusCode::SERVICE_UNAVAILABLE => Reply::Unknown,
            other => {
                let text = String::from_utf8_lossy(body);
                self.fail(&format!("{job:?}: {other} {text}"))
            }
        }
    }

    fn note_count(&self, task: usize, reply: &Reply, jar: &Jar) {
        let mut counters = self.counters.lock().unwrap();
        match reply {
            Reply::Done(_) => counters.totals[task].0 += 1,
            Reply::Unknown => counters.totals[task].1 += 1,
            Reply::NotSent => {}
        }
        counters.jar = jar.clone();
    }

    /// Compares the shared session with the increments of all counters.
    pub(crate) async fn check_counters(&self) {
        let (mut jar, totals) = {
            let counters = self.counters.lock().unwrap();
            (counters.jar.clone(), counters.totals.clone())
        };
        if totals.is_empty() {
            return;
        }
        let contents = self.read_at_last(&mut jar).await;
        for (task, (acknowledged, unknown)) in totals.into_iter().enumerate() {
            let name = format!("task{task}");
            let count = contents
                .data
                .get(&name)
                .map_or(0, |it| it.as_u64().unwrap());
            if !(acknowledged..=acknowledged + unknown).contains(&count) {
                self.fail(&format!(
                    "counter {task}: {count}, with {acknowledged} acknowledged and {unknown} unknown"
                ));
            }
        }
    }

    /// Reads a session, if need be several times, since the last fault may have left a server busy.
    async fn read_at_last(&self, jar: &mut Jar) -> Contents {
        let start = Instant::now();
        loop {
            if let Reply::Done(contents) = self.send(jar, &Job::Read, 0).await {
                return contents;
            }
            if start.elapsed() > RECOVERY_LIMIT {
                self.fail(&format!("no session can be read after {RECOVERY_LIMIT:?}"));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// A task that counts in a session that it shares with others.
pub(crate) struct Counter;

impl Counter {
    /// Starts tasks that share a session. There are none if the store keeps a session in the browser, which
    /// cannot merge changes.
    pub(crate) async fn start_all(site: &Arc<Site>, count: usize) -> Vec<JoinHandle<()>> {
        if site.store == StoreKind::Cookie {
            return Vec::new();
        }
        let mut jar = Jar::default();
        let first = site.send(&mut jar, &Job::Flash(0), 0).await;
        assert!(matches!(first, Reply::Done(_)), "the servers answer");
        *site.counters.lock().unwrap() = CounterState {
            jar: jar.clone(),
            totals: vec![(0, 0); count],
        };
        (0..count)
            .map(|task| tokio::spawn(Self::run(Arc::clone(site), task, jar.clone())))
            .collect()
    }

    async fn run(site: Arc<Site>, task: usize, mut jar: Jar) {
        for server in 0.. {
            if site.stop.load(Relaxed) || site.has_failed() {
                break;
            }
            let reply = site.send(&mut jar, &Job::Count(task), server).await;
            site.note_count(task, &reply, &jar);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A cookie whose session must have ended.
struct EndedCookie {
    jar: Jar,
    since: Instant,
}

/// A visitor with a session of its own.
pub(crate) struct Visitor {
    number: u64,
    site: Arc<Site>,
    random: u64,
    jar: Jar,
    ledger: Ledger,
    /// The number of sessions that it has had.
    generation: u64,
    has_tag: bool,
    next: u64,
    shown: BTreeSet<u64>,
    ended: VecDeque<EndedCookie>,
}

impl Visitor {
    pub(crate) fn new(number: u64, site: &Arc<Site>) -> Self {
        Self {
            number,
            site: Arc::clone(site),
            random: number,
            jar: Jar::default(),
            ledger: Ledger::default(),
            generation: 0,
            has_tag: false,
            next: 0,
            shown: BTreeSet::new(),
            ended: VecDeque::new(),
        }
    }

    /// Sends requests until the soak stops, and checks the session at the end.
    pub(crate) async fn run(mut self) {
        while !self.site.stop.load(Relaxed) && !self.site.has_failed() {
            self.act().await;
            let pause = self.draw(100);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        let site = Arc::clone(&self.site);
        let contents = site.read_at_last(&mut self.jar).await;
        self.check(&contents);
    }

    async fn act(&mut self) {
        match self.draw(100) {
            0..40 => self.read().await,
            40..60 => self.change().await,
            60..70 => self.change_twice_at_once().await,
            70..76 => self.cancel_change().await,
            76..84 => self.flash().await,
            84..87 => self.tag().await,
            87..91 => self.replace_id(Job::Regenerate, Duration::ZERO).await,
            91..94 => self.replace_id(Job::Rotate, GRACE).await,
            94..96 => self.end().await,
            96..97 => self.abandon(AGE),
            _ => self.try_ended_cookie().await,
        }
    }

    async fn send(&mut self, job: &Job) -> Reply {
        let server = self.draw(1 << 20);
        self.site.send(&mut self.jar, job, server).await
    }

    async fn read(&mut self) {
        if let Reply::Done(contents) = self.send(&Job::Read).await {
            self.check(&contents);
        }
    }

    fn check(&mut self, contents: &Contents) {
        if let Err(mistake) = self.ledger.check(&contents.data) {
            self.fail(&mistake);
        }
        if let Some(note) = contents.flash
            && !self.shown.insert(note)
        {
            self.fail(&format!("flash message {note} is shown twice"));
        }
    }

    fn fail(&self, mistake: &str) -> ! {
        self.site.fail(&format!(
            "visitor {}, session {}: {mistake}",
            self.number, self.generation
        ))
    }

    /// Returns the next number to add, or a number to remove.
    fn next_change(&mut self) -> Job {
        let present = self.ledger.present();
        if present.len() > MAX_NUMBERS {
            let at = self.draw(present.len() as u64);
            return Job::Remove(present[at as usize]);
        }
        self.next += 1;
        Job::Add(self.next)
    }

    async fn change(&mut self) {
        let job = self.next_change();
        let reply = self.send(&job).await;
        self.note(&job, &reply);
    }

    /// Notes the outcome of a change.
    fn note(&mut self, job: &Job, reply: &Reply) {
        let is_acknowledged = match reply {
            Reply::Done(_) => true,
            Reply::Unknown => false,
            Reply::NotSent => return,
        };
        match *job {
            Job::Add(number) => self.ledger.add(number, is_acknowledged),
            Job::Remove(number) => self.ledger.remove(number, is_acknowledged),
            _ => unreachable!("{job:?} is no change"),
        }
        if let Reply::Done(Contents {
            flash: Some(note), ..
        }) = reply
            && !self.shown.insert(*note)
        {
            self.fail(&format!("flash message {note} is shown twice"));
        }
        // Without a cookie, a session whose first response is lost cannot be reached.
        if self.jar.get("session").is_none() {
            self.begin_again();
        }
    }

    /// Sends two changes at the same time, to any of the servers.
    async fn change_twice_at_once(&mut self) {
        if self.ledger.present().is_empty() || self.site.store == StoreKind::Cookie {
            return self.change().await;
        }
        self.next += 2;
        let (one, two) = (Job::Add(self.next - 1), Job::Add(self.next));
        let (mut jar, site) = (self.jar.clone(), Arc::clone(&self.site));
        let server = self.draw(1 << 20);
        let (first, second) = tokio::join!(
            site.send(&mut self.jar, &one, server),
            site.send(&mut jar, &two, server + 1),
        );
        // A flash message can be in both responses.
        for (job, reply) in [(one, first), (two, second)] {
            let reply = match reply {
                Reply::Done(contents) => {
                    self.shown.extend(contents.flash);
                    Reply::Done(Contents::default())
                }
                reply => reply,
            };
            self.note(&job, &reply);
        }
    }

    /// Closes the connection before the answer has come.
    async fn cancel_change(&mut self) {
        let job = self.next_change();
        let wait = Duration::from_micros(self.draw(3_000));
        let reply = tokio::time::timeout(wait, self.send(&job)).await;
        self.note(&job, &reply.unwrap_or(Reply::Unknown));
    }

    async fn flash(&mut self) {
        self.next += 1;
        let reply = self.send(&Job::Flash(self.next)).await;
        if let Reply::Done(contents) = reply {
            // The message of the request itself is for the next one.
            self.shown.extend(contents.flash);
        }
    }

    fn tag_name(&self) -> String {
        format!("visitor{}-{}", self.number, self.generation)
    }

    async fn tag(&mut self) {
        if self.site.store == StoreKind::Cookie {
            return;
        }
        let tag = Job::Tag(self.tag_name());
        if let Reply::Done(contents) = self.send(&tag).await {
            self.check(&contents);
            self.has_tag = true;
        }
    }

    /// Replaces the id. The former one must be dead once `grace` has passed.
    async fn replace_id(&mut self, job: Job, grace: Duration) {
        let former = self.jar.clone();
        match self.send(&job).await {
            Reply::Done(contents) => {
                self.check(&contents);
                if former.get("session").is_some() {
                    self.remember(former, grace);
                }
            }
            // The new id is lost if the change was applied.
            Reply::Unknown => self.begin_again(),
            Reply::NotSent => {}
        }
    }

    /// Ends the session by itself, or by its tag.
    async fn end(&mut self) {
        let former = self.jar.clone();
        let by_tag = self.has_tag && self.draw(2) == 0;
        let reply = if by_tag {
            let (job, server) = (Job::EndTagged(self.tag_name()), self.draw(1 << 20));
            self.site.send(&mut Jar::default(), &job, server).await
        } else {
            self.send(&Job::Destroy).await
        };
        match reply {
            Reply::Done(contents) => {
                if by_tag && contents.ended == 0 {
                    self.fail("its tag finds nothing");
                }
                self.site.ended.fetch_add(1, Relaxed);
                if former.get("session").is_some() {
                    self.remember(former, Duration::ZERO);
                }
                self.begin_again();
            }
            Reply::Unknown => self.begin_again(),
            Reply::NotSent => {}
        }
    }

    /// Leaves the session to expire.
    fn abandon(&mut self, age: Duration) {
        let former = self.jar.clone();
        if former.get("session").is_some() {
            // A request without an acknowledgement may still renew it for a while.
            self.remember(former, age + REQUEST_LIMIT);
        }
        self.begin_again();
    }

    fn begin_again(&mut self) {
        self.jar.clear();
        self.ledger = Ledger::default();
        self.generation += 1;
        self.has_tag = false;
    }

    /// Remembers the cookie of a session that has ended once `time` has passed.
    fn remember(&mut self, jar: Jar, time: Duration) {
        // The browser's cookie is the session, so a copy of it stays valid.
        if self.site.store == StoreKind::Cookie && time < AGE {
            return;
        }
        if self.ended.len() == MAX_ENDED {
            self.ended.pop_front();
        }
        let since = Instant::now() + time;
        self.ended.push_back(EndedCookie { jar, since });
    }

    async fn try_ended_cookie(&mut self) {
        let count = self.ended.len() as u64;
        if count == 0 {
            return;
        }
        let at = self.draw(count) as usize;
        if self.ended[at].since > Instant::now() {
            return;
        }
        let (mut jar, server) = (self.ended[at].jar.clone(), self.draw(1 << 20));
        let reply = self.site.send(&mut jar, &Job::Read, server).await;
        if let Reply::Done(contents) = reply
            && !contents.data.is_empty()
        {
            self.fail("an ended session is back");
        }
    }

    /// Returns a random number below `limit` (splitmix64).
    fn draw(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}
