//! A simulated disk: it knows what is written apart from what is durable, and fails on demand.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    path::Path,
    sync::{Arc, Mutex, RwLock},
};

use super::super::disk::{Disk, DiskFile};

/// What happens at an operation of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It fails with this error, having done half of its work if it was a write.
    Once(ErrorKind),
    /// So do all that follow, reads excepted.
    Ever(ErrorKind),
    /// The machine stops in the middle of it.
    Cut,
}

/// What is left for the next opening.
#[derive(Clone, Copy, Debug)]
pub(super) enum Crash {
    /// The process ended; the system has all that was written.
    Process,
    /// The power failed: of what was not durable, this random choice got through.
    Power(u64),
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

#[derive(Clone, Debug, Default)]
struct Content {
    written: Vec<u8>,
    durable: Vec<u8>,
    /// Since the last sync, in order.
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Entry {
    Created(String, usize),
    Removed(String),
}

#[derive(Default)]
struct World {
    contents: Vec<Content>,
    entries: BTreeMap<String, usize>,
    durable_entries: BTreeMap<String, usize>,
    pending_entries: Vec<Entry>,
    operations: usize,
    /// The most bytes that the files may take together, where there is a limit.
    room: Option<u64>,
    trouble: Option<(usize, Trouble)>,
    cut: bool,
    /// Whether nothing is in the page cache.
    cold: bool,
    /// The device hangs while somebody holds it for writing.
    device: Arc<RwLock<()>>,
}

#[derive(Clone, Default)]
pub(super) struct SimDisk(Arc<Mutex<World>>);

struct SimFile(SimDisk, usize);

impl SimDisk {
    /// A disk that gets into `trouble` at its operation number `at`.
    pub(super) fn with(trouble: Option<(usize, Trouble)>) -> Self {
        let disk = Self::default();
        disk.0.lock().unwrap().trouble = trouble;
        disk
    }

    pub(super) fn operations(&self) -> usize {
        self.0.lock().unwrap().operations
    }

    /// Whether the machine has stopped.
    pub(super) fn is_cut(&self) -> bool {
        self.0.lock().unwrap().cut
    }

    /// Whether every operation fails from now on.
    pub(super) fn is_broken(&self) -> bool {
        let world = self.0.lock().unwrap();
        matches!(world.trouble, Some((at, Trouble::Ever(_))) if at <= world.operations)
    }

    /// The bytes of all files.
    pub(super) fn used(&self) -> u64 {
        self.0.lock().unwrap().used()
    }

    /// Lets the files grow by so many bytes and no more.
    pub(super) fn leave_room(&self, bytes: u64) {
        let mut world = self.0.lock().unwrap();
        world.room = Some(world.used() + bytes);
    }

    /// The device hangs, for syncs and for what is not in the page cache, while this is held for
    /// writing.
    pub(super) fn device(&self) -> Arc<RwLock<()>> {
        Arc::clone(&self.0.lock().unwrap().device)
    }

    /// Takes everything out of the page cache, for good.
    pub(super) fn cool(&self) {
        self.0.lock().unwrap().cold = true;
    }

    /// Changes a file behind everybody's back.
    pub(super) fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut world = self.0.lock().unwrap();
        let id = world.entries[name];
        let content = &mut world.contents[id];
        change(&mut content.written);
        content.durable = content.written.clone();
        content.pending.clear();
    }

    /// The disk that the next opening finds, in `trouble` of its own.
    pub(super) fn after(&self, crash: Crash, trouble: Option<(usize, Trouble)>) -> Self {
        let world = self.0.lock().unwrap();
        let (entries, contents) = match crash {
            Crash::Process => (
                world.entries.clone(),
                world.contents.iter().map(|c| c.written.clone()).collect(),
            ),
            Crash::Power(seed) => power_failure(&world, seed),
        };
        let durable = |written: Vec<u8>| Content {
            durable: written.clone(),
            written,
            pending: Vec::new(),
        };
        Self(Arc::new(Mutex::new(World {
            contents: contents.into_iter().map(durable).collect(),
            durable_entries: entries.clone(),
            entries,
            trouble,
            ..World::default()
        })))
    }

    fn step<T>(&self, act: impl FnOnce(&mut World, bool) -> io::Result<T>) -> io::Result<T> {
        let mut world = self.0.lock().unwrap();
        if world.cut {
            return Err(ErrorKind::Other.into());
        }
        let now = world.operations;
        world.operations += 1;
        let kind = match world.trouble {
            Some((at, Trouble::Once(kind))) if at == now => kind,
            Some((at, Trouble::Ever(kind))) if at <= now => kind,
            Some((at, Trouble::Cut)) if at == now => {
                world.cut = true;
                ErrorKind::Other
            }
            _ => return act(&mut world, true),
        };
        let _ = act(&mut world, false);
        Err(kind.into())
    }
}

impl World {
    fn used(&self) -> u64 {
        let sizes = self.entries.values();
        sizes
            .map(|id| self.contents[*id].written.len() as u64)
            .sum()
    }
}

fn power_failure(world: &World, seed: u64) -> (BTreeMap<String, usize>, Vec<Vec<u8>>) {
    let mut dice = Dice(seed);
    let mut entries = world.durable_entries.clone();
    for entry in &world.pending_entries {
        match entry {
            Entry::Created(name, id) if dice.below(2) == 0 => {
                entries.insert(name.clone(), *id);
            }
            Entry::Removed(name) if dice.below(2) == 0 => {
                entries.remove(name);
            }
            _ => {}
        }
    }
    let survivors = world.contents.iter().map(|content| {
        let mut bytes = content.durable.clone();
        for change in &content.pending {
            match change {
                _ if dice.below(3) == 0 => {}
                Change::Write(at, data) if dice.below(3) == 0 => {
                    let part = dice.below(data.len() as u64 + 1) as usize;
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
        let id = self.step(|world, whole| {
            if world.entries.contains_key(name) {
                return Err(ErrorKind::AlreadyExists.into());
            }
            let id = world.contents.len();
            if whole {
                world.contents.push(Content::default());
                world.entries.insert(name.to_owned(), id);
                world
                    .pending_entries
                    .push(Entry::Created(name.to_owned(), id));
            }
            Ok(id)
        })?;
        Ok(Box::new(SimFile(self.clone(), id)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let world = self.0.lock().unwrap();
        let id = world.entries.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(Box::new(SimFile(self.clone(), *id)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.step(|world, whole| {
            if !world.entries.contains_key(name) {
                return Err(ErrorKind::NotFound.into());
            }
            if whole {
                world.entries.remove(name);
                world.pending_entries.push(Entry::Removed(name.to_owned()));
            }
            Ok(())
        })
    }

    fn sync_entries(&self) -> io::Result<()> {
        self.step(|world, whole| {
            if whole {
                world.durable_entries = world.entries.clone();
                world.pending_entries.clear();
            }
            Ok(())
        })
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        drop(self.0.device().read());
        let world = self.0.0.lock().unwrap();
        if world.cut {
            return Err(ErrorKind::Other.into());
        }
        let rest = world.contents[self.1]
            .written
            .get(offset as usize..)
            .unwrap_or(&[]);
        let len = rest.len().min(into.len());
        into[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn read_cached(&self, head: &mut [u8], body: &mut [u8], offset: u64) -> io::Result<bool> {
        if self.0.0.lock().unwrap().cold {
            return Ok(false);
        }
        let whole = self.read_at(head, offset)? == head.len()
            && self.read_at(body, offset + head.len() as u64)? == body.len();
        Ok(whole)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.step(|world, whole| {
            let bytes = if whole {
                bytes
            } else {
                &bytes[..bytes.len() / 2]
            };
            let content = &mut world.contents[self.1];
            write(&mut content.written, offset as usize, bytes);
            content
                .pending
                .push(Change::Write(offset as usize, bytes.to_vec()));
            if world.room.is_some_and(|room| world.used() > room) {
                return Err(ErrorKind::StorageFull.into());
            }
            Ok(())
        })
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.step(|world, whole| {
            if whole {
                let content = &mut world.contents[self.1];
                content.written.truncate(len as usize);
                content.pending.push(Change::Truncate(len as usize));
            }
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        drop(self.0.device().read());
        self.0.step(|world, whole| {
            let content = &mut world.contents[self.1];
            if whole {
                content.durable = content.written.clone();
            }
            // After a failure the system calls the pages clean: what was in them is never written.
            content.pending.clear();
            Ok(())
        })
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.0.lock().unwrap().contents[self.1].written.len() as u64)
    }
}

/// Numbers that are the same in every run.
#[derive(Clone)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}
