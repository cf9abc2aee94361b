//! A response, and assertions about it and the session that it left behind.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header::LOCATION};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{connection::FailureText, location::redirected_method, sent_request::SentRequest};
use crate::{
    document::{Document, KeyPath, RawValue, is_equal, to_json},
    error_chain::ErrorChain,
    session::{SessionError, Snapshot, StoredSession},
};

/// A response with its whole body, and the session as the store holds it after the response.
///
/// The session is the one that the next request of the client would load. Reading it renews nothing, and
/// its flash messages stay. The assertions panic with the request, the value, and the whole session. They
/// return the response, so that calls can be chained.
#[derive(Debug)]
pub struct TestResponse {
    request: SentRequest,
    response: Response<Bytes>,
    stored: Result<StoredSession, SessionError>,
    is_stored: bool,
}

impl TestResponse {
    pub(super) fn new(
        request: SentRequest,
        response: Response<Bytes>,
        stored: Result<Option<StoredSession>, SessionError>,
    ) -> Self {
        let is_stored = matches!(stored, Ok(Some(_)));
        Self {
            request,
            response,
            stored: stored.map(Option::unwrap_or_default),
            is_stored,
        }
    }

    pub(super) const fn request(&self) -> &SentRequest {
        &self.request
    }

    /// Returns the status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Returns the headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// Returns the body.
    pub fn bytes(&self) -> &Bytes {
        self.response.body()
    }

    /// Returns the body as text.
    ///
    /// # Panics
    /// If it is not UTF-8.
    #[track_caller]
    pub fn text(&self) -> &str {
        match std::str::from_utf8(self.bytes()) {
            Ok(text) => text,
            Err(_) => self.fail("body is not UTF-8"),
        }
    }

    /// Returns the body, read as JSON.
    ///
    /// # Panics
    /// If it is not the JSON of a `T`.
    #[track_caller]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        match serde_json::from_slice(self.bytes()) {
            Ok(value) => value,
            Err(error) => self.fail(&format!("body is not the expected JSON: {error}")),
        }
    }

    /// Returns the data of the session. It is empty if no session is stored.
    ///
    /// # Panics
    /// If the session cannot be read.
    #[track_caller]
    pub fn session(&self) -> &Snapshot {
        &self.stored().data
    }

    /// Returns the flash messages for the next request.
    ///
    /// # Panics
    /// If the session cannot be read.
    #[track_caller]
    #[doc(alias = "flashMessages")]
    pub fn flash_messages(&self) -> &Snapshot {
        &self.stored().flash
    }

    /// Returns the tags of the session.
    ///
    /// # Panics
    /// If the session cannot be read.
    #[track_caller]
    pub fn tags(&self) -> Vec<&str> {
        self.stored().tags.iter().collect()
    }

    /// Asserts the status.
    #[track_caller]
    pub fn assert_status(&self, expected: u16) -> &Self {
        if self.status().as_u16() != expected {
            let body = String::from_utf8_lossy(self.bytes());
            self.fail(&format!("expected status {expected}; the body is {body:?}"));
        }
        self
    }

    /// Asserts that the response redirects to `location`, as its `Location` header names it.
    #[track_caller]
    #[doc(alias = "assertRedirect")]
    pub fn assert_redirect(&self, location: &str) -> &Self {
        let found = self.headers().get(LOCATION);
        let found = found.map(|it| String::from_utf8_lossy(it.as_bytes()));
        let is_redirect = redirected_method(self.status(), &self.request.method).is_some();
        if !is_redirect || found.as_deref() != Some(location) {
            let found = found.map_or_else(|| "none".to_owned(), |it| format!("{it:?}"));
            self.fail(&format!(
                "expected a redirect to {location:?}, found location {found}"
            ));
        }
        self
    }

    /// Asserts that the session has this value at `path`, with the JSON text that `put` would store.
    ///
    /// Integers of up to 128 bits are compared exactly. `1` and `1.0` differ. The order of an object's keys does
    /// not matter. `None` and `()` expect a stored null; for no value, use
    /// [`assert_session_missing`](Self::assert_session_missing).
    #[track_caller]
    #[doc(alias = "assertSession")]
    #[doc(alias = "assertSessionHas")]
    pub fn assert_session<'p>(
        &self,
        path: impl Into<KeyPath<'p>>,
        expected: impl Serialize,
    ) -> &Self {
        self.assert_value("session value", self.session(), path.into(), expected)
    }

    /// Asserts that the session has no value at `path`, or null.
    #[track_caller]
    #[doc(alias = "assertSessionMissing")]
    pub fn assert_session_missing<'p>(&self, path: impl Into<KeyPath<'p>>) -> &Self {
        self.assert_missing("session value", self.session(), path.into())
    }

    /// Asserts that this flash message waits for the next request.
    #[track_caller]
    #[doc(alias = "assertFlashMessage")]
    pub fn assert_flash<'p>(&self, key: impl Into<KeyPath<'p>>, expected: impl Serialize) -> &Self {
        self.assert_value("flash message", self.flash_messages(), key.into(), expected)
    }

    /// Asserts that no such flash message waits for the next request.
    #[track_caller]
    #[doc(alias = "assertFlashMissing")]
    pub fn assert_flash_missing<'p>(&self, key: impl Into<KeyPath<'p>>) -> &Self {
        self.assert_missing("flash message", self.flash_messages(), key.into())
    }

    /// Asserts that a field of a form has this message, in the flash messages or in the JSON of a 422.
    #[track_caller]
    #[doc(alias = "assertValidationError")]
    #[doc(alias = "assertSessionHasErrors")]
    pub fn assert_validation_error(&self, field: &str, message: &str) -> &Self {
        let messages = self.validation_errors(field);
        if !messages.iter().any(|found| found == message) {
            let problem = format!("expected {message:?}, found {messages:?}");
            self.fail(&format!("validation error of {field:?}: {problem}"));
        }
        self
    }

    /// Asserts that a field of a form has no message.
    ///
    /// It also fails if the errors do not have the form that [`assert_validation_error`](
    /// Self::assert_validation_error) reads, such as those of another framework, and after any other error
    /// response: a request that fails its CSRF check, for example, says nothing about its fields.
    #[track_caller]
    #[doc(alias = "assertDoesNotHaveValidationError")]
    #[doc(alias = "assertSessionHasNoErrors")]
    pub fn assert_validation_error_missing(&self, field: &str) -> &Self {
        let (messages, status) = (self.validation_errors(field), self.status());
        let is_failure = status.is_client_error() || status.is_server_error();
        if is_failure && status != StatusCode::UNPROCESSABLE_ENTITY {
            self.fail(&format!(
                "validation error of {field:?}: expected none, but the request failed"
            ));
        }
        if !messages.is_empty() {
            self.fail(&format!(
                "validation error of {field:?}: expected none, found {messages:?}"
            ));
        }
        self
    }

    /// Asserts that the session has this tag.
    #[track_caller]
    pub fn assert_tag(&self, tag: &str) -> &Self {
        if !self.stored().tags.contains(tag) {
            self.fail(&format!("tag {tag:?}: expected, found {:?}", self.tags()));
        }
        self
    }

    /// Asserts that the session does not have this tag.
    #[track_caller]
    pub fn assert_tag_missing(&self, tag: &str) -> &Self {
        if self.stored().tags.contains(tag) {
            self.fail(&format!(
                "tag {tag:?}: expected none, found {:?}",
                self.tags()
            ));
        }
        self
    }

    /// Asserts that no session is stored for the client, such as after a logout.
    #[track_caller]
    pub fn assert_no_session(&self) -> &Self {
        self.stored();
        if self.is_stored {
            self.fail("expected no session");
        }
        self
    }

    #[track_caller]
    fn stored(&self) -> &StoredSession {
        match &self.stored {
            Ok(stored) => stored,
            Err(error) => panic!(
                "session cannot be read after {}: {}",
                self.request,
                ErrorChain(error)
            ),
        }
    }

    #[track_caller]
    fn assert_value(
        &self,
        kind: &str,
        values: &Snapshot,
        path: KeyPath<'_>,
        expected: impl Serialize,
    ) -> &Self {
        let expected = match expected_value(&path, &expected) {
            Ok(expected) => expected,
            Err(error) => panic!("expected value has no JSON form: {}", ErrorChain(&error)),
        };
        let expected = expected.get(EXPECTED).ok().flatten();
        let shown = expected.and_then(|value| value.as_json().ok());
        let shown = shown.unwrap_or_default();
        match (self.value(values, &path), expected) {
            (Some(found), Some(expected)) if is_equal(found, expected) => {}
            (Some(found), _) => self.fail(&format!(
                "{kind} {path}: expected {shown}, found {}",
                self.json_text(found)
            )),
            (None, _) => self.fail(&format!("{kind} {path}: expected {shown}, found none")),
        }
        self
    }

    #[track_caller]
    fn assert_missing(&self, kind: &str, values: &Snapshot, path: KeyPath<'_>) -> &Self {
        let found = self.value(values, &path);
        if let Some(found) = found.filter(|value| !value.is_null()) {
            let found = self.json_text(found);
            self.fail(&format!("{kind} {path}: expected none, found {found}"));
        }
        self
    }

    /// Returns a value, or `None` if it is missing.
    #[track_caller]
    fn value<'v>(&self, values: &'v Snapshot, path: &KeyPath<'_>) -> Option<RawValue<'v>> {
        match values.get_raw(path) {
            Ok(value) => value,
            Err(error) => self.fail(&format!("{path}: {error}")),
        }
    }

    #[track_caller]
    fn json_text<'v>(&self, value: RawValue<'v>) -> &'v str {
        match value.as_json() {
            Ok(text) => text,
            Err(error) => self.fail(&error.to_string()),
        }
    }

    /// Returns the messages of a form's field.
    #[track_caller]
    fn validation_errors(&self, field: &str) -> Vec<String> {
        let errors = if self.status() == StatusCode::UNPROCESSABLE_ENTITY {
            let body: Value = self.json();
            Some(body["errors"].clone())
        } else {
            let errors = self.flash_messages().get(["inputErrorsBag"]);
            errors.unwrap_or_else(|error| self.fail(&error.to_string()))
        };
        let messages = match &errors {
            None => return Vec::new(),
            Some(Value::Object(fields)) => fields.get(field),
            Some(other) => self.fail(&format!(
                "validation errors are not an object of fields: {other}"
            )),
        };
        let read = |messages: &Value| {
            Vec::deserialize(messages).unwrap_or_else(|_| {
                self.fail(&format!(
                    "validation errors of {field:?} are not a list of texts: {messages}"
                ))
            })
        };
        messages.map(read).unwrap_or_default()
    }

    /// Fails the test with a problem, the request, and what the session holds.
    #[track_caller]
    pub(super) fn fail(&self, problem: &str) -> ! {
        let (request, status) = (&self.request, self.status());
        let session = match &self.stored {
            Err(error) => format!("session cannot be read: {}", ErrorChain(error)),
            Ok(_) if !self.is_stored => "no session is stored".to_owned(),
            Ok(stored) => {
                let json = |values: &Snapshot| values.as_json().unwrap_or("?").to_owned();
                let (data, flash) = (json(&stored.data), json(&stored.flash));
                format!("session: {data}\n  flash messages: {flash}")
            }
        };
        let reason = self.response.extensions().get::<FailureText>();
        let reason = reason.map_or_else(String::new, |FailureText(text)| format!(": {text}"));
        panic!("{problem}\n  after {request}, status {status}{reason}\n  {session}")
    }
}

/// The member of the document with an expected value.
const EXPECTED: [&str; 1] = ["expected"];

/// Returns a document with the JSON of an expected value, as `put` would store it at `path`.
fn expected_value(path: &KeyPath<'_>, value: &impl Serialize) -> Result<Document, SessionError> {
    let mut text = b"{\"expected\":".to_vec();
    to_json(path, value, &mut text)?;
    text.push(b'}');
    Ok(Document::parse(&text)?)
}
