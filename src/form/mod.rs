//! Forms: their input, what is wrong with it, and where it comes from.
//!
//! [`Input`] reads what a visitor sent. [`ValidationErrors`] say what is wrong with it. [`Forms`] stands
//! between the sessions and a handler: it sends the visitor back to a form that is wrong, with the
//! messages and the input flashed, and refuses forms that other sites made.

mod answer;
mod asked;
mod body;
mod de;
mod error;
mod feed;
mod forms;
mod future;
mod guard;
mod hyper;
mod input;
mod kind;
mod limits;
mod misfit;
mod multipart;
mod name;
mod origin;
mod parse;
mod reading;
mod secrets;
mod tree;
mod validation;

#[cfg(feature = "garde")]
mod garde;
#[cfg(feature = "tower")]
mod tower;

pub use body::FormBody;
pub use error::{InputError, InputErrorKind};
pub use forms::Forms;
pub use future::{FormFuture, Handler};
pub use hyper::{FormService, Function, HyperCall};
pub use input::{Input, InputReader};
pub use limits::InputLimits;
pub use multipart::{FileInfo, FilePart};
pub use origin::InvalidOrigin;
#[cfg(feature = "tower")]
pub use tower::{FormLayer, TowerCall};
pub use validation::ValidationErrors;
