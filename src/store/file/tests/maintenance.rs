//! The maintenance thread while compactions fail, in simulated time.

use std::{
    sync::{Arc, Mutex, OnceLock, Weak, atomic::Ordering, mpsc},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    super::{
        Durability, FileError, FileEvent, FileStore, async_ops::FileInner,
        monotonic_time::MonotonicTime, recover,
    },
    disk::{FailingCall, SimDisk},
    workload::clock,
};
use crate::{
    id::StoreKey,
    store::{Expected, WriteRequest},
};

const KEY: StoreKey = StoreKey::from_bytes([7; StoreKey::LEN]);
const LIFE: Duration = Duration::from_secs(60);

/// A request to compact the whole log, and the time of the request.
type Request = (oneshot::Receiver<Result<(), FileError>>, Instant);

/// Requests to compact the whole log, each made after the answer to the last one, and the longest time until an
/// answer.
#[derive(Default)]
struct Requests {
    current: Option<Request>,
    longest: Duration,
    answers: usize,
}

impl Requests {
    fn update(&mut self, inner: &FileInner, now: Instant) {
        if let Some((receiver, began)) = &mut self.current {
            if receiver.try_recv().is_err() {
                return;
            }
            self.longest = self.longest.max(now - *began);
            self.answers += 1;
        }
        self.current = Some((inner.maintenance.compact(&inner.engine), now));
    }
}

#[test]
fn compactions_that_fail_do_not_delay_other_work() {
    let (disk, time) = (
        SimDisk::with_fault(None),
        MonotonicTime::from(Instant::now()),
    );
    let requests = Arc::new(Mutex::new(Requests::default()));
    let opened = Arc::new(OnceLock::<Weak<FileInner>>::new());
    let (shared, log, now) = (Arc::clone(&opened), Arc::clone(&requests), time.clone());
    let builder = FileStore::builder("simulated").durability(Durability::Os);
    let builder = builder.segment_bytes(16 << 10).clock(clock());
    let builder = builder.listener(move |event: &FileEvent<'_>| {
        let inner = shared.get().and_then(Weak::upgrade);
        if let (FileEvent::CompactionFailed { .. }, Some(inner)) = (event, inner) {
            log.lock().unwrap().update(&inner, now.now());
        }
    });
    let mut options = builder.options;
    options.monotonic_time = time.clone();
    let engine = recover::open::open(Box::new(disk.clone()), options).unwrap();
    let request = WriteRequest::new(&KEY, vec![7; 1000], LIFE, Expected::Any);
    while engine.write(&request).is_ok() {}
    disk.fail_call(Some(FailingCall::Remove));
    let inner = Arc::new(FileInner::new(engine));
    opened.set(Arc::downgrade(&inner)).unwrap();
    let begin = time.now();
    let running = Arc::clone(&inner);
    let maintenance = thread::spawn(move || running.maintenance.run(&running.engine));
    let deadline = Instant::now() + LIFE;
    while time.now() - begin < 10 * LIFE && !maintenance.is_finished() {
        assert!(Instant::now() < deadline, "the thread does not continue");
        thread::yield_now();
    }
    inner.engine.log.wakeup().stop();
    maintenance.join().unwrap();
    let requests = requests.lock().unwrap();
    assert!(requests.answers > 10, "{} answers", requests.answers);
    assert!(
        requests.longest <= Duration::from_secs(5),
        "{:?} until an answer",
        requests.longest
    );
}

#[test]
fn a_segment_that_cannot_be_created_is_no_failed_compaction() {
    let disk = SimDisk::with_fault(None);
    let (sender, events) = mpsc::channel();
    let builder = FileStore::builder("simulated").durability(Durability::Os);
    let builder = builder.segment_bytes(16 << 10).clock(clock());
    let builder = builder.listener(move |event: &FileEvent<'_>| {
        if let FileEvent::CompactionFailed { error } = event {
            let _ = sender.send(error.to_string());
        }
    });
    let engine = recover::open::open(Box::new(disk.clone()), builder.options).unwrap();
    disk.fail_call(Some(FailingCall::Create));
    let request = WriteRequest::new(&KEY, vec![7; 1000], LIFE, Expected::Any);
    (0..2).for_each(|_| drop(engine.write(&request).unwrap()));
    let inner = Arc::new(FileInner::new(engine));
    let running = Arc::clone(&inner);
    let maintenance = thread::spawn(move || running.maintenance.run(&running.engine));
    let error = events.recv_timeout(LIFE).unwrap();
    assert!(error.starts_with("cannot create"), "{error}");
    // The failure does not make writes fail.
    for _ in 0..3 {
        inner.engine.log.wakeup().notify();
        thread::sleep(Duration::from_millis(20));
        assert!(!inner.engine.compaction_failed.load(Ordering::Relaxed));
    }
    inner.engine.log.wakeup().stop();
    maintenance.join().unwrap();
}
