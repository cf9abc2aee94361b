//! The limits of a session's own timeout, and the times of a session.

use std::time::Duration;

use hyper_session::{
    Session, SessionConfig, SessionError, config::AssuranceLevel, session::MaxAgeError,
};

use crate::support::{config, test_server};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Returns the error of a timeout.
async fn refusal(config: SessionConfig, max_age: Duration) -> MaxAgeError {
    let refused = test_server(config)
        .browser()
        .visit(async |s| s.set_max_age(max_age))
        .await;
    let error = refused.unwrap_err();
    assert_eq!(error.status(), 500);
    match error {
        SessionError::MaxAge(error) => error,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn timeouts_outside_the_limits_are_refused_with_the_remedy() {
    let short = "session max age 1m is too short; choose more than `touch_interval`, which is 1m";
    let capped = config().max_age_limit(DAY);
    let assured = config().assurance(AssuranceLevel::Aal2);
    let cases = [
        (
            config(),
            Duration::ZERO,
            "session max age is zero; call `destroy` to end the session",
        ),
        (config(), MINUTE, short),
        (
            config().absolute_timeout(DAY),
            DAY + SECOND,
            "session max age 86401s is too long; choose at most 1d, or raise `absolute_timeout`",
        ),
        (
            config(),
            401 * DAY,
            "session max age 401d is too long; choose at most 400d, or raise `max_age_limit`",
        ),
        (
            capped,
            2 * DAY,
            "session max age 2d is too long; choose at most 1d, or raise `max_age_limit`",
        ),
        (
            assured,
            HOUR,
            "session max age 1h is too long; choose at most 59m, or raise `max_age_limit`",
        ),
    ];
    for (config, max_age, expected) in cases {
        assert_eq!(refusal(config, max_age).await.to_string(), expected);
    }
}

#[tokio::test]
async fn the_limits_themselves_are_accepted() {
    for (config, max_age) in [
        (config(), MINUTE + SECOND),
        (config(), 400 * DAY),
        (config().absolute_timeout(DAY), DAY),
        (config().max_age_limit(500 * DAY), 500 * DAY),
        (config().age(500 * DAY), 500 * DAY),
        (
            config().touch_interval(Duration::ZERO),
            Duration::from_millis(1),
        ),
    ] {
        let accepted = test_server(config)
            .browser()
            .visit(async |s| s.set_max_age(max_age))
            .await;
        assert!(accepted.is_ok(), "{max_age:?}: {accepted:?}");
    }
}

#[tokio::test]
async fn the_times_of_a_session() {
    let server = test_server(config());
    let start = server.clock.now().as_millis();
    let mut browser = server.browser();
    let times = async |s: &Session| {
        let times = [s.created_at(), s.last_seen(), s.expires_at()];
        times.map(|time| time.unwrap().as_millis() - start)
    };
    let hours = |hours: u64| hours * 3_600_000;
    let first = async |s: &Session| {
        s.put("n", 1).unwrap();
        times(s).await
    };
    assert_eq!(browser.visit(first).await, [0, 0, hours(2)]);
    // The next renewal is due after the touch interval.
    server.advance(30 * SECOND);
    assert_eq!(browser.visit(times).await, [0, 0, hours(2)]);
    server.advance(HOUR - 30 * SECOND);
    assert_eq!(browser.visit(times).await, [0, hours(1), hours(3)]);
    // A request that does not load the session renews it too.
    server.advance(HOUR);
    browser.pass().await;
    server.advance(30 * SECOND);
    let parallel = browser.clone();
    assert_eq!(browser.visit(times).await, [0, hours(2), hours(4)]);
    browser
        .visit(async |s| {
            s.set_max_age(3 * HOUR).unwrap();
            assert_eq!(times(s).await, [0, hours(2), hours(5) + 30_000]);
        })
        .await;
    // Another request has renewed the session after this cookie was sealed.
    server.advance(HOUR);
    browser.pass().await;
    server.advance(SECOND);
    let seen = hours(3) + 30_000;
    assert_eq!(
        parallel.clone().visit(times).await,
        [0, seen, hours(6) + 30_000]
    );
}

#[tokio::test]
async fn the_times_need_a_loaded_session() {
    let server = test_server(config());
    server
        .browser()
        .request(async |s| {
            for time in [s.created_at(), s.last_seen(), s.expires_at()] {
                assert!(matches!(time, Err(SessionError::NotLoaded)));
            }
            for change in [
                s.set_max_age(DAY),
                s.set_browser_session(),
                s.reset_max_age(),
            ] {
                assert!(matches!(change, Err(SessionError::NotLoaded)));
            }
            let s = s.load_read_only().await.unwrap();
            assert!(s.created_at().is_ok());
            assert!(matches!(s.set_max_age(DAY), Err(SessionError::ReadOnly(_))));
        })
        .await;
    let disabled = test_server(config().enabled(false));
    let now = disabled.clock.now();
    let created = disabled.browser().visit(async |s| s.created_at()).await;
    assert_eq!(created.unwrap(), now);
}
