//! Durations in configuration: `"2h"`, `"30 minutes"`, `90`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const MILLI: u128 = 1_000_000;
const SECOND: u128 = 1_000 * MILLI;
const MINUTE: u128 = 60 * SECOND;
const HOUR: u128 = 60 * MINUTE;
const DAY: u128 = 24 * HOUR;
const WEEK: u128 = 7 * DAY;

/// The length of each unit in nanoseconds and its names, longest unit first. `Display` writes the
/// first name.
const UNITS: [(u128, &[&str]); 6] = [
    (WEEK, &["w", "week", "weeks"]),
    (DAY, &["d", "day", "days"]),
    (HOUR, &["h", "hr", "hrs", "hour", "hours"]),
    (MINUTE, &["m", "min", "mins", "minute", "minutes"]),
    (SECOND, &["s", "sec", "secs", "second", "seconds"]),
    (MILLI, &["ms", "millisecond", "milliseconds"]),
];

/// Units without a fixed length.
const CALENDAR_UNITS: [&str; 7] = ["mo", "month", "months", "y", "yr", "year", "years"];

/// Maximum number of decimals. A second with nine decimals is exact to the nanosecond.
const MAX_DECIMALS: usize = 9;

/// Maximum length of the invalid part that an error quotes, in characters.
const MAX_DISPLAY_CHARS: usize = 40;

/// Parses a duration: one number and one unit, with or without a space between them.
///
/// The units are `ms`, `s`, `m`, `h`, `d` and `w`, and their longer names (`sec`, `minutes`, `Day`,
/// …) in upper or lower case. A number without a unit is in seconds. A number may have up to nine
/// decimals (`"1.5h"`). Fractions of a nanosecond are cut off, and spaces around the text are ignored.
/// Zero is a valid duration, but a setting may reject it.
///
/// # Errors
/// If the text is not a duration. The [`ParseDurationError`] names the problem and the remedy.
///
/// ```
/// use std::time::Duration;
/// use hyper_session::duration::parse;
///
/// assert_eq!(parse("2h"), Ok(Duration::from_secs(7200)));
/// assert_eq!(parse("30 minutes"), Ok(Duration::from_secs(1800)));
/// assert_eq!(parse("90"), Ok(Duration::from_secs(90)));
/// let error = parse("1 month").unwrap_err();
/// assert!(error.to_string().contains("no fixed length"));
/// ```
pub fn parse(text: &str) -> Result<Duration, ParseDurationError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(ParseDurationError::Empty);
    }
    if text.starts_with('-') {
        return Err(ParseDurationError::Negative(truncate_for_display(text)));
    }
    let end = text.find(|c: char| c != '.' && !c.is_ascii_digit());
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let (digits, decimals) = parse_decimal(number)
        .ok_or_else(|| ParseDurationError::Malformed(truncate_for_display(text)))?;
    let unit = unit_length(unit.trim_start())?;
    let amount: Option<u128> = digits.parse().ok();
    amount
        .and_then(|amount| amount.checked_mul(unit))
        .and_then(|nanos| from_nanos(nanos / 10_u128.pow(decimals)))
        .ok_or_else(|| ParseDurationError::TooLong(truncate_for_display(text)))
}

/// Returns the digits of a number without its point, and the number of decimals.
fn parse_decimal(number: &str) -> Option<(String, u32)> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let numeric = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !numeric(whole) || !numeric(decimals) || decimals.len() > MAX_DECIMALS {
        return None;
    }
    let count = u32::try_from(decimals.len()).ok()?;
    Some((format!("{whole}{decimals}"), count))
}

/// Returns the length in nanoseconds of the unit with this name.
fn unit_length(name: &str) -> Result<u128, ParseDurationError> {
    if name.is_empty() {
        return Ok(SECOND);
    }
    let has_name = |unit: &&str| unit.eq_ignore_ascii_case(name);
    if CALENDAR_UNITS.iter().any(has_name) {
        return Err(ParseDurationError::NoFixedLength(truncate_for_display(
            name,
        )));
    }
    let unit = UNITS.iter().find(|(_, names)| names.iter().any(has_name));
    unit.map(|(length, _)| *length)
        .ok_or_else(|| ParseDurationError::UnknownUnit(truncate_for_display(name)))
}

fn from_nanos(nanos: u128) -> Option<Duration> {
    let seconds = u64::try_from(nanos / SECOND).ok()?;
    let rest = u32::try_from(nanos % SECOND).ok()?;
    Some(Duration::new(seconds, rest))
}

fn truncate_for_display(text: &str) -> String {
    text.chars().take(MAX_DISPLAY_CHARS).collect()
}

/// The error of parsing a duration.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseDurationError {
    /// The text is empty.
    #[error("duration is empty; write a number and a unit, for example \"2h\"")]
    Empty,
    /// The duration is negative.
    #[error("duration `{0}` is negative; use zero or more")]
    Negative(String),
    /// The text does not begin with a plain decimal number.
    #[error(
        "`{0}` is not a duration; write one number, with at most {MAX_DECIMALS} decimals, and one \
         unit, for example \"2h\", \"30 minutes\" or \"1.5 days\""
    )]
    Malformed(String),
    /// The text after the number is not a unit.
    #[error("`{0}` is not a unit of time; use ms, s, m (minutes), h, d or w")]
    UnknownUnit(String),
    /// The unit is a month or a year.
    #[error("`{0}` has no fixed length; use ms, s, m (minutes), h, d or w")]
    NoFixedLength(String),
    /// The duration is too long to represent.
    #[error("duration `{0}` is too long, limit is {max} seconds; use a shorter one", max = u64::MAX)]
    TooLong(String),
}

impl fmt::Debug for ParseDurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `main` prints the `Debug` text of an error that it returns.
        fmt::Display::fmt(self, f)
    }
}

/// A duration in a configuration file or an environment variable: a number of seconds, or
/// a string such as `"2h"`.
///
/// Text is parsed by [`parse`]. `Display` and `Serialize` write the shortest text that parses as the
/// same duration, for example `"2h"` or `"90s"`; `"0.25s"` becomes `"250ms"`.
///
/// ```
/// use hyper_session::duration::DurationSetting;
///
/// let setting: DurationSetting = serde_json::from_str("5400").unwrap();
/// assert_eq!(setting, "1.5h".parse().unwrap());
/// assert_eq!(setting.to_string(), "90m");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DurationSetting(Duration);

impl DurationSetting {
    /// Creates a setting from a duration.
    pub const fn new(duration: Duration) -> Self {
        Self(duration)
    }

    /// Returns the duration.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl From<Duration> for DurationSetting {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl From<DurationSetting> for Duration {
    fn from(setting: DurationSetting) -> Self {
        setting.0
    }
}

impl FromStr for DurationSetting {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, ParseDurationError> {
        parse(text).map(Self)
    }
}

impl fmt::Display for DurationSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let divides = |(length, _): &&(u128, &[&str])| nanos > 0 && nanos.is_multiple_of(*length);
        match UNITS.iter().find(divides) {
            Some((length, [name, ..])) => write!(f, "{}{name}", nanos / length),
            _ if nanos == 0 => f.write_str("0s"),
            _ => {
                let decimals = format!("{:09}", self.0.subsec_nanos());
                let decimals = decimals.trim_end_matches('0');
                write!(f, "{}.{decimals}s", self.0.as_secs())
            }
        }
    }
}

impl Serialize for DurationSetting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DurationSetting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DurationSettingVisitor)
    }
}

struct DurationSettingVisitor;

impl de::Visitor<'_> for DurationSettingVisitor {
    type Value = DurationSetting;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds, or a string like \"2h\" or \"30 minutes\"")
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<DurationSetting, E> {
        Ok(DurationSetting(Duration::from_secs(seconds)))
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<DurationSetting, E> {
        u64::try_from(seconds)
            .map(Duration::from_secs)
            .map(DurationSetting)
            .map_err(|_| E::custom(ParseDurationError::Negative(seconds.to_string())))
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<DurationSetting, E> {
        from_float(seconds).map(DurationSetting).map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<DurationSetting, E> {
        text.parse().map_err(E::custom)
    }
}

fn from_float(seconds: f64) -> Result<Duration, ParseDurationError> {
    let text = truncate_for_display(&seconds.to_string());
    if seconds.is_nan() {
        return Err(ParseDurationError::Malformed(text));
    }
    if seconds < 0.0 {
        return Err(ParseDurationError::Negative(text));
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| ParseDurationError::TooLong(text))
}
