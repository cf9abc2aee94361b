//! Where visitors tell each other which cookie a session has now, and which sessions are over.

use hyper_session::{
    id::StoreKey,
    store::{Expected, ReadOutcome, RedisStore, Store, WriteOutcome},
};

use crate::support::redis_servers::sessions::HOUR;

#[derive(Clone)]
pub(crate) struct Board(RedisStore);

impl Board {
    pub(crate) async fn open(url: &str) -> Self {
        let store = RedisStore::builder(url).prefix("board:").connect().await;
        Self(store.unwrap())
    }

    pub(crate) async fn post(&self, place: usize, cookie: &str) {
        self.write(key(place, 0), cookie).await;
    }

    pub(crate) async fn posted(&self, place: usize) -> String {
        let posted = self.read(key(place, 0)).await;
        posted.expect("every session has a cookie")
    }

    pub(crate) async fn end(&self, place: usize) {
        self.write(key(place, 1), "over").await;
    }

    pub(crate) async fn is_ended(&self, place: usize) -> bool {
        self.read(key(place, 1)).await.is_some()
    }

    async fn write(&self, key: StoreKey, text: &str) {
        let text = text.to_owned().into();
        let written = self.0.write(&key, text, HOUR, Expected::Any).await;
        assert!(matches!(written, Ok(WriteOutcome::Done(_))), "{written:?}");
    }

    async fn read(&self, key: StoreKey) -> Option<String> {
        match self.0.read(&key, None).await.unwrap() {
            ReadOutcome::Found(record) => Some(String::from_utf8(record.data.to_vec()).unwrap()),
            _ => None,
        }
    }
}

fn key(place: usize, side: usize) -> StoreKey {
    let byte = u8::try_from(2 * place + side).unwrap();
    StoreKey::from_bytes(std::array::from_fn(|_| byte))
}
