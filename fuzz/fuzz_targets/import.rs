//! Random bytes as a session file of AdonisJS. A file is imported if and only if a model finds in it the session
//! that it is named after, and the record holds the data that the model finds.
#![no_main]

#[path = "../support/directory.rs"]
mod directory;
#[path = "../../tests/suite/model/exact.rs"]
mod exact;

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use bytes::Bytes;
use exact::Value;
use hyper_session::{
    clock::Timestamp,
    document::Document,
    id::StoreKey,
    import::{Importer, adonis},
    store::{FileStore, ReadOutcome, Store, file::Durability},
};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use tokio::runtime::Runtime;

const NAME: &str = "4ed63daf";
const MAX_DEPTH: usize = 100;

/// The number of inputs for which a store is used.
const INPUTS_OF_A_STORE: u64 = 2000;

struct Setup {
    runtime: Runtime,
    // The store is closed before its directory is removed.
    store: FileStore,
    directory: directory::Directory,
    imported: u64,
}

impl Setup {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let directory = directory::Directory::new();
        let store = FileStore::builder(directory.path().join("store")).durability(Durability::Os);
        Self {
            runtime: runtime.expect("a runtime"),
            store: store.open().expect("a store"),
            directory,
            imported: 0,
        }
    }

    fn import(&mut self, content: &[u8]) -> Option<(Timestamp, Bytes)> {
        self.imported += 1;
        let file = self.directory.path().join(format!("{NAME}.txt"));
        std::fs::write(file, content).expect("written");
        let key = StoreKey::from_foreign_id(&self.imported.to_string());
        let mut decoded = None;
        let importer = Importer::new(self.directory.path(), Duration::from_secs(3600));
        let report = importer.run(&self.store, |file| {
            let (own_key, record) = adonis::read_session(file)?;
            assert_eq!(own_key, StoreKey::from_foreign_id(NAME));
            decoded = Some((file.changed, record.clone()));
            // No input meets a session of another one.
            Some((key, record))
        });
        let report = self.runtime.block_on(report).expect("imported");
        let is_imported = u64::from(decoded.is_some());
        assert_eq!(
            (report.imported, report.refused),
            (is_imported, 1 - is_imported)
        );
        assert_eq!((report.expired, report.present), (0, 0));
        if let Some((_, record)) = &decoded {
            let read = self.runtime.block_on(self.store.read(&key, None));
            let ReadOutcome::Found(stored) = read.expect("read") else {
                panic!("the session is not in the store");
            };
            assert_eq!(&stored.data, record);
        }
        decoded
    }
}

fuzz_target!(|bytes: &[u8]| {
    thread_local! {
        static SETUP: RefCell<Option<Setup>> = const { RefCell::new(None) };
    }
    SETUP.with_borrow_mut(|setup| {
        let setup = match setup {
            Some(setup) if setup.imported < INPUTS_OF_A_STORE => setup,
            _ => {
                *setup = None;
                setup.insert(Setup::new())
            }
        };
        let imported = setup.import(bytes);
        let expected = session(bytes);
        assert_eq!(imported.is_some(), expected.is_some(), "{expected:?}");
        if let (Some((changed, record)), Some(expected)) = (imported, expected) {
            check_record(changed, &record, &expected);
        }
    });
});

/// Checks a record at the offsets that `src/wire/native.rs` documents.
fn check_record(changed: Timestamp, record: &[u8], expected: &BTreeMap<String, Value>) {
    assert_eq!(record[..2], [2, 0], "the version and the kind");
    assert_eq!(record[2..10], changed.as_millis().to_le_bytes());
    assert_eq!(record[10..22], [0; 12], "no timeout and no end of its own");
    let number = |at: usize| u32::from_le_bytes(record[at..at + 4].try_into().expect("4 bytes"));
    let (text, index) = (number(22) as usize, number(26) as usize);
    assert_eq!(record[30..38], [0; 8], "no flash messages");
    assert_eq!(record.len(), 38 + text + index);
    let (text, index) = record[38..].split_at(text);
    let stored = Value::parse(std::str::from_utf8(text).expect("UTF-8"));
    assert_eq!(stored, Value::Object(expected.clone()));
    let copy = Bytes::copy_from_slice;
    let document = Document::from_parts(copy(text), copy(index)).expect("text and index fit");
    for (name, value) in expected {
        let found = document
            .get([name.as_str()])
            .expect("sound")
            .expect("present");
        assert_eq!(&Value::parse(found.as_json().expect("JSON")), value);
    }
}

/// Returns the data of the session in a file; `None` if the file is not a file of the session.
fn session(content: &[u8]) -> Option<BTreeMap<String, Value>> {
    let text = std::str::from_utf8(content).ok()?.trim_ascii();
    if depth(text)? > MAX_DEPTH {
        return None;
    }
    let Value::Object(mut envelope) = Value::parse(text) else {
        return None;
    };
    let is_dated = envelope
        .get("expiryDate")
        .is_some_and(|date| !date.is_null());
    if is_dated || envelope.get("purpose") != Some(&Value::String(NAME.to_owned())) {
        return None;
    }
    let mut data = envelope.remove("message")?;
    let members = data.as_object_mut()?;
    members.remove("__flash__");
    Some(std::mem::take(members))
}

/// Returns the depth of a value; `None` if it is not valid.
fn depth(text: &str) -> Option<usize> {
    fn read<'t, T: serde::Deserialize<'t>>(text: &'t str) -> Option<T> {
        serde_json::from_str(text).ok()
    }
    let children: Vec<&RawValue> = match text.trim_ascii().as_bytes() {
        [b'[', ..] => read(text)?,
        [b'{', ..] => {
            // Also members that a later one of the same name replaces.
            read::<Members<'_>>(text)?.0
        }
        [b'"', ..] => return read::<String>(text).map(|_| 0),
        [b't' | b'f' | b'n', ..] => return read::<Option<bool>>(text).map(|_| 0),
        _ => return is_number(text.trim_ascii()).then_some(0),
    };
    let depths: Option<Vec<usize>> = children.iter().map(|child| depth(child.get())).collect();
    Some(depths?.into_iter().max().unwrap_or(0) + 1)
}

/// Returns `true` for a finite float, and for an integer from `i128::MIN` to `u128::MAX`.
fn is_number(text: &str) -> bool {
    let is_integer = !text.contains(['.', 'e', 'E']);
    let fits = text.parse::<i128>().is_ok() || text.parse::<u128>().is_ok();
    serde_json::from_str::<f64>(text).is_ok_and(f64::is_finite) && (fits || !is_integer)
}

/// The values of all members of an object.
struct Members<'t>(Vec<&'t RawValue>);

impl<'t> serde::Deserialize<'t> for Members<'t> {
    fn deserialize<D: serde::Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'t> serde::de::Visitor<'t> for Visitor {
            type Value = Members<'t>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'t>>(
                self,
                mut members: A,
            ) -> Result<Members<'t>, A::Error> {
                let mut values = Vec::new();
                while let Some((_, value)) = members.next_entry::<String, &RawValue>()? {
                    values.push(value);
                }
                Ok(Members(values))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}
