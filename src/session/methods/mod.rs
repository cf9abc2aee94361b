//! The public methods of [`Session`](super::Session), one topic per file.
//!
//! rustdoc shows them in the order of these lines. The empty lines keep rustfmt from sorting them.

mod load;

mod read;

mod write;

mod lists;

mod typed;

mod flash;

mod lifecycle;

mod lifetime;

mod tags;

mod urls;

mod old_input;

mod csrf;

#[cfg(feature = "forms")]
mod identify;

pub(super) use typed::check_type;
pub(crate) use urls::is_own_path;
