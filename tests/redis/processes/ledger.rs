//! The ledger: the current cookie of each session, and the sessions that have ended, shared by all
//! processes.

use hyper_session::{
    id::StoreKey,
    store::{Expected, ReadOutcome, RedisStore, Store, WriteOutcome, WriteRequest},
};

use crate::support::redis_servers::sessions::HOUR;

#[derive(Clone)]
pub(crate) struct Ledger(RedisStore);

impl Ledger {
    pub(crate) async fn open(url: &str) -> Self {
        let store = RedisStore::builder(url).prefix("ledger:").connect().await;
        Self(store.unwrap())
    }

    pub(crate) async fn set_cookie(&self, session: usize, cookie: &str) {
        self.write(key(session, 0), cookie).await;
    }

    pub(crate) async fn cookie(&self, session: usize) -> String {
        let cookie = self.read(key(session, 0)).await;
        cookie.expect("every session has a cookie")
    }

    pub(crate) async fn set_ended(&self, session: usize) {
        self.write(key(session, 1), "ended").await;
    }

    pub(crate) async fn is_ended(&self, session: usize) -> bool {
        self.read(key(session, 1)).await.is_some()
    }

    async fn write(&self, key: StoreKey, text: &str) {
        let request = WriteRequest::new(&key, text.to_owned(), HOUR, Expected::Any);
        let written = self.0.write(request).await;
        assert!(matches!(written, Ok(WriteOutcome::Done(_))), "{written:?}");
    }

    async fn read(&self, key: StoreKey) -> Option<String> {
        match self.0.read(&key, None).await.unwrap() {
            ReadOutcome::Found(record) => Some(String::from_utf8(record.data.to_vec()).unwrap()),
            _ => None,
        }
    }
}

/// Returns the key of an entry. Each session has two.
fn key(session: usize, entry: usize) -> StoreKey {
    let byte = u8::try_from(2 * session + entry).unwrap();
    StoreKey::from_bytes(std::array::from_fn(|_| byte))
}
