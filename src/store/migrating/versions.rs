//! Whose version it is: the old store's versions are shown with the highest bit set.

use super::error::MigratingError;
use crate::store::{Record, Version};

const OLD: u64 = 1 << 63;

/// A version as the store that gave it knows it.
pub(super) enum Place {
    Old(Version),
    New(Version),
}

impl Place {
    /// Which store's version is shown as `version`.
    pub(super) const fn of(version: Version) -> Self {
        let number = version.get();
        match Version::new(number & !OLD) {
            Some(old) if number & OLD != 0 => Self::Old(old),
            _ => Self::New(version),
        }
    }
}

/// The old store's version, as it is shown.
pub(super) fn old(version: Version) -> Result<Version, MigratingError> {
    let number = new(version)?.get() | OLD;
    Version::new(number).ok_or(MigratingError::Version)
}

/// The new store's version: it is shown as it is, and must not look like one of the old store's.
pub(super) const fn new(version: Version) -> Result<Version, MigratingError> {
    match version.get() & OLD {
        0 => Ok(version),
        _ => Err(MigratingError::Version),
    }
}

/// The old store's record, as it is shown.
pub(super) fn old_record(record: Record) -> Result<Record, MigratingError> {
    let version = old(record.version)?;
    Ok(Record { version, ..record })
}

/// The new store's record, as it is shown.
pub(super) fn new_record(record: Record) -> Result<Record, MigratingError> {
    new(record.version)?;
    Ok(record)
}

#[cfg(test)]
mod tests;
