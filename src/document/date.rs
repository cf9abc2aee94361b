//! ISO 8601 dates.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Unexpected, Visitor},
};

/// A point in time that serializes as ISO 8601 in UTC with milliseconds, like JavaScript's
/// `Date`: `2026-11-23T08:30:00.000Z`.
///
/// Only this form is read. The range is the years 1970 to 9999. A time outside is clamped to the
/// nearer end. Fractions of a millisecond are cut off.
///
/// A session refuses a bare `SystemTime`, which serde would write as an object of seconds and
/// nanoseconds. Store an `IsoDate`, and convert it back after reading.
///
/// ```
/// use hyper_session::document::IsoDate;
/// use std::time::UNIX_EPOCH;
///
/// let date = IsoDate::from(UNIX_EPOCH);
/// assert_eq!(date.to_string(), "1970-01-01T00:00:00.000Z");
/// let json = serde_json::to_string(&date)?;
/// assert_eq!(json, "\"1970-01-01T00:00:00.000Z\"");
/// let read: IsoDate = serde_json::from_str(&json)?;
/// assert_eq!(std::time::SystemTime::from(read), UNIX_EPOCH);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IsoDate(Duration);

/// The last millisecond of the year 9999.
const MAX_DATE: Duration = Duration::from_millis(253_402_300_799_999);

impl From<SystemTime> for IsoDate {
    fn from(time: SystemTime) -> Self {
        let time = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Self(Duration::from_millis(millis).min(MAX_DATE))
    }
}

impl From<IsoDate> for SystemTime {
    fn from(date: IsoDate) -> Self {
        UNIX_EPOCH + date.0
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

impl<'de> Deserialize<'de> for IsoDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(IsoDateVisitor)
    }
}

struct IsoDateVisitor;

impl Visitor<'_> for IsoDateVisitor {
    type Value = IsoDate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a date such as `2026-11-23T08:30:00.000Z`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<IsoDate, E> {
        parse(text).ok_or_else(|| E::invalid_value(Unexpected::Other("another text"), &self))
    }
}

/// Parses the form that `Display` writes.
fn parse(text: &str) -> Option<IsoDate> {
    const SEPARATORS: [(usize, u8); 7] = [
        (4, b'-'),
        (7, b'-'),
        (10, b'T'),
        (13, b':'),
        (16, b':'),
        (19, b'.'),
        (23, b'Z'),
    ];
    let is_separated = |&(at, separator): &(usize, u8)| text.as_bytes().get(at) == Some(&separator);
    if text.len() != 24 || !SEPARATORS.iter().all(is_separated) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| -> Option<u64> {
        let digits = text.get(range)?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok())?
    };
    let days = days_from_civil(number(0..4)?, number(5..7)?, number(8..10)?)?;
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    let millis = seconds * 1000 + number(20..23)?;
    Some(IsoDate(Duration::from_millis(millis)))
}

/// Returns the number of days from 1970-01-01 to a day, the inverse of [`civil_from_days`]. Returns
/// `None` if there is no such day, or it is before 1970.
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    let month_from_march = (month + 9) % 12;
    let year_from_march = year.checked_sub(u64::from(month < 3))?;
    let (era, year_of_era) = (year_from_march / 400, year_from_march % 400);
    let day_of_year = (153 * month_from_march + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    (civil_from_days(days) == (year, month, day)).then_some(days)
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
