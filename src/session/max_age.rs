//! The limits of a session's own timeout.

use std::time::Duration;

use super::Policy;
use crate::duration::DurationSetting;

/// The reason for [`SessionError::MaxAge`](super::SessionError::MaxAge).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MaxAgeError {
    /// The timeout is zero.
    #[error("session max age is zero; call `destroy` to end the session")]
    Zero,
    /// The timeout is not longer than the touch interval, so a session in use could expire.
    #[error(
        "session max age {max_age} is too short; choose more than `touch_interval`, which is {limit}"
    )]
    TooShort {
        /// The timeout.
        max_age: DurationSetting,
        /// The setting `touch_interval`.
        limit: DurationSetting,
    },
    /// The timeout is longer than a setting allows.
    #[error("session max age {max_age} is too long; choose at most {limit}, or raise `{setting}`")]
    TooLong {
        /// The timeout.
        max_age: DurationSetting,
        /// The value of the setting.
        limit: DurationSetting,
        /// The name of the setting: `absolute_timeout` or `max_age_limit`.
        setting: &'static str,
    },
}

impl Policy {
    /// Fails if a session cannot have this timeout of its own.
    pub(super) fn check_max_age(&self, max_age: Duration) -> Result<(), MaxAgeError> {
        if max_age.is_zero() {
            return Err(MaxAgeError::Zero);
        }
        let setting = DurationSetting::new;
        if max_age <= self.touch_interval {
            return Err(MaxAgeError::TooShort {
                max_age: setting(max_age),
                limit: setting(self.touch_interval),
            });
        }
        let absolute = self
            .absolute_timeout
            .map(|limit| (limit, "absolute_timeout"));
        let limits = absolute
            .into_iter()
            .chain([(self.max_age_limit, "max_age_limit")]);
        match limits.min().filter(|(limit, _)| max_age > *limit) {
            None => Ok(()),
            Some((limit, name)) => Err(MaxAgeError::TooLong {
                max_age: setting(max_age),
                limit: setting(limit),
                setting: name,
            }),
        }
    }
}
