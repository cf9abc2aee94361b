//! The administration API. It can sign out every user: protect it with a token or an address that visitors
//! cannot reach, and use TLS outside of this machine.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use ctutils::CtEq;
use http::{
    HeaderValue, Request, StatusCode,
    header::{AUTHORIZATION, WWW_AUTHENTICATE},
};
use hyper_session::{SessionCollection, SessionError, document::IsoDate, session::SessionInfo};
use serde_json::{Value, json};

use super::{Page, is_user_name, not_found, respond, user_tag};

/// Maximum number of sessions in one response.
const MAX_LISTED: usize = 1000;

#[derive(Clone)]
pub(crate) struct Admin {
    collection: SessionCollection,
    /// The expected `Authorization` header. A browser does not send it with a request from another site.
    authorization: Arc<str>,
}

impl Admin {
    pub(crate) fn new(collection: SessionCollection, token: &str) -> Self {
        Self {
            collection,
            authorization: format!("Bearer {token}").into(),
        }
    }

    pub(crate) async fn respond<B>(&self, request: &Request<B>) -> Result<Page, SessionError> {
        if !self.is_authorized(request) {
            let mut page = respond(StatusCode::UNAUTHORIZED, &json!({ "error": "wrong token" }));
            let scheme = HeaderValue::from_static("Bearer");
            page.headers_mut().insert(WWW_AUTHENTICATE, scheme);
            return Ok(page);
        }
        let path: Vec<&str> = request.uri().path().split('/').skip(2).collect();
        let value = match (request.method().as_str(), &path[..]) {
            ("GET", ["sessions"]) => self.all().await?,
            ("GET", ["users", name]) if is_user_name(name) => {
                let sessions = self
                    .collection
                    .list(&user_tag(name), &["user.name"])
                    .await?;
                sessions.iter().map(describe).collect::<Result<_, _>>()?
            }
            ("DELETE", ["users", name]) if is_user_name(name) => {
                let tag = user_tag(name);
                json!({ "destroyed": self.collection.destroy_tagged(&tag, None).await? })
            }
            _ => return Ok(not_found()),
        };
        Ok(respond(StatusCode::OK, &value))
    }

    fn is_authorized<B>(&self, request: &Request<B>) -> bool {
        let header = request.headers().get(AUTHORIZATION);
        let expected = self.authorization.as_bytes();
        header.is_some_and(|header| header.as_bytes().ct_eq(expected).to_bool())
    }

    /// Returns a list, and an upper bound of the number of sessions if the store counts. A scan may visit a
    /// session twice, so the list is a map.
    async fn all(&self) -> Result<Value, SessionError> {
        let mut sessions = BTreeMap::new();
        let mut scan = self.collection.scan(&["user.name"])?;
        while sessions.len() < MAX_LISTED
            && let Some(session) = scan.next().await?
        {
            sessions.insert(*session.key(), describe(&session)?);
        }
        let sessions: Vec<Value> = sessions.into_values().collect();
        Ok(json!({ "max_count": self.collection.count().await?, "sessions": sessions }))
    }
}

/// Returns the entry of a session in a list. The key is not secret.
fn describe(session: &SessionInfo) -> Result<Value, SessionError> {
    let date = |time| IsoDate::from(SystemTime::from(time)).to_string();
    let name: Option<Value> = session.values().get("user.name")?;
    Ok(json!({
        "key": session.key().to_string(),
        "user": name,
        "created": date(session.created_at()),
        "last_seen": session.last_seen().map(date),
        "tags": session.tags().collect::<Vec<_>>(),
    }))
}
