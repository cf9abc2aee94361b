//! Checks of the ranges of settings.

use std::{ops::RangeInclusive, time::Duration};

use super::ConfigError;
use crate::duration::DurationSetting;

/// Returns the duration if it is within `range`.
pub(super) fn check_range(
    setting: &'static str,
    value: DurationSetting,
    range: RangeInclusive<Duration>,
) -> Result<Duration, ConfigError> {
    let duration = value.duration();
    range
        .contains(&duration)
        .then_some(duration)
        .ok_or_else(|| {
            let (min, max) = (
                DurationSetting::new(*range.start()),
                DurationSetting::new(*range.end()),
            );
            ConfigError::new(
                setting,
                format!("{value} is out of range; choose {min} to {max}"),
            )
        })
}
