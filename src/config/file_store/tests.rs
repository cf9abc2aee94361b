//! The events of the store that reach the listeners.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use super::*;
use crate::store::file::FileError;

#[test]
fn compactions_that_fail_are_reported_once_until_one_succeeds() {
    let (mut listeners, failing) = (Listeners::default(), AtomicBool::new(false));
    let reported = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&reported);
    listeners.add(move |event: &Event<'_>| log.lock().unwrap().push(format!("{event:?}")));
    let failed = FileEvent::CompactionFailed {
        error: &FileError::Closed,
    };
    let compacted = FileEvent::Compacted {
        path: Path::new("1.log"),
        kept: 0,
        bytes: 1,
        took: Duration::ZERO,
    };
    for (event, expected) in [(&failed, 1), (&failed, 1), (&compacted, 1), (&failed, 2)] {
        report(&listeners, &failing, event);
        assert_eq!(reported.lock().unwrap().len(), expected, "{event:?}");
    }
}
