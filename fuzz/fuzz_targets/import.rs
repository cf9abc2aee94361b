//! Random bytes as a session file of AdonisJS. A file is imported only if it contains the session
//! that it is named after.
#![no_main]

#[path = "../support/directory.rs"]
mod directory;

use std::{sync::OnceLock, time::Duration};

use hyper_session::{
    import::{Importer, adonis},
    store::{FileStore, file::Durability},
};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokio::runtime::Runtime;

const NAME: &str = "4ed63daf";

/// Returns `true` if the content is an envelope of the session.
fn is_session(content: &[u8]) -> bool {
    let Ok(Value::Object(envelope)) = serde_json::from_slice(content) else {
        return false;
    };
    envelope.get("purpose") == Some(&Value::from(NAME))
        && envelope.get("message").is_some_and(Value::is_object)
        && envelope.get("expiryDate").is_none_or(Value::is_null)
}

fuzz_target!(|bytes: &[u8]| {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime")
    });
    let directory = directory::Directory::new();
    let directory = directory.path();
    let store = FileStore::builder(directory.join("store")).durability(Durability::Os);
    let store = store.open().expect("a store");
    let file = directory.join(format!("{NAME}.txt"));
    std::fs::write(&file, bytes).expect("written");
    let mut record = None;
    let importer = Importer::new(directory, Duration::from_secs(3600));
    let report = runtime.block_on(importer.run(&store, |file| {
        record = adonis::read_session(file);
        record.clone()
    }));
    let report = report.expect("imported");
    assert_eq!(report.imported, u64::from(record.is_some()));
    assert_eq!(report.refused, u64::from(record.is_none()));
    if record.is_some() {
        assert!(is_session(bytes), "a foreign file was imported");
    }
});
