//! Versions of a migrating store.
//!
//! The highest bit shows which store assigned a version. It is set for the old store.

use super::error::MigratingError;
use crate::store::{Record, Version};

const OLD: u64 = 1 << 63;

/// The store that assigned a version, and the version as that store knows it.
pub(super) enum StoreSide {
    Old(Version),
    New(Version),
}

impl StoreSide {
    /// Splits a version of the migrating store.
    pub(super) const fn from_version(version: Version) -> Self {
        let number = version.get();
        match Version::new(number & !OLD) {
            Some(old) if number & OLD != 0 => Self::Old(old),
            _ => Self::New(version),
        }
    }
}

/// Returns the migrating store's version for a version of the old store.
pub(super) fn from_old(version: Version) -> Result<Version, MigratingError> {
    let number = from_new(version)?.get() | OLD;
    Version::new(number).ok_or(MigratingError::Version)
}

/// Returns the migrating store's version for a version of the new store, which is the same.
///
/// Fails if its highest bit is set.
pub(super) const fn from_new(version: Version) -> Result<Version, MigratingError> {
    match version.get() & OLD {
        0 => Ok(version),
        _ => Err(MigratingError::Version),
    }
}

/// Returns a record of the old store with the migrating store's version.
pub(super) fn from_old_record(record: Record) -> Result<Record, MigratingError> {
    let version = from_old(record.version)?;
    Ok(Record { version, ..record })
}

/// Returns a record of the new store with the migrating store's version.
pub(super) fn from_new_record(record: Record) -> Result<Record, MigratingError> {
    from_new(record.version)?;
    Ok(record)
}

#[cfg(test)]
mod tests;
