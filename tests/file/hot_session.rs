//! Requests that change one session at once are all stored, with any durability.

use hyper_session::{
    Sessions,
    store::{FileStore, file::Durability},
};

use crate::support::{Browser, config, increment, scratch::Scratch};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_at_once_are_all_stored() {
    for durability in [Durability::Always, Durability::default()] {
        let scratch = Scratch::new();
        let store = FileStore::builder(scratch.path()).durability(durability);
        let sessions = Sessions::new(config(), store.open().unwrap()).unwrap();
        let mut browser = Browser::new(&sessions);
        browser.visit(async |s| s.put("n", 0).unwrap()).await;
        let requests: Vec<_> = (0..1000)
            .map(|_| tokio::spawn(increment(sessions.clone(), browser.jar.clone())))
            .collect();
        for request in requests {
            assert_eq!(request.await.unwrap(), 200, "{durability:?}");
        }
        let sum = browser.visit(async |s| s.get::<u64>("n").unwrap()).await;
        assert_eq!(sum, Some(1000), "{durability:?}");
    }
}
