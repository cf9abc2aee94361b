//! ISO 8601 dates.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Serialize, Serializer};

/// A point in time that serializes as ISO 8601 in UTC with milliseconds, like JavaScript's
/// `Date`: `2026-11-23T08:30:00.000Z`.
///
/// The range is the years 1970 to 9999. A time outside is clamped to the nearer end. Fractions of
/// a millisecond are cut off.
///
/// ```
/// use hyper_session::document::IsoDate;
/// use std::time::UNIX_EPOCH;
///
/// let date = IsoDate::from(UNIX_EPOCH);
/// assert_eq!(date.to_string(), "1970-01-01T00:00:00.000Z");
/// assert_eq!(serde_json::to_string(&date)?, "\"1970-01-01T00:00:00.000Z\"");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IsoDate(Duration);

/// The last millisecond of the year 9999.
const MAX_DATE: Duration = Duration::from_millis(253_402_300_799_999);

impl From<SystemTime> for IsoDate {
    fn from(time: SystemTime) -> Self {
        Self(
            time.duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .min(MAX_DATE),
        )
    }
}

impl fmt::Display for IsoDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (year, month, day) = civil_from_days(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        let milli = self.0.subsec_millis();
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"
        )
    }
}

impl Serialize for IsoDate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Returns the year, month and day of a number of days since 1970-01-01, in the Gregorian calendar.
///
/// The calculation counts years from March, so that a leap day is the last day of its year. It
/// works in eras of 400 years (146,097 days), which all have the same layout.
const fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let since_era_0 = days + 719_468;
    let (era, day) = (since_era_0 / 146_097, since_era_0 % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let january_or_february = month >= 10;
    let year = era * 400 + year + january_or_february as u64;
    let month = if january_or_february {
        month - 9
    } else {
        month + 3
    };
    (year, month, day)
}
