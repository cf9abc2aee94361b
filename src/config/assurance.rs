//! How long sessions may last where a standard says so.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An authentication assurance level of NIST SP 800-63B-4, for the times after which its users must
/// authenticate again.
///
/// | level | section | a session lives at most | without a request at most |
/// | --- | --- | --- | --- |
/// | `aal1` | 2.1.3 | 30 days | as long as `age` says |
/// | `aal2` | 2.2.3 | 24 hours | 1 hour |
/// | `aal3` | 2.3.3 | 12 hours | 15 minutes |
///
/// This is about timeouts alone. What else the levels ask for (how users authenticate, and that they
/// do so again) is the service's own.
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
    /// How long a session may live, however busy.
    pub const fn absolute_timeout(self) -> Duration {
        match self {
            Self::Aal1 => DAY.saturating_mul(30),
            Self::Aal2 => DAY,
            Self::Aal3 => HOUR.saturating_mul(12),
        }
    }

    /// How long a session may live without a request; `None` where the standard does not say.
    pub const fn idle_timeout(self) -> Option<Duration> {
        match self {
            Self::Aal1 => None,
            Self::Aal2 => Some(HOUR),
            Self::Aal3 => Some(MINUTE.saturating_mul(15)),
        }
    }
}
