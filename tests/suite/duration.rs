//! Durations as operators write them.

use std::time::Duration;

use hyper_session::duration::{DurationSetting, ParseDurationError, parse};
use proptest::prelude::*;

fn seconds(text: &str) -> u64 {
    let length = parse(text).expect(text);
    assert_eq!(length.subsec_nanos(), 0, "{text}");
    length.as_secs()
}

#[test]
fn a_number_and_a_unit_are_a_length_with_or_without_a_space() {
    for text in ["2h", "2 h", "2hr", "2 hrs", "2 hours", "2 Hours", " 2H "] {
        assert_eq!(seconds(text), 7200, "{text}");
    }
    assert_eq!(seconds("30 minutes"), 1800);
    assert_eq!(seconds("30m"), 1800);
    assert_eq!(seconds("1min"), 60);
    assert_eq!(seconds("45 sec"), 45);
    assert_eq!(seconds("1 second"), 1);
    assert_eq!(seconds("1 day"), 86_400);
    assert_eq!(seconds("2 weeks"), 1_209_600);
    assert_eq!(seconds("3000 milliseconds"), 3);
    assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
}

#[test]
fn a_number_alone_is_seconds() {
    assert_eq!(seconds("90"), 90);
    assert_eq!(seconds("7200"), 7200);
    assert_eq!(seconds("0"), 0);
}

#[test]
fn decimals_are_parts_of_the_unit() {
    assert_eq!(seconds("1.5h"), 5400);
    assert_eq!(seconds("0.5 days"), 43_200);
    assert_eq!(parse("0.000000001s"), Ok(Duration::from_nanos(1)));
    assert_eq!(parse("1.25"), Ok(Duration::from_millis(1250)));
}

#[test]
fn months_and_years_are_refused_with_the_units_there_are() {
    for text in ["1 month", "3mo", "2 Years", "1y"] {
        let error = parse(text).expect_err(text);
        assert!(
            matches!(error, ParseDurationError::NoFixedLength(_)),
            "{text}"
        );
        let message = error.to_string();
        assert!(message.contains("no fixed length"), "{message}");
        assert!(
            message.contains("ms, s, m (minutes), h, d or w"),
            "{message}"
        );
    }
}

#[test]
fn an_unknown_unit_is_named() {
    let unknown = |unit: &str| Err(ParseDurationError::UnknownUnit(unit.into()));
    assert_eq!(parse("2 fortnights"), unknown("fortnights"));
    assert_eq!(parse("1h 30m"), unknown("h 30m"));
    assert_eq!(parse("1e3"), unknown("e3"));
    assert_eq!(parse("1,5h"), unknown(",5h"));
}

#[test]
fn an_invalid_duration_is_refused_with_its_reason() {
    assert_eq!(parse(""), Err(ParseDurationError::Empty));
    assert_eq!(parse("  "), Err(ParseDurationError::Empty));
    assert_eq!(
        parse("-2h"),
        Err(ParseDurationError::Negative("-2h".into()))
    );
    assert_eq!(
        parse("-NaN"),
        Err(ParseDurationError::Negative("-NaN".into()))
    );
    for text in [
        "h",
        "NaN",
        "inf",
        "+2h",
        ".5h",
        "2.h",
        "1.2.3s",
        "two hours",
        "0.0000000001s",
    ] {
        assert_eq!(
            parse(text),
            Err(ParseDurationError::Malformed(text.into())),
            "{text}"
        );
    }
}

#[test]
fn more_than_a_duration_can_hold_is_refused() {
    let max = u64::MAX.to_string();
    assert_eq!(parse(&max), Ok(Duration::from_secs(u64::MAX)));
    for text in [
        format!("{max}0"),
        format!("{max}m"),
        "9".repeat(30) + "w",
        "9".repeat(9999),
    ] {
        assert!(
            matches!(parse(&text), Err(ParseDurationError::TooLong(_))),
            "{text}"
        );
    }
}

#[test]
fn an_error_repeats_only_the_beginning_of_a_long_text() {
    let error = parse(&"x".repeat(1_000_000)).expect_err("no number");
    assert!(error.to_string().len() < 300);
}

#[test]
fn an_age_is_written_in_the_largest_unit_that_it_fills() {
    for (millis, text) in [
        (0, "0s"),
        (250, "250ms"),
        (90_000, "90s"),
        (7_200_000, "2h"),
        (5_400_000, "90m"),
        (259_200_000, "3d"),
        (1_209_600_000, "2w"),
    ] {
        assert_eq!(
            DurationSetting::new(Duration::from_millis(millis)).to_string(),
            text
        );
    }
    assert_eq!(
        DurationSetting::new(Duration::from_nanos(1_000_000_001)).to_string(),
        "1.000000001s"
    );
}

#[test]
fn serde_reads_numbers_as_seconds_and_texts_by_their_units() {
    let read =
        |json: &str| serde_json::from_str::<DurationSetting>(json).map(DurationSetting::duration);
    assert_eq!(read("7200").unwrap(), Duration::from_secs(7200));
    assert_eq!(read("0.25").unwrap(), Duration::from_millis(250));
    assert_eq!(read("\"2h\"").unwrap(), Duration::from_secs(7200));
    for (json, reason) in [
        ("-5", "negative"),
        ("-0.5", "negative"),
        ("1e300", "too long"),
        ("\"1 month\"", "no fixed length"),
        ("true", "a number of seconds"),
        ("null", "a number of seconds"),
    ] {
        let message = read(json).expect_err(json).to_string();
        assert!(message.contains(reason), "{json}: {message}");
    }
}

#[test]
fn toml_reads_the_same_and_refuses_what_is_no_number() {
    #[derive(Debug, serde::Deserialize)]
    struct Settings {
        age: DurationSetting,
    }
    let read =
        |toml: &str| toml::from_str::<Settings>(toml).map(|settings| settings.age.duration());
    assert_eq!(read("age = \"2h\"").unwrap(), Duration::from_secs(7200));
    assert_eq!(read("age = 90").unwrap(), Duration::from_secs(90));
    for (toml, reason) in [
        ("age = nan", "not a duration"),
        ("age = inf", "too long"),
        ("age = -1", "negative"),
    ] {
        let message = read(toml).expect_err(toml).to_string();
        assert!(message.contains(reason), "{toml}: {message}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,40}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_number_and_unit_make_the_reader_panic(text in "-?[0-9.]{0,30} ?[a-zA-Z]{0,8}") {
        let _ = parse(&text);
    }

    #[test]
    fn a_written_duration_is_read_back(seconds: u64, nanos in 0_u32..1_000_000_000) {
        let age = DurationSetting::new(Duration::new(seconds, nanos));
        prop_assert_eq!(age.to_string().parse(), Ok(age));
        let json = serde_json::to_string(&age).unwrap();
        prop_assert_eq!(serde_json::from_str::<DurationSetting>(&json).unwrap(), age);
    }
}
