//! Errors of migrations.

use crate::store::StoreError;

/// The store's name in errors.
const STORE_NAME: &str = "migrating";

pub(super) type MigratingResult<T> = Result<T, StoreError>;

#[derive(Debug, thiserror::Error)]
pub(super) enum MigratingError {
    #[error(
        "store returned a version of 2^63 or more; stores of a migration must use smaller \
         versions, see `store::Version`"
    )]
    Version,
    #[error(
        "unexpected migration marker in a store; run one version of the crate, and migrate in one \
         direction, on all machines"
    )]
    Marker,
    #[error("sessions cannot migrate into cookies; use the cookie store only as the old store")]
    IntoCookies,
    #[error("a store of the migration has no tags; tags work only if both stores have them")]
    NoTags,
    #[error("a store of the migration cannot list its sessions; scan them after the migration")]
    NoScan,
}

impl From<MigratingError> for StoreError {
    fn from(error: MigratingError) -> Self {
        Self::new(STORE_NAME, "migrate", error)
    }
}
