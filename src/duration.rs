//! Lengths of time as an operator writes them: `"2h"`, `"30 minutes"`, `90`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

const MILLI: u128 = 1_000_000;
const SECOND: u128 = 1_000 * MILLI;
const MINUTE: u128 = 60 * SECOND;
const HOUR: u128 = 60 * MINUTE;
const DAY: u128 = 24 * HOUR;
const WEEK: u128 = 7 * DAY;

/// Every unit's length in nanoseconds and its names, the longest unit first. The first name is the
/// one that is written.
const UNITS: [(u128, &[&str]); 6] = [
    (WEEK, &["w", "week", "weeks"]),
    (DAY, &["d", "day", "days"]),
    (HOUR, &["h", "hr", "hrs", "hour", "hours"]),
    (MINUTE, &["m", "min", "mins", "minute", "minutes"]),
    (SECOND, &["s", "sec", "secs", "second", "seconds"]),
    (MILLI, &["ms", "millisecond", "milliseconds"]),
];

/// Units that have no fixed length.
const CALENDAR: [&str; 7] = ["mo", "month", "months", "y", "yr", "year", "years"];

/// Decimals beyond the ninth would be less than a nanosecond of a second.
const MAX_DECIMALS: usize = 9;

/// Most characters of a wrong text that an error repeats.
const SHOWN: usize = 40;

/// Reads a length of time: one number and one unit, with or without a space between them.
///
/// The units are `ms`, `s`, `m`, `h`, `d` and `w`, and their longer names (`sec`, `minutes`, `Day`,
/// …) in upper or lower case. A number alone is seconds. A number may have up to nine decimals
/// (`"1.5h"`); what is finer than a nanosecond is cut off. Spaces around the text do not matter.
/// Zero is a length too: whether it makes sense is for the setting to say.
///
/// # Errors
/// [`ParseDurationError`], which says what is wrong and what would be right.
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
        return Err(ParseDurationError::Negative(shown(text)));
    }
    let end = text.find(|c: char| c != '.' && !c.is_ascii_digit());
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let (digits, decimals) =
        decimal(number).ok_or_else(|| ParseDurationError::Malformed(shown(text)))?;
    let unit = unit_length(unit.trim_start())?;
    let amount: Option<u128> = digits.parse().ok();
    amount
        .and_then(|amount| amount.checked_mul(unit))
        .and_then(|nanos| from_nanos(nanos / 10_u128.pow(decimals)))
        .ok_or_else(|| ParseDurationError::TooLong(shown(text)))
}

/// The digits of a number without its point, and how many of them stand behind it.
fn decimal(number: &str) -> Option<(String, u32)> {
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let numeric = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !numeric(whole) || !numeric(decimals) || decimals.len() > MAX_DECIMALS {
        return None;
    }
    let count = u32::try_from(decimals.len()).ok()?;
    Some((format!("{whole}{decimals}"), count))
}

/// The length in nanoseconds of the unit of this name.
fn unit_length(name: &str) -> Result<u128, ParseDurationError> {
    if name.is_empty() {
        return Ok(SECOND);
    }
    let is = |known: &&str| known.eq_ignore_ascii_case(name);
    if CALENDAR.iter().any(is) {
        return Err(ParseDurationError::NoFixedLength(shown(name)));
    }
    let unit = UNITS.iter().find(|(_, names)| names.iter().any(is));
    unit.map(|(length, _)| *length)
        .ok_or_else(|| ParseDurationError::UnknownUnit(shown(name)))
}

fn from_nanos(nanos: u128) -> Option<Duration> {
    let seconds = u64::try_from(nanos / SECOND).ok()?;
    let rest = u32::try_from(nanos % SECOND).ok()?;
    Some(Duration::new(seconds, rest))
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

/// Why a text or a number is no length of time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseDurationError {
    /// There was no text.
    #[error("a length of time is missing: write a number and a unit, such as \"2h\"")]
    Empty,
    /// It is below zero.
    #[error("`{0}` is negative: a length of time is zero or more")]
    Negative(String),
    /// It does not begin with a number, or that number is not one in plain decimals.
    #[error(
        "`{0}` is no length of time: write one number, with at most {MAX_DECIMALS} decimals, and \
         one unit, such as \"2h\", \"30 minutes\" or \"1.5 days\""
    )]
    Malformed(String),
    /// The number is followed by something that is no unit.
    #[error("`{0}` is no unit of time: the units are ms, s, m (minutes), h, d and w")]
    UnknownUnit(String),
    /// The unit is one of the calendar's.
    #[error(
        "`{0}` has no fixed length, since months and years differ among themselves: use days or \
         weeks; the units are ms, s, m (minutes), h, d and w"
    )]
    NoFixedLength(String),
    /// It is longer than can be told.
    #[error("`{0}` is too long: at most {max} seconds can be told", max = u64::MAX)]
    TooLong(String),
}

/// A length of time that configuration may write as a number of seconds or as a text.
///
/// It is read by [`parse`] from text, in a configuration file too, and from numbers, which are
/// seconds. It is written as the shortest text that is read back as the same length: `"2h"`,
/// `"90s"`, `"0.25s"` becomes `"250ms"`.
///
/// ```
/// use hyper_session::duration::Age;
///
/// let age: Age = serde_json::from_str("5400").unwrap();
/// assert_eq!(age, "1.5h".parse().unwrap());
/// assert_eq!(age.to_string(), "90m");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DurationSetting(Duration);

impl DurationSetting {
    /// The age of this length.
    pub const fn new(length: Duration) -> Self {
        Self(length)
    }

    /// Its length.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl From<Duration> for DurationSetting {
    fn from(length: Duration) -> Self {
        Self(length)
    }
}

impl From<DurationSetting> for Duration {
    fn from(age: DurationSetting) -> Self {
        age.0
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
        let whole = |(length, _): &&(u128, &[&str])| nanos > 0 && nanos.is_multiple_of(*length);
        match UNITS.iter().find(whole) {
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
        f.write_str("a number of seconds, or a text such as \"2h\" or \"30 minutes\"")
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<DurationSetting, E> {
        Ok(DurationSetting(Duration::from_secs(seconds)))
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<DurationSetting, E> {
        let length = u64::try_from(seconds).map(Duration::from_secs);
        length
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
    let text = shown(&seconds.to_string());
    if seconds.is_nan() {
        return Err(ParseDurationError::Malformed(text));
    }
    if seconds < 0.0 {
        return Err(ParseDurationError::Negative(text));
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| ParseDurationError::TooLong(text))
}
