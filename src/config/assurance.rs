//! Session timeouts of a standard.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An authentication assurance level of NIST SP 800-63B-4, for its reauthentication timeouts.
///
/// | level | section | absolute timeout | idle timeout |
/// | --- | --- | --- | --- |
/// | `aal1` | 2.1.3 | 30 days | the setting `age` |
/// | `aal2` | 2.2.3 | 24 hours | 1 hour |
/// | `aal3` | 2.3.3 | 12 hours | 15 minutes |
///
/// Only the timeouts are enforced. The service must meet the other requirements of the level, such as
/// how users authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AssuranceLevel {
    /// Some assurance.
    Aal1,
    /// High assurance: two factors.
    Aal2,
    /// Very high assurance: a key that cannot be copied.
    Aal3,
}

impl AssuranceLevel {
    /// Returns the maximum age of a session, however often it is used.
    pub const fn absolute_timeout(self) -> Duration {
        match self {
            Self::Aal1 => DAY.saturating_mul(30),
            Self::Aal2 => DAY,
            Self::Aal3 => HOUR.saturating_mul(12),
        }
    }

    /// Returns the maximum time without a request, or `None` if the standard sets no limit.
    pub const fn idle_timeout(self) -> Option<Duration> {
        match self {
            Self::Aal1 => None,
            Self::Aal2 => Some(HOUR),
            Self::Aal3 => Some(MINUTE.saturating_mul(15)),
        }
    }
}
