//! Sessions in templates of [minijinja] 3: what a page needs to show a form again.
//!
//! [`context`] makes the template's context out of a loaded session. It holds these names:
//!
//! | in a template | gives |
//! | --- | --- |
//! | `old('title')`, `old('title', default)` | what was entered into a field before; `''` where nothing was |
//! | `input_error('title')` | the messages about a field, as a list; empty where there are none |
//! | `error('E_PAYMENT')` | the message of an error that no field is to blame for |
//! | `flash_message('notice')` | one flash message |
//! | `flash_messages` | `.all()`, `.get(key)`, `.get(key, default)`, `.has(key)`, and members by name |
//! | `session` | the same of the session's data, to read only |
//! | `csrf_field()` | the hidden field that protects a form, to be printed as it is |
//! | `csrf_token()` | the token in it, for a request header |
//!
//! Old input stands among the flash messages by the names of its fields, errors in two of them:
//! `inputErrorsBag` (field to messages) and `errorsBag` (code to message). The feature `forms` leaves
//! them there when a form is wrong; whoever validates in another way may do the same.
//!
//! What is not there is undefined: it prints as nothing, and an `if` takes it for false. Keys are
//! paths, as everywhere. Field names may be written as in the form: `items[0][name]`, `tags[]`.
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
//! Macros that are imported from another template see all of these names, so a field with its label,
//! its old input and its messages is written once.
//!
//! # Escaping
//!
//! Old input and flash messages are what a visitor typed. minijinja escapes in templates whose
//! name ends in `.html` and leaves others alone; after [`enable_autoescape`] it escapes in all of them.
//!
//! # Other template engines
//!
//! An engine whose templates are compiled into structs, such as askama, takes the same values from
//! the session itself: `examples/askama_page.rs` shows how.
//!
//! [minijinja]: https://docs.rs/minijinja/3

mod page;
mod values;

use std::sync::Arc;

use minijinja::{AutoEscape, Environment, Value};

use crate::session::{Session, SessionError};

/// The names that templates use, for one page: the session and its flash messages as they stand now.
///
/// Nothing is parsed before a template asks for it, and no lock is held while it renders. Spread it
/// into a context of your own, whose names go first: `context! { title, ..view::context(&session)? }`.
///
/// # Errors
/// When the session is not loaded.
pub fn context(session: &Session) -> Result<Value, SessionError> {
    let page = page::Page::of(session)?;
    Ok(Value::from_dyn_object(Arc::new(page)))
}

/// Makes `pages` escape what templates print, whatever they are called; minijinja by itself does so
/// only where a name ends in `.html`, `.htm` or `.xml`.
///
/// Where something is meant to be plain text, such as a mail, say so in the template:
/// `{% autoescape false %}`.
pub fn enable_autoescape(pages: &mut Environment<'_>) {
    pages.set_auto_escape_callback(|_| AutoEscape::Html);
}
