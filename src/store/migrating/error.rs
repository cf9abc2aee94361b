//! What cannot be migrated.

use crate::store::StoreError;

/// The name that this store gives itself in errors.
const NAME: &str = "migrating";

#[derive(Debug, thiserror::Error)]
pub(super) enum MigratingError {
    #[error(
        "a store gave a version of 2^63 or more, which a store that takes part in a migration must \
         not: see `store::Version`"
    )]
    Version,
    #[error("the old store holds a mark that another version of this crate made")]
    Mark,
    #[error(
        "sessions cannot move into their visitors' cookies: only the store that they come from may \
         be one that keeps them there"
    )]
    IntoCookies,
    #[error("not both stores have tags")]
    NoTags,
    #[error(
        "the session would have more than {} tags: untag it first",
        crate::store::MAX_TAGS
    )]
    TooManyTags,
}

impl From<MigratingError> for StoreError {
    fn from(error: MigratingError) -> Self {
        Self::new(NAME, "migrate", error)
    }
}
