//! Reading, touching and destroying.

use std::time::Duration;

use bytes::Bytes;

use super::{
    FileError, FileEvent,
    disk::DiskFile,
    engine::{Engine, Standing},
    frame::{HEADER, Header, Kind},
    index::{Entry, Position},
    log::Log,
};
use crate::{
    clock::Timestamp,
    id::StoreKey,
    store::{Record, Version},
};

/// An answer, and the place in the log that it rests on.
pub(super) type Answer<T> = (T, Position);

/// The answer to a lookup.
pub(super) enum Lookup {
    Absent,
    Gone(Position),
    /// A live record, and the place that has to be durable before it may be shown.
    Record(Entry, Position),
}

/// What came of reading a record's frame.
pub(super) enum Fetched {
    Record(Record),
    /// The frame was copied elsewhere or replaced in the meantime: look the key up again.
    Moved,
    /// The record is not in the page cache: reading it would wait for the device.
    Waits,
}

impl Engine {
    pub(super) fn destroy(&self, key: &StoreKey) -> Result<Answer<()>, FileError> {
        let mut log = self.writable()?;
        let until = self.now().saturating_add(self.options.tombstone);
        let header = Header::new(Kind::Destroy, *key, log.next_version(), until);
        let at = self.enter(&mut log, &header, &[])?;
        drop(log);
        self.cache.remove(key);
        Ok(((), at))
    }

    pub(super) fn touch(&self, key: &StoreKey, ttl: Duration) -> Result<Answer<bool>, FileError> {
        let mut log = self.writable()?;
        let now = self.now();
        let Standing::Live(entry) = self.standing(key, now) else {
            return Ok((false, Position::default()));
        };
        let at = self.extend(&mut log, key, entry, now.saturating_add(ttl))?;
        Ok((true, at))
    }

    /// Gives a live record another expiry: a frame without payload.
    fn extend(
        &self,
        log: &mut Log,
        key: &StoreKey,
        entry: Entry,
        expires: Timestamp,
    ) -> Result<Position, FileError> {
        let before = log.sizes;
        let header = Header::new(Kind::Touch, *key, entry.version, expires);
        let at = self.append(log, &header, &[])?;
        self.index.insert(*key, Entry { expires, ..entry });
        self.settle(log, before);
        Ok(at)
    }

    pub(super) fn lookup(
        &self,
        key: &StoreKey,
        touch: Option<Duration>,
    ) -> Result<Lookup, FileError> {
        let Some(ttl) = touch else {
            self.check_open()?;
            return Ok(lookup(self.standing(key, self.now())));
        };
        match self.lookup_and_touch(key, ttl) {
            // Whoever only wants to read gets on with it.
            Err(error @ (FileError::Full { .. } | FileError::Poisoned { .. })) => {
                self.tell(&FileEvent::TouchFailed { error: &error });
                self.lookup(key, None)
            }
            found => found,
        }
    }

    fn lookup_and_touch(&self, key: &StoreKey, ttl: Duration) -> Result<Lookup, FileError> {
        let mut log = self.writable()?;
        let now = self.now();
        let found = lookup(self.standing(key, now));
        let Lookup::Record(entry, _) = found else {
            return Ok(found);
        };
        let at = self.extend(&mut log, key, entry, now.saturating_add(ttl))?;
        Ok(Lookup::Record(entry, at))
    }

    /// Reads the record that `entry` points to; `wait` allows to wait for the device.
    pub(super) fn fetch(
        &self,
        key: &StoreKey,
        entry: Entry,
        wait: bool,
    ) -> Result<Fetched, FileError> {
        if let Some(data) = self.cache.get(key, entry.version)
            && let Some(version) = Version::new(entry.version)
        {
            return Ok(Fetched::Record(Record { data, version }));
        }
        let Some(segment) = self.segment(entry.at.segment) else {
            return Ok(self.missed(key, entry));
        };
        let mut head = [0; HEADER];
        let mut data = vec![0; entry.len as usize];
        let offset = u64::from(entry.at.offset);
        let file = segment.file.as_ref();
        let read = if wait {
            read_both(file, &mut head, &mut data, offset)
        } else {
            match file.read_cached(&mut head, &mut data, offset) {
                Ok(false) => return Ok(Fetched::Waits),
                read => read,
            }
        };
        let whole = read.map_err(|e| {
            FileError::io("read from the log in", self.disk.path().to_path_buf(), e)
        })?;
        if whole && let Some((mut record, sealed)) = record(&head, data, key, entry) {
            if sealed {
                let vault = self.options.vault.as_ref().ok_or(FileError::NoKeys)?;
                record.data = vault.open(key, &record.data)?;
            }
            self.cache.put(key, entry.version, record.data.clone());
            return Ok(Fetched::Record(record));
        }
        Ok(self.missed(key, entry))
    }

    /// The frame is not what the index said: either the index has changed since, or the frame is
    /// damaged, and then the record is lost.
    fn missed(&self, key: &StoreKey, entry: Entry) -> Fetched {
        let mut log = self.lock_log();
        if self.index.get(key).is_some_and(|now| now.at == entry.at) {
            self.drop_key(&mut log, key);
            drop(log);
            self.damaged(entry.at.segment, u64::from(entry.at.offset), entry.weight());
        }
        Fetched::Moved
    }
}

fn read_both(
    file: &dyn DiskFile,
    head: &mut [u8],
    data: &mut [u8],
    offset: u64,
) -> std::io::Result<bool> {
    Ok(file.read_at(head, offset)? == head.len()
        && file.read_at(data, offset + head.len() as u64)? == data.len())
}

/// The record of a frame, and whether it is sealed, if it is the frame that `entry` points to.
fn record(
    head: &[u8; HEADER],
    data: Vec<u8>,
    key: &StoreKey,
    entry: Entry,
) -> Option<(Record, bool)> {
    let header = Header::peek(head)?;
    let meant = header.kind == Kind::Write && header.version == entry.version && header.key == *key;
    let version = Version::new(header.version)?;
    (meant && header.fits(&data)).then(|| {
        let data = Bytes::from(data);
        (Record { data, version }, header.sealed)
    })
}

const fn lookup(standing: Standing) -> Lookup {
    match standing {
        Standing::Live(entry) => Lookup::Record(entry, entry.at),
        Standing::Tombstone(entry) => Lookup::Gone(entry.at),
        Standing::Nothing => Lookup::Absent,
    }
}
