//! The marker of the application that uses a prefix.
//!
//! Under each prefix there is one key `application` without an expiry. It holds the fingerprints of the
//! application's keys and the time of its last start. Each start replaces it. If a start finds the
//! fingerprints of other keys only, two applications use the prefix.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
};

use bytes::Bytes;

use crate::clock::Timestamp;

/// The first word of a marker, which ends with the version of its format.
const FORMAT: &str = "hs-application-1";

/// The fingerprint of an application key.
pub(crate) type Fingerprint = [u8; 16];

/// A function of a prefix and the last start of another application that uses it.
type PrefixReporter = Arc<dyn Fn(&str, Timestamp) + Send + Sync>;

/// The application that opened the store.
#[derive(Clone)]
pub(crate) struct Application {
    fingerprints: Vec<Fingerprint>,
    pub(super) on_shared_prefix: PrefixReporter,
    /// Set once this start has reported another application. It may be tried several times.
    pub(super) is_reported: Arc<AtomicBool>,
    /// Set once this start has written the marker.
    pub(super) is_marked: Arc<AtomicBool>,
}

impl Application {
    pub(crate) fn new(
        fingerprints: Vec<Fingerprint>,
        on_shared_prefix: impl Fn(&str, Timestamp) + Send + Sync + 'static,
    ) -> Self {
        Self {
            fingerprints,
            on_shared_prefix: Arc::new(on_shared_prefix),
            is_reported: Arc::default(),
            is_marked: Arc::default(),
        }
    }

    /// Returns the marker of this application for a start at `now`.
    pub(super) fn marker(&self, now: Timestamp) -> Bytes {
        let keys = self.fingerprints.iter().map(hex);
        let words = [FORMAT.to_owned(), now.as_millis().to_string()];
        let words: Vec<String> = words.into_iter().chain(keys).collect();
        words.join(" ").into()
    }

    /// Returns the start of another application, if it wrote the marker. Ignores a marker of another
    /// format.
    pub(super) fn other_start(&self, marker: &[u8]) -> Option<Timestamp> {
        let mut words = std::str::from_utf8(marker).ok()?.split(' ');
        if words.next() != Some(FORMAT) {
            return None;
        }
        let start = words.next()?.parse().ok()?;
        let is_own = words.any(|word| self.fingerprints.iter().any(|key| hex(key) == word));
        (!is_own).then_some(Timestamp::from_millis(start))
    }
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Application(…)")
    }
}

fn hex(fingerprint: &Fingerprint) -> String {
    fingerprint
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
