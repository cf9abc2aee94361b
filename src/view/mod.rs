//! Template helpers for [minijinja] 3: old input, validation errors, flash messages, CSRF fields.
//!
//! [`context`] creates a template context from a loaded session. It contains these names:
//!
//! | in a template | value |
//! | --- | --- |
//! | `old('title')`, `old('title', default)` | the previous input of a field, else the default or `''` |
//! | `input_error('title')` | the list of a field's messages, possibly empty |
//! | `error('E_PAYMENT')` | the message of an error that belongs to no field |
//! | `errors()` | the messages of all errors that belong to no field, as a list |
//! | `flash_message('notice')` | one flash message |
//! | `flash_messages` | all flash messages: `.all()`, `.get(key)`, `.get(key, default)`, `.has(key)`, and members by name |
//! | `session` | the session's data, with the same methods; read-only |
//! | `csrf_field()` | the hidden CSRF field of a form, as safe HTML |
//! | `csrf_token()` | the CSRF token, for a request header |
//!
//! Flash messages contain old input under the names of its fields, and errors under two keys:
//! `inputErrorsBag` (messages by field) and `errorsBag` (message by code). The feature `forms` writes
//! them when a form is invalid, and [`Session::flash_errors`] adds errors by code. Other validation code may write the same keys.
//!
//! A missing value is undefined. It prints as nothing and is false in an `if`. Keys are paths, as for
//! [`Session::get`]. Field names may also be written as in the form: `items[0][name]`, `tags[]`.
//!
//! ```
//! # use hyper_session::{Session, SessionError, view};
//! use minijinja::{Environment, context};
//!
//! let mut pages = Environment::new();
//! view::enable_autoescape(&mut pages);
//! pages.add_template("post", r#"
//!     {% with message = flash_message('notification') %}{% if message %}
//!       <p class="notification {{ message.type }}">{{ message.message }}</p>
//!     {% endif %}{% endwith %}
//!     <input name="title" value="{{ old('title') }}">
//!     {% for message in input_error('title') %}<p>{{ message }}</p>{% endfor %}
//! "#)?;
//!
//! # let _ = |session: Session| async move {
//! session.load().await?;
//! let values = context! { heading => "A post", ..view::context(&session)? };
//! let page = pages.get_template("post")?.render(values)?;
//! # Ok::<_, Box<dyn std::error::Error>>(page) };
//! # Ok::<(), minijinja::Error>(())
//! ```
//!
//! Imported macros can use all of these names. So one macro can render a field with its label, old
//! input and messages.
//!
//! # Escaping
//!
//! Old input and flash messages contain text from a client, so pages must escape them. By default,
//! minijinja escapes only in templates with the extension `.html`, `.htm` or `.xml`.
//! [`enable_autoescape`] makes it escape in all templates.
//!
//! # Other template engines
//!
//! `examples/askama_page.rs` shows how to get the same values from the session for askama, which
//! compiles templates into structs.
//!
//! [minijinja]: https://docs.rs/minijinja/3

mod page;
mod values;

use std::sync::Arc;

use minijinja::{AutoEscape, Environment, Value};

use crate::session::{Session, SessionError};

/// Returns the template context of one page, from a snapshot of the session and its flash messages.
///
/// Spread it into your own context, whose names take precedence:
/// `context! { title, ..view::context(&session)? }`. A value is parsed when a template uses it. No lock
/// is held during rendering.
///
/// # Errors
/// If the session is not loaded.
pub fn context(session: &Session) -> Result<Value, SessionError> {
    let page = page::PageContext::new(session)?;
    Ok(Value::from_dyn_object(Arc::new(page)))
}

/// Enables HTML escaping in all templates of an environment, whatever their names are.
///
/// Write `{% autoescape false %}` in a template of plain text, such as a mail.
pub fn enable_autoescape(pages: &mut Environment<'_>) {
    pages.set_auto_escape_callback(|_| AutoEscape::Html);
}
