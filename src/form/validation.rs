//! Validation errors by field.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    error::Error,
    fmt::{self, Display},
};

use http::Response;
use serde_json::{Value, json};

use super::{
    error::{JSON, new_response},
    message_value::{MessageValue, format_message},
    redact::redact,
};
use crate::{
    service::{Messages, english_text},
    session::{Session, SessionError},
};

/// Validation errors: messages by field, and one code and summary for the form.
///
/// A handler inside [`Forms`](super::Forms) may return them as its error, boxed, or as the source of
/// its own error. Or it puts them into its response ([`into_response`](Self::into_response)). A
/// browser is then redirected to the form, with the errors and the input flashed; a client that
/// prefers JSON gets status 422.
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
    /// Also the source: `#[error(transparent)]` skips this type in the chain of sources.
    pub(super) report: Box<ValidationReport>,
}

/// The contents of validation errors.
#[derive(Clone)]
pub(super) struct ValidationReport {
    fields: BTreeMap<String, Vec<String>>,
    /// The messages in `fields` that come from a catalogue.
    catalogued: Vec<CataloguedMessage>,
    code: Cow<'static, str>,
    summary: Option<Cow<'static, str>>,
    pub(super) redirect_to: Option<String>,
    pub(super) as_json: Option<bool>,
    pub(super) with_input: bool,
}

/// A message that comes from a catalogue.
#[derive(Clone)]
struct CataloguedMessage {
    field: String,
    /// The index among the messages of the field.
    index: usize,
    key: Cow<'static, str>,
    values: Vec<(&'static str, MessageValue)>,
}

/// The key of the default summary.
const SUMMARY: &str = "validation.summary";

impl ValidationErrors {
    /// Creates errors without a message.
    pub fn new() -> Self {
        let report = ValidationReport {
            fields: BTreeMap::new(),
            catalogued: Vec::new(),
            code: "E_VALIDATION_ERROR".into(),
            summary: None,
            redirect_to: None,
            as_json: None,
            with_input: true,
        };
        Self {
            report: Box::new(report),
        }
    }

    /// Adds a message to a field. Use dots for a nested field: `items.0.name`.
    pub fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        let messages = self.report.fields.entry(field.into()).or_default();
        messages.push(message.into());
    }

    /// Adds a message to a field, as [`add`](Self::add) does.
    #[must_use]
    pub fn with_error(mut self, field: impl Into<String>, message: impl Into<String>) -> Self {
        self.add(field, message);
        self
    }

    /// Adds the message `key` of the catalogue that [`Forms`](super::Forms::messages) selects for the
    /// request. Until then, its text is English.
    ///
    /// `values` replace the placeholders of the text. The placeholder `{field}` is the label of the field:
    /// the text of the key `field.` and its name, such as `field.items.0.name`, else its name.
    ///
    /// ```
    /// use hyper_session::form::ValidationErrors;
    ///
    /// let mut errors = ValidationErrors::new();
    /// errors.add_message("title", "validation.missing", &[]);
    /// assert_eq!(errors.get("title"), ["is missing"]);
    /// // A key of your own, whose text in the catalogue is "{field} needs {min} characters".
    /// errors.add_message("password", "too_short", &[("min", &8)]);
    /// ```
    pub fn add_message(
        &mut self,
        field: impl Into<String>,
        key: impl Into<Cow<'static, str>>,
        values: &[(&'static str, &dyn Display)],
    ) {
        let values = values.iter();
        let values = values.map(|(name, value)| (*name, MessageValue::Text(value.to_string())));
        self.add_with_values(field.into(), key.into(), values.collect());
    }

    pub(super) fn add_with_values(
        &mut self,
        field: String,
        key: Cow<'static, str>,
        values: Vec<(&'static str, MessageValue)>,
    ) {
        let message = CataloguedMessage {
            index: self.get(&field).len(),
            field: field.clone(),
            key,
            values,
        };
        self.add(field, message.text(&Messages::default()));
        self.report.catalogued.push(message);
    }

    /// Sets the code, the key of the summary in the flashed `errorsBag`. Default: `E_VALIDATION_ERROR`.
    #[must_use]
    pub fn code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.report.code = code.into();
        self
    }

    /// Sets the summary. Default: the text of `errors.` and the code in the catalogue, if it has one, else of
    /// `validation.summary`: "The form could not be saved. Please check the errors below."
    #[must_use]
    pub fn summary(mut self, summary: impl Into<Cow<'static, str>>) -> Self {
        self.report.summary = Some(summary.into());
        self
    }

    /// Redirects to this path on this origin, instead of the `Referer` or the session's previous URL. A
    /// value that is not a path redirects to `/`.
    #[must_use]
    pub fn redirect_to(mut self, path: impl Into<String>) -> Self {
        self.report.redirect_to = Some(path.into());
        self
    }

    /// Responds with a redirect, whatever the client accepts.
    #[must_use]
    pub fn respond_with_page(mut self) -> Self {
        self.report.as_json = Some(false);
        self
    }

    /// Responds with JSON, whatever the client accepts.
    #[must_use]
    pub fn respond_with_json(mut self) -> Self {
        self.report.as_json = Some(true);
        self
    }

    /// Disables flashing of the input. The input of a request with the header `X-Inertia` is not flashed
    /// either: its page keeps it.
    #[must_use]
    pub fn without_input(mut self) -> Self {
        self.report.with_input = false;
        self
    }

    /// Returns `true` if no field has a message. The code and the summary do not count.
    pub fn is_empty(&self) -> bool {
        self.report.fields.is_empty()
    }

    /// Returns the messages of a field.
    pub fn get(&self, field: &str) -> &[String] {
        self.report.fields.get(field).map_or(&[], Vec::as_slice)
    }

    /// Returns an iterator over the fields and their messages, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        let fields = self.report.fields.iter();
        fields.map(|(field, messages)| (field.as_str(), messages.as_slice()))
    }

    /// Returns `Err(self)` if a field has a message.
    ///
    /// # Errors
    /// If [`is_empty`](Self::is_empty) is `false`.
    pub fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }

    /// Returns a response that [`Forms`](super::Forms) converts into the redirect or the JSON. Without
    /// `Forms`, the client gets the JSON.
    pub fn into_response<B: From<String>>(self) -> Response<B> {
        let mut response = self.report.json().map(B::from);
        response.extensions_mut().insert(self);
        response
    }

    /// Flashes the errors and the input. [`Forms`](super::Forms) calls this.
    ///
    /// The flashed keys are `errors` and `inputErrorsBag` (messages by field), `errorsBag` (summary by
    /// code), and each field of the input that the session keeps, under its own name. Some fields
    /// are left out at every level: `_csrf`, `_method`, and names of secrets, such as
    /// `password_confirmation`, `newPassword`, `passphrase`, `pwd`, `pin` and `otp`.
    ///
    /// The sender of a form chooses the names of its fields. A field named like one of your flash
    /// messages, such as `notification`, is shown in its place. Use
    /// [`without_input`](Self::without_input) if a link on another site can cause the errors, as with
    /// the query of a search.
    ///
    /// # Errors
    /// If the session cannot be changed, or the messages exceed its limits. If only the input exceeds
    /// them, the input is left out.
    pub fn flash(&self, session: &Session) -> Result<(), SessionError> {
        self.report.flash(session)
    }
}

impl ValidationReport {
    pub(super) fn flash(&self, session: &Session) -> Result<(), SessionError> {
        if self.with_input {
            let input = session.form_input();
            let result = input.map(|input| session.flash_all_of(redact(&input)));
            match result {
                // The messages must be flashed even if the input is too large.
                None | Some(Ok(()) | Err(SessionError::Change(_))) => {}
                Some(Err(error)) => return Err(error),
            }
        }
        session.flash(["errors"], &self.fields)?;
        session.flash(["inputErrorsBag"], &self.fields)?;
        session.flash(["errorsBag", &*self.code], self.summary())
    }

    /// Replaces the texts that come from a catalogue.
    pub(super) fn translate(&mut self, messages: &Messages) {
        let key = format!("errors.{}", self.code);
        let default = || {
            messages
                .find(&key)
                .unwrap_or_else(|| messages.text(SUMMARY))
        };
        self.summary
            .get_or_insert_with(|| default().to_owned().into());
        for message in &self.catalogued {
            let texts = self.fields.get_mut(&message.field);
            if let Some(text) = texts.and_then(|texts| texts.get_mut(message.index)) {
                *text = message.text(messages);
            }
        }
    }

    pub(super) fn summary(&self) -> &str {
        let default = || english_text(SUMMARY).unwrap_or(SUMMARY);
        self.summary.as_deref().unwrap_or_else(default)
    }

    pub(super) fn json(&self) -> Response<String> {
        let body: Value = json!({
            "code": self.code,
            "message": self.summary(),
            "errors": self.fields,
        });
        new_response(
            http::StatusCode::UNPROCESSABLE_ENTITY,
            JSON,
            body.to_string(),
        )
    }
}

impl CataloguedMessage {
    fn text(&self, messages: &Messages) -> String {
        let label = messages.find(&format!("field.{}", self.field));
        let label = label.unwrap_or(&self.field).to_owned();
        let mut values = self.values.clone();
        values.push(("field", MessageValue::Text(label)));
        format_message(messages, &self.key, &values)
    }
}

impl Default for ValidationErrors {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for ValidationErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.report.summary())
    }
}

impl Error for ValidationErrors {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.report)
    }
}

impl fmt::Display for ValidationReport {
    /// Writes one line per message.
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

impl fmt::Debug for ValidationReport {
    /// Prints the names of the fields only. Messages may repeat the input.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValidationReport")
            .field("code", &self.code)
            .field("fields", &self.fields.keys())
            .finish_non_exhaustive()
    }
}

impl Error for ValidationReport {}
