//! Public methods of [`Session`](super::Session), one file a topic.

mod csrf;
mod flash;
mod lifecycle;
mod old_input;
mod read;
mod urls;
mod write;

#[cfg(feature = "forms")]
pub(crate) use urls::is_own_path;
