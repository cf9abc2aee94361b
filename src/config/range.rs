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

/// Returns the number if it is within `range`.
pub(super) fn check_number(
    setting: &'static str,
    value: usize,
    range: RangeInclusive<usize>,
) -> Result<usize, ConfigError> {
    let (min, max) = (range.start(), range.end());
    let problem = || format!("{value} is out of range; choose a number from {min} to {max}");
    match range.contains(&value) {
        true => Ok(value),
        false => Err(ConfigError::new(setting, problem())),
    }
}
