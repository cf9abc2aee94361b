//! Changes of sessions outside of requests, through the collection.

use http::{HeaderMap, StatusCode};
use hyper_session::{SessionError, Sessions};

use crate::{
    driver::RunningRequest,
    script::{JOB_AMOUNT, JOB_TAG, JobChange, Values, update_fields},
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
        let add = |number: &mut i64| *number += JOB_AMOUNT;
        let fields = |all: &mut Values| update_fields(all, number);
        let is_alive = match change {
            JobChange::Add => collection
                .update(&key, "n", add)
                .await
                .map(|it| it.is_some()),
            JobChange::Fields => collection
                .update_all(&key, fields)
                .await
                .map(|it| it.is_some()),
            JobChange::Tag => collection.tag(&key, JOB_TAG).await,
        };
        let status = match is_alive {
            Ok(true) => StatusCode::OK,
            Ok(false) => StatusCode::NOT_FOUND,
            Err(SessionError::Read(_)) => StatusCode::CONFLICT,
            Err(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, HeaderMap::new())
    })
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
