//! Log entries in a program that was built without `tracing`.

use super::outage::Outage;
use crate::clock::Timestamp;

/// Outages are not logged.
pub(super) const IS_ENABLED: bool = false;

pub(super) const fn shared_prefix(_: &str, _: Timestamp) {}

pub(super) const fn outage(_: &Outage) {}
