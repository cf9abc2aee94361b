//! A simulated disk that distinguishes written and durable data, and fails on demand.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    mem::take,
    path::Path,
    sync::{Arc, Mutex, RwLock},
    time::{Duration, Instant},
};

use rustix::io::Errno;

use super::super::{
    disk::{Disk, DiskFile, EntryStamp, FileId, PathChange, PathLookup},
    monotonic_time::MonotonicTime,
};

/// A fault at one operation of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The operation fails with this error. A write writes half of its data.
    Once(ErrorKind),
    /// The operation and all later ones fail, except reads.
    Permanent(ErrorKind),
    /// The machine stops during the operation.
    PowerOff,
    /// The directory is moved away before the operation. All operations succeed.
    Moved,
}

/// A call that fails until it is allowed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailingCall {
    /// Files cannot be created, as without a free file descriptor.
    Create,
    /// Files cannot be removed.
    Remove,
}

/// A crash, which determines the data at the next opening.
#[derive(Clone, Copy, Debug)]
pub(super) enum Crash {
    /// The process ended. All written data is kept.
    Process,
    /// The power failed. A random part of the data that was not durable is kept; this is the seed.
    Power(u64),
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

#[derive(Clone, Debug, Default)]
struct FileContent {
    written: Vec<u8>,
    durable: Vec<u8>,
    /// Changes since the last sync, in order.
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum EntryChange {
    Created(String, usize),
    Removed(String),
}

#[derive(Default)]
struct SimState {
    contents: Vec<FileContent>,
    entries: BTreeMap<String, usize>,
    durable_entries: BTreeMap<String, usize>,
    pending_entries: Vec<EntryChange>,
    operations: usize,
    /// Number of changes of the entries.
    entry_changes: i64,
    /// Maximum size of all files together, if there is a limit.
    capacity: Option<u64>,
    fault: Option<(usize, Fault)>,
    failing: Option<FailingCall>,
    /// A call before the operation of this number.
    hook: Option<(usize, Box<dyn FnOnce() + Send>)>,
    stopped: bool,
    /// The page cache is empty.
    cold: bool,
    /// The device hangs while this is locked for writing.
    device: Arc<RwLock<()>>,
    /// Simulated time, which each operation advances.
    time: MonotonicTime,
    operation_time: Duration,
    /// The times at which the directory was checked.
    checks: Vec<Instant>,
    /// Number of the next checks that a transient error prevents.
    lookup_errors: usize,
}

#[derive(Clone, Default)]
pub(super) struct SimDisk(Arc<Mutex<SimState>>);

struct SimFile(SimDisk, usize);

impl SimDisk {
    /// Creates a disk with a fault at the operation of this number.
    pub(super) fn with_fault(fault: Option<(usize, Fault)>) -> Self {
        let disk = Self::default();
        disk.0.lock().unwrap().fault = fault;
        disk
    }

    /// From now on, each operation advances `time` by `each`, and the times of the checks are recorded.
    pub(super) fn record_checks(&self, time: &MonotonicTime, each: Duration) {
        let mut state = self.0.lock().unwrap();
        (state.time, state.operation_time) = (time.clone(), each);
        state.checks = vec![time.now()];
    }

    /// Returns the times at which the directory was checked.
    pub(super) fn checks(&self) -> Vec<Instant> {
        self.0.lock().unwrap().checks.clone()
    }

    /// Sets the fault, at the operation of this number.
    pub(super) fn set_fault(&self, at: usize, fault: Fault) {
        self.0.lock().unwrap().fault = Some((at, fault));
    }

    /// From now on, all operations fail, except reads.
    pub(super) fn break_down(&self) {
        self.set_fault(self.operations(), Fault::Permanent(ErrorKind::Other));
    }

    /// From now on, only this call fails.
    pub(super) fn fail_call(&self, call: Option<FailingCall>) {
        self.0.lock().unwrap().failing = call;
    }

    fn check_call(&self, call: FailingCall) -> io::Result<()> {
        match self.0.lock().unwrap().failing {
            Some(failing) if failing == call => Err(Errno::MFILE.into()),
            _ => Ok(()),
        }
    }

    /// Moves the directory. The next `lookup_errors` checks meet a transient error.
    pub(super) fn move_away(&self, lookup_errors: usize) {
        self.set_fault(0, Fault::Moved);
        self.fail_lookups(lookup_errors);
    }

    /// The next `lookup_errors` checks meet a transient error.
    pub(super) fn fail_lookups(&self, lookup_errors: usize) {
        self.0.lock().unwrap().lookup_errors = lookup_errors;
    }

    /// Calls `hook` once, before the operation of this number.
    pub(super) fn set_hook(&self, at: usize, hook: impl FnOnce() + Send + 'static) {
        self.0.lock().unwrap().hook = Some((at, Box::new(hook)));
    }

    fn call_hook(&self) {
        let mut state = self.0.lock().unwrap();
        let now = state.operations;
        let hook = state.hook.take_if(|(at, _)| *at == now);
        drop(state);
        if let Some((_, hook)) = hook {
            hook();
        }
    }

    pub(super) fn operations(&self) -> usize {
        self.0.lock().unwrap().operations
    }

    /// Returns `true` if the machine has stopped.
    pub(super) fn is_stopped(&self) -> bool {
        self.0.lock().unwrap().stopped
    }

    /// Returns `true` if all operations or one call fail from now on, or the directory was moved.
    pub(super) fn is_broken(&self) -> bool {
        let state = self.0.lock().unwrap();
        let is_permanent = |fault| matches!(fault, Fault::Permanent(_) | Fault::Moved);
        let is_broken = |(at, fault)| is_permanent(fault) && at <= state.operations;
        state.failing.is_some() || state.fault.is_some_and(is_broken)
    }

    /// Returns the size of all files.
    pub(super) fn used(&self) -> u64 {
        self.0.lock().unwrap().used()
    }

    /// Limits the growth of all files together.
    pub(super) fn limit_growth(&self, bytes: u64) {
        let mut state = self.0.lock().unwrap();
        state.capacity = Some(state.used() + bytes);
    }

    /// Returns a lock. While it is locked for writing, the device hangs: syncs and reads of data that is
    /// not in the page cache block.
    pub(super) fn device(&self) -> Arc<RwLock<()>> {
        Arc::clone(&self.0.lock().unwrap().device)
    }

    /// Empties the page cache, permanently.
    pub(super) fn drop_page_cache(&self) {
        self.0.lock().unwrap().cold = true;
    }

    /// Changes a file without the store's knowledge.
    pub(super) fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.0.lock().unwrap();
        let id = state.entries[name];
        let content = &mut state.contents[id];
        change(&mut content.written);
        content.durable = content.written.clone();
        content.pending.clear();
    }

    /// Returns the disk for another process. The machine continues, so data that is not durable is kept.
    pub(super) fn restart(&self) -> Self {
        let state = self.0.lock().unwrap();
        Self(Arc::new(Mutex::new(SimState {
            contents: state.contents.clone(),
            entries: state.entries.clone(),
            durable_entries: state.durable_entries.clone(),
            pending_entries: state.pending_entries.clone(),
            ..SimState::default()
        })))
    }

    /// Returns the disk after a crash, with a fault of its own.
    pub(super) fn crash(&self, crash: Crash, fault: Option<(usize, Fault)>) -> Self {
        let state = self.0.lock().unwrap();
        let (entries, contents) = match crash {
            Crash::Process => (
                state.entries.clone(),
                state.contents.iter().map(|c| c.written.clone()).collect(),
            ),
            Crash::Power(seed) => power_failure(&state, seed),
        };
        let durable = |written: Vec<u8>| FileContent {
            durable: written.clone(),
            written,
            pending: Vec::new(),
        };
        Self(Arc::new(Mutex::new(SimState {
            contents: contents.into_iter().map(durable).collect(),
            durable_entries: entries.clone(),
            entries,
            fault,
            ..SimState::default()
        })))
    }

    fn step<T>(&self, act: impl FnOnce(&mut SimState, bool) -> io::Result<T>) -> io::Result<T> {
        self.call_hook();
        let mut state = self.0.lock().unwrap();
        if state.stopped {
            return Err(ErrorKind::Other.into());
        }
        state.time.advance(state.operation_time);
        let now = state.operations;
        state.operations += 1;
        let kind = match state.fault {
            Some((at, Fault::Once(kind))) if at == now => kind,
            Some((at, Fault::Permanent(kind))) if at <= now => kind,
            Some((at, Fault::PowerOff)) if at == now => {
                state.stopped = true;
                ErrorKind::Other
            }
            _ => return act(&mut state, true),
        };
        let _ = act(&mut state, false);
        Err(kind.into())
    }
}

impl SimState {
    fn is_moved(&self) -> bool {
        matches!(self.fault, Some((at, Fault::Moved)) if at <= self.operations)
    }

    fn used(&self) -> u64 {
        let sizes = self.entries.values();
        sizes
            .map(|id| self.contents[*id].written.len() as u64)
            .sum()
    }
}

fn file_id(id: usize) -> FileId {
    let (device, inode) = (1, id as u64);
    FileId { device, inode }
}

fn power_failure(state: &SimState, seed: u64) -> (BTreeMap<String, usize>, Vec<Vec<u8>>) {
    let mut rng = SeededRng(seed);
    let mut entries = state.durable_entries.clone();
    for entry in &state.pending_entries {
        match entry {
            EntryChange::Created(name, id) if rng.next_below(2) == 0 => {
                entries.insert(name.clone(), *id);
            }
            EntryChange::Removed(name) if rng.next_below(2) == 0 => {
                entries.remove(name);
            }
            _ => {}
        }
    }
    let survivors = state.contents.iter().map(|content| {
        let mut bytes = content.durable.clone();
        for change in &content.pending {
            match change {
                _ if rng.next_below(3) == 0 => {}
                Change::Write(at, data) if rng.next_below(3) == 0 => {
                    let part = rng.next_below(data.len() as u64 + 1) as usize;
                    write(&mut bytes, *at, &data[..part]);
                }
                Change::Write(at, data) => write(&mut bytes, *at, data),
                Change::Truncate(len) => bytes.truncate(*len),
            }
        }
        bytes
    });
    (entries, survivors.collect())
}

fn write(bytes: &mut Vec<u8>, at: usize, data: &[u8]) {
    if bytes.len() < at + data.len() {
        bytes.resize(at + data.len(), 0);
    }
    bytes[at..at + data.len()].copy_from_slice(data);
}

impl Disk for SimDisk {
    fn path(&self) -> &Path {
        Path::new("simulated")
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().entries.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.check_call(FailingCall::Create)?;
        let id = self.step(|state, complete| {
            if state.entries.contains_key(name) {
                return Err(ErrorKind::AlreadyExists.into());
            }
            let id = state.contents.len();
            if complete {
                state.contents.push(FileContent::default());
                state.entries.insert(name.to_owned(), id);
                state.entry_changes += 1;
                state
                    .pending_entries
                    .push(EntryChange::Created(name.to_owned(), id));
            }
            Ok(id)
        })?;
        Ok(Box::new(SimFile(self.clone(), id)))
    }

    fn file_id(&self, name: &str) -> io::Result<Option<FileId>> {
        let state = self.0.lock().unwrap();
        Ok(state.entries.get(name).map(|id| file_id(*id)))
    }

    fn entry_stamp(&self) -> io::Result<EntryStamp> {
        let state = self.0.lock().unwrap();
        Ok(EntryStamp {
            seconds: state.entry_changes + i64::from(state.is_moved()),
            nanoseconds: 1,
        })
    }

    fn check_entry(&self, name: &str, file: &dyn DiskFile) -> Result<PathLookup, PathChange> {
        PathChange::check(|| self.locate(name), self.file_id(name), file.id())
    }

    fn check(&self) -> Result<PathLookup, PathChange> {
        let mut state = self.0.lock().unwrap();
        let now = state.time.now();
        state.checks.push(now);
        let mut found = Ok((!state.is_moved()).then(|| file_id(0)));
        if state.lookup_errors > 0 {
            state.lookup_errors -= 1;
            found = Err(Errno::NOMEM.into());
        }
        PathChange::check(|| self.path().to_path_buf(), found, file_id(0))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let state = self.0.lock().unwrap();
        let id = state.entries.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(Box::new(SimFile(self.clone(), *id)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.check_call(FailingCall::Remove)?;
        self.step(|state, complete| {
            if !state.entries.contains_key(name) {
                return Err(ErrorKind::NotFound.into());
            }
            if complete {
                state.entries.remove(name);
                state.entry_changes += 1;
                state
                    .pending_entries
                    .push(EntryChange::Removed(name.to_owned()));
            }
            Ok(())
        })
    }

    fn sync_entries(&self) -> io::Result<()> {
        self.step(|state, complete| {
            if complete {
                state.durable_entries = state.entries.clone();
                state.pending_entries.clear();
            }
            Ok(())
        })
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        drop(self.0.device().read());
        let state = self.0.0.lock().unwrap();
        if state.stopped {
            return Err(ErrorKind::Other.into());
        }
        let rest = state.contents[self.1]
            .written
            .get(offset as usize..)
            .unwrap_or(&[]);
        let len = rest.len().min(into.len());
        into[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn read_nowait(&self, head: &mut [u8], body: &mut [u8], offset: u64) -> io::Result<bool> {
        if self.0.0.lock().unwrap().cold {
            return Ok(false);
        }
        let complete = self.read_at(head, offset)? == head.len()
            && self.read_at(body, offset + head.len() as u64)? == body.len();
        Ok(complete)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.step(|state, complete| {
            let bytes = if complete {
                bytes
            } else {
                &bytes[..bytes.len() / 2]
            };
            let content = &mut state.contents[self.1];
            write(&mut content.written, offset as usize, bytes);
            content
                .pending
                .push(Change::Write(offset as usize, bytes.to_vec()));
            if state
                .capacity
                .is_some_and(|capacity| state.used() > capacity)
            {
                return Err(ErrorKind::StorageFull.into());
            }
            Ok(())
        })
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.step(|state, complete| {
            if complete {
                let content = &mut state.contents[self.1];
                content.written.truncate(len as usize);
                content.pending.push(Change::Truncate(len as usize));
            }
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        drop(self.0.device().read());
        self.0.step(|state, complete| {
            let content = &mut state.contents[self.1];
            // After a failed sync the system marks the pages as clean, so their data is never written.
            for change in take(&mut content.pending) {
                match change {
                    _ if !complete => {}
                    Change::Write(at, data) => write(&mut content.durable, at, &data),
                    Change::Truncate(len) => content.durable.truncate(len),
                }
            }
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.0.lock().unwrap().contents[self.1].written.len() as u64)
    }

    fn id(&self) -> FileId {
        file_id(self.1)
    }
}

/// A random number generator with a fixed seed.
#[derive(Clone)]
pub(super) struct SeededRng(pub(super) u64);

impl SeededRng {
    pub(super) fn next_below(&mut self, end: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}
