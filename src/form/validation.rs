//! What is wrong with a form, field by field.

use std::{borrow::Cow, collections::BTreeMap, error::Error, fmt};

use http::Response;
use serde_json::{Value, json};

use super::{
    error::{JSON, respond},
    secrets::presentable,
};
use crate::session::{Session, SessionError};

/// Validation errors: for each field its messages, and a code and a summary for all of them.
///
/// A handler under [`Forms`](super::Forms) returns them as its error, as they are, boxed, or as the
/// source of an error of its own, or puts them into its response
/// ([`into_response`](Self::into_response)). A page then goes back to its form, with the errors and the
/// input among the flash messages; a client that accepts JSON gets 422.
///
/// ```
/// use hyper_session::form::ValidationErrors;
///
/// fn check(title: &str) -> Result<(), ValidationErrors> {
///     let mut errors = ValidationErrors::new();
///     if title.is_empty() {
///         errors.add("title", "Give it a title.");
///     }
///     errors.into_result()
/// }
///
/// assert_eq!(check("").unwrap_err().get("title"), ["Give it a title."]);
/// assert!(check("On bread").is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct ValidationErrors {
    /// Also the source, so that an error of your own that is `transparent` hides nothing.
    pub(super) report: Box<Report>,
}

/// All that validation errors say.
#[derive(Clone)]
pub(super) struct Report {
    fields: BTreeMap<String, Vec<String>>,
    code: Cow<'static, str>,
    summary: Cow<'static, str>,
    pub(super) back_to: Option<String>,
    pub(super) as_json: Option<bool>,
    with_input: bool,
}

impl ValidationErrors {
    /// None yet.
    pub fn new() -> Self {
        let report = Report {
            fields: BTreeMap::new(),
            code: "E_VALIDATION_ERROR".into(),
            summary: "The form could not be saved. Please check the errors below.".into(),
            back_to: None,
            as_json: None,
            with_input: true,
        };
        Self {
            report: Box::new(report),
        }
    }

    /// Adds a message to those of a field. Fields inside of others are written with dots:
    /// `items.0.name`.
    pub fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        let messages = self.report.fields.entry(field.into()).or_default();
        messages.push(message.into());
    }

    /// Adds a message to those of a field.
    #[must_use]
    pub fn with(mut self, field: impl Into<String>, message: impl Into<String>) -> Self {
        self.add(field, message);
        self
    }

    /// Sets the code under which the summary is flashed in `errorsBag`. Default: `E_VALIDATION_ERROR`.
    #[must_use]
    pub fn code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.report.code = code.into();
        self
    }

    /// Sets the summary. Default: "The form could not be saved. Please check the errors below."
    #[must_use]
    pub fn summary(mut self, summary: impl Into<Cow<'static, str>>) -> Self {
        self.report.summary = summary.into();
        self
    }

    /// Goes back to this path of this origin, whatever the browser and the session say. Anything else
    /// than a path goes to `/`.
    #[must_use]
    pub fn redirect_to(mut self, path: impl Into<String>) -> Self {
        self.report.back_to = Some(path.into());
        self
    }

    /// Answers as for a page, whatever the client accepts.
    #[must_use]
    pub fn respond_with_page(mut self) -> Self {
        self.report.as_json = Some(false);
        self
    }

    /// Answers with JSON, whatever the client accepts.
    #[must_use]
    pub fn respond_with_json(mut self) -> Self {
        self.report.as_json = Some(true);
        self
    }

    /// Does not flash the input.
    #[must_use]
    pub fn without_input(mut self) -> Self {
        self.report.with_input = false;
        self
    }

    /// Whether no field has a message. (Errors that only have a code and a summary are none here.)
    pub fn is_empty(&self) -> bool {
        self.report.fields.is_empty()
    }

    /// The messages of a field.
    pub fn get(&self, field: &str) -> &[String] {
        self.report.fields.get(field).map_or(&[], Vec::as_slice)
    }

    /// The fields and their messages, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        let fields = self.report.fields.iter();
        fields.map(|(field, messages)| (field.as_str(), messages.as_slice()))
    }

    /// An error, if a field has a message.
    ///
    /// # Errors
    /// These.
    pub fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }

    /// A response that [`Forms`](super::Forms) turns into the redirect or the JSON. Where there is
    /// none around the handler, it is the JSON.
    pub fn into_response<B: From<String>>(self) -> Response<B> {
        let mut response = self.report.json().map(B::from);
        response.extensions_mut().insert(self);
        response
    }

    /// Flashes the errors, as `errors` and `inputErrorsBag` (field to messages) and `errorsBag` (code
    /// to summary), and the input that the session remembers, each field under its own name. Left out
    /// at every level are `_csrf`, `_method`, and what is named after a password: `password_confirmation`,
    /// `newPassword`, `passphrase`, `pwd`, `pin`, `otp` and the like.
    ///
    /// Whoever sends a form chooses its fields' names, and may take that of a message of yours, such as
    /// `notification`: the next page shows it as if it were that. Where a link of somebody else can lead
    /// to this, as with the query of a search, use [`without_input`](Self::without_input).
    ///
    /// [`Forms`](super::Forms) does this by itself.
    ///
    /// # Errors
    /// When the session cannot be changed, or has no room for the messages. Where it only has none for
    /// the input, that is left out.
    pub fn flash(&self, session: &Session) -> Result<(), SessionError> {
        self.report.flash(session)
    }
}

impl Report {
    pub(super) fn flash(&self, session: &Session) -> Result<(), SessionError> {
        if self.with_input {
            let input = session.form_input();
            let flashed = input.map(|input| session.flash_all_of(&presentable(&input)));
            match flashed {
                // Large input must not keep the visitor from being told what is wrong with it.
                None | Some(Ok(()) | Err(SessionError::Change(_))) => {}
                Some(Err(error)) => return Err(error),
            }
        }
        session.flash(["errors"], &self.fields)?;
        session.flash(["inputErrorsBag"], &self.fields)?;
        session.flash(["errorsBag", &*self.code], &*self.summary)
    }

    pub(super) fn summary(&self) -> &str {
        &self.summary
    }

    pub(super) fn json(&self) -> Response<String> {
        let body: Value = json!({
            "code": self.code,
            "message": self.summary,
            "errors": self.fields,
        });
        respond(
            http::StatusCode::UNPROCESSABLE_ENTITY,
            JSON,
            body.to_string(),
        )
    }
}

impl Default for ValidationErrors {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for ValidationErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.report.summary)
    }
}

impl Error for ValidationErrors {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.report)
    }
}

impl fmt::Display for Report {
    /// A line for each message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages = self
            .fields
            .iter()
            .flat_map(|(field, messages)| messages.iter().map(move |message| (field, message)));
        let mut first = true;
        for (field, message) in messages {
            let line = if std::mem::take(&mut first) { "" } else { "\n" };
            write!(f, "{line}{field}: {message}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Report {
    /// Messages may repeat what the visitor wrote: only the fields' names are shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("code", &self.code)
            .field("fields", &self.fields.keys())
            .finish_non_exhaustive()
    }
}

impl Error for Report {}
