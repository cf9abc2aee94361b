//! Changes of sessions outside of requests, through the collection.

use http::{HeaderMap, StatusCode};
use hyper_session::{SessionCollection, SessionError, Sessions, id::StoreKey};

use crate::{
    driver::RunningRequest,
    script::{Entry, History, JOB_AMOUNT, JOB_TAG, JobChange, Values, update_fields},
    support::{Browser, Jar},
};

/// Returns a job that changes the session with these cookies. A request that does not use its session finds
/// out its key.
pub(crate) fn job(
    sessions: &Sessions,
    jar: Jar,
    change: JobChange,
    number: usize,
) -> RunningRequest {
    let collection = sessions.collection();
    let mut browser = Browser::new(sessions);
    browser.jar = jar;
    Box::pin(async move {
        let visit = browser.request(async |session| session.store_key()).await;
        let key = visit.value.unwrap().unwrap();
        (
            apply(collection, key, change, number, None).await,
            HeaderMap::new(),
        )
    })
}

/// Returns a job that changes the newest session with this tag.
pub(crate) fn listed_job(
    sessions: &Sessions,
    tag: &'static str,
    change: JobChange,
    number: usize,
    history: History,
) -> RunningRequest {
    let collection = sessions.collection();
    Box::pin(async move {
        let status = match collection.tagged(tag).await {
            Ok(keys) => match keys.last() {
                Some(key) => {
                    let (step, key) = (history.step(), *key);
                    history.push(number, Entry::Chosen { step, key });
                    apply(collection, key, change, number, Some(&history)).await
                }
                None => StatusCode::NOT_FOUND,
            },
            Err(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, HeaderMap::new())
    })
}

async fn apply(
    collection: SessionCollection,
    key: StoreKey,
    change: JobChange,
    number: usize,
    history: Option<&History>,
) -> StatusCode {
    let add = |number: &mut i64| *number += JOB_AMOUNT;
    let fields = |all: &mut Values| update_fields(all, number);
    let is_alive = match change {
        JobChange::Add => {
            let updated = collection.update(&key, "n", add).await;
            if let (Ok(Some(sum)), Some(history)) = (&updated, history) {
                history.push(number, Entry::Updated(*sum));
            }
            updated.map(|it| it.is_some())
        }
        JobChange::Fields => {
            let updated = collection.update_all(&key, fields).await;
            updated.map(|it| it.is_some())
        }
        JobChange::Tag => collection.tag(&key, JOB_TAG).await,
        JobChange::End => collection.destroy(&key).await.map(|()| true),
    };
    match is_alive {
        Ok(true) => StatusCode::OK,
        Ok(false) => StatusCode::NOT_FOUND,
        Err(SessionError::Read(_)) => StatusCode::CONFLICT,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Destroys all sessions with the tag of the first visit.
pub(crate) fn sign_out(sessions: &Sessions) -> RunningRequest {
    let collection = sessions.collection();
    Box::pin(async move {
        let status = match collection.destroy_tagged("first", None).await {
            Ok(_) => StatusCode::OK,
            Err(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, HeaderMap::new())
    })
}
