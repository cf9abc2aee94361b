//! Form input, validation errors and CSRF protection.
//!
//! [`Input`] reads a request's query and body. [`ValidationErrors`] collects messages by field.
//! [`Forms`] wraps a handler, inside [`Sessions`](crate::Sessions). It redirects the visitor of an
//! invalid form back to the form, with the messages and the input flashed, and it rejects requests
//! from other origins.

mod body;
mod body_stream;
mod content_type;
mod csrf;
mod de;
mod error;
mod error_response;
mod field_name;
mod forms;
mod future;
mod hyper;
mod input;
mod json_value;
mod limits;
mod message_value;
mod multipart;
mod origin;
mod parse;
mod reader;
mod redact;
mod replay;
mod tree;
mod validation;

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "garde")]
mod garde;
#[cfg(feature = "tower")]
mod tower;

pub use body::FormBody;
pub use error::{InputError, InputErrorKind};
pub use forms::Forms;
pub use future::{FormFuture, Handler};
pub use hyper::{FormService, FunctionHandler, HyperHandler};
pub use input::{Input, InputReader};
pub use limits::InputLimits;
pub use multipart::{FileInfo, FilePart};
pub use origin::InvalidOrigin;
#[cfg(feature = "tower")]
pub use tower::{FormLayer, TowerHandler};
pub use validation::ValidationErrors;
