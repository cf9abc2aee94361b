//! The changes of one request to its session, as operations over a snapshot.
//!
//! A `Patch` applies each edit to the document immediately, so that later reads see it. It also
//! records the operation. If another request commits first, the patch is rebased: its operations
//! are applied to the newer snapshot. So two increments add up, and a put to one key does not undo a
//! concurrent put to another key.

mod error;
mod operations;
mod rebase;

pub use error::ChangeError;
pub use operations::ChangeLimits;
pub(crate) use operations::Update;
// Public for the tests, benches and fuzz targets only.
#[doc(hidden)]
pub use operations::Patch;
#[doc(hidden)]
pub use rebase::RebaseError;
