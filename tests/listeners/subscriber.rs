//! A subscriber of `tracing` that uses the session.

use std::sync::{Arc, Mutex};

use hyper_session::{MemoryStore, Session, SessionError, Sessions};
use tracing::span::{Id, Record};
use tracing_subscriber::{
    Registry,
    layer::{Context, Layer, SubscriberExt},
};

use crate::{
    log::ONE,
    support::{Browser, config},
};

/// A layer that puts a value when a span records its outcome.
#[derive(Clone, Default)]
struct PutLayer {
    session: Arc<Mutex<Option<Session>>>,
    result: Arc<Mutex<Option<Result<(), SessionError>>>>,
}

impl Layer<Registry> for PutLayer {
    fn on_record(&self, _: &Id, _: &Record<'_>, _: Context<'_, Registry>) {
        let session = self.session.lock().unwrap().take();
        if let Some(session) = session {
            *self.result.lock().unwrap() = Some(session.put("late", 1));
        }
    }
}

/// The final commit destroys the session, and then has nothing to write.
#[tokio::test]
async fn a_session_cannot_be_changed_after_the_final_commit_has_destroyed_it() {
    let _one = ONE.lock().await;
    let layer = PutLayer::default();
    let subscriber = Registry::default().with(layer.clone());
    let _here = tracing::subscriber::set_default(subscriber);
    let mut browser = Browser::new(&Sessions::new(config(), MemoryStore::new()).unwrap());
    browser.visit(async |s| s.put("n", 1)).await.unwrap();
    browser
        .visit(async |s| {
            s.destroy().unwrap();
            *layer.session.lock().unwrap() = Some(s.clone());
        })
        .await;
    let result = layer.result.lock().unwrap().take();
    assert!(matches!(result, Some(Err(SessionError::Committed))));
}
