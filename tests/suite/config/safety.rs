//! Secure defaults, and the assurance levels of NIST SP 800-63B.

use std::{net::IpAddr, time::Duration};

use hyper_session::{
    SessionConfig, Sessions,
    config::{AssuranceLevel, Secret, StoreRegistry},
    store::MemoryStore,
};

use crate::support::{Browser, KEY, TestServer, config, test_server};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

async fn cookie(config: SessionConfig) -> String {
    let sessions = Sessions::new(config.app_key(KEY), MemoryStore::new()).unwrap();
    let visit = Browser::new(&sessions).pass().await;
    visit.cookie().to_owned()
}

#[tokio::test]
async fn a_cookie_is_safe_by_default() {
    let cookie = cookie(SessionConfig::default()).await;
    for attribute in ["; HttpOnly", "; Secure", "; SameSite=Lax", "; Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
}

#[tokio::test]
async fn the_default_name_of_the_cookie_names_no_product() {
    let cookie = cookie(SessionConfig::default()).await;
    assert!(cookie.starts_with("session="), "{cookie}");
}

#[tokio::test]
async fn one_call_gives_the_host_prefix_and_what_it_asks_for() {
    let mut config = SessionConfig::default().cookie_name("sid").secure(false);
    config.cookie.path = "/app".into();
    config.cookie.domain = Some("example.com".into());
    let cookie = cookie(config.host_cookie()).await;
    assert!(cookie.starts_with("__Host-sid="), "{cookie}");
    assert!(
        cookie.contains("; Secure") && cookie.contains("; Path=/;"),
        "{cookie}"
    );
    assert!(!cookie.contains("Domain"), "{cookie}");
}

#[tokio::test]
async fn plain_http_on_this_machine_alone_needs_no_secure_cookie() {
    for (address, secure) in [
        ("127.0.0.1", false),
        ("127.8.8.8", false),
        ("::1", false),
        ("::ffff:127.0.0.1", false),
        ("0.0.0.0", true),
        ("::", true),
        ("10.0.0.1", true),
        ("203.0.113.9", true),
    ] {
        let address: IpAddr = address.parse().unwrap();
        let cookie = cookie(SessionConfig::default().secure_unless_loopback(address)).await;
        assert_eq!(cookie.contains("; Secure"), secure, "{address}: {cookie}");
    }
}

/// Returns `true` if a session survives this many breaks of the length `away`.
async fn survives(config: SessionConfig, away: Duration, times: u32) -> bool {
    let TestServer {
        sessions, clock, ..
    } = test_server(config);
    let mut browser = Browser::new(&sessions);
    browser
        .visit(async |session| session.put("user", 1).unwrap())
        .await;
    for _ in 0..times {
        clock.advance(away);
        if !browser
            .visit(async |session| session.has("user").unwrap())
            .await
        {
            return false;
        }
    }
    true
}

/// The touch interval is a sixtieth of `age`, at most a minute.
#[tokio::test]
async fn visits_keep_a_session_of_any_age() {
    for age in [MINUTE, MINUTE * 10, HOUR, HOUR * 8] {
        let away = age - Duration::from_secs(1);
        assert!(survives(config().age(age), away, 3).await, "{age:?}");
        let end = age + (age / 60).min(MINUTE);
        assert!(!survives(config().age(age), end, 1).await, "{age:?}");
    }
}

#[test]
fn secrets_are_equal_if_their_texts_are() {
    for (other, is_equal) in [
        (KEY.to_owned(), true),
        (KEY.replace('a', "b"), false),
        (KEY[1..].to_owned(), false),
        (String::new(), false),
    ] {
        assert_eq!(
            Secret::new(KEY) == Secret::new(&*other),
            is_equal,
            "{other}"
        );
    }
}

#[tokio::test]
async fn assurance_levels_end_sessions_that_are_left_alone() {
    for (level, idle) in [
        (AssuranceLevel::Aal2, HOUR),
        (AssuranceLevel::Aal3, MINUTE * 15),
    ] {
        let level = config().age(HOUR * 8).assurance(level);
        // The store keeps a session for a touch interval longer, which is a sixtieth.
        let longest = idle - idle / 60 - Duration::from_secs(1);
        assert!(survives(level.clone(), longest, 2).await);
        // A visit counts if it is longer than a touch interval after another one.
        let server = test_server(level.clone());
        let mut browser = server.browser();
        browser.visit(async |s| s.put("user", 1).unwrap()).await;
        for away in [idle / 60 + Duration::from_secs(2), longest] {
            server.advance(away);
            assert!(browser.visit(async |s| s.has("user").unwrap()).await);
        }
        assert!(!survives(level, idle, 1).await);
    }
    assert!(
        survives(
            config().age(HOUR * 8).assurance(AssuranceLevel::Aal1),
            HOUR * 7,
            1
        )
        .await
    );
}

#[tokio::test]
async fn assurance_levels_end_sessions_however_busy() {
    for (level, hours, every) in [
        (AssuranceLevel::Aal1, 30 * 24, HOUR * 24),
        (AssuranceLevel::Aal2, 24, MINUTE * 30),
        (AssuranceLevel::Aal3, 12, MINUTE * 10),
    ] {
        let times = u32::try_from((HOUR * hours).as_secs() / every.as_secs()).unwrap();
        let level = config().age(HOUR * 24 * 2).assurance(level);
        assert!(survives(level.clone(), every, times - 1).await, "{hours} h");
        assert!(!survives(level, every, times).await, "{hours} h");
    }
}

#[tokio::test]
async fn an_assurance_level_shortens_and_never_lengthens() {
    let short = config().age(MINUTE).absolute_timeout(MINUTE * 2);
    let short = short.assurance(AssuranceLevel::Aal2);
    assert!(!survives(short.clone(), MINUTE * 2, 1).await);
    assert!(!survives(short, MINUTE / 2, 4).await);
}

#[test]
fn an_assurance_level_is_named_in_a_file() {
    for (name, level) in [
        ("aal1", AssuranceLevel::Aal1),
        ("aal2", AssuranceLevel::Aal2),
        ("aal3", AssuranceLevel::Aal3),
    ] {
        let config: SessionConfig = toml::from_str(&format!("assurance = '{name}'")).unwrap();
        assert_eq!(config.assurance, Some(level));
    }
    let error = toml::from_str::<SessionConfig>("assurance = 'aal4'").unwrap_err();
    assert!(error.to_string().contains("aal4"), "{error}");
}

#[test]
fn a_key_from_the_documentation_is_for_programs_and_not_for_operators() {
    let built = |config| {
        Sessions::builder(config)
            .stores(StoreRegistry::new())
            .build()
    };
    assert!(built(SessionConfig::default().app_key(KEY)).is_ok());
    let file = |key: &str| -> SessionConfig { toml::from_str(key).unwrap() };
    let given = file(&format!("app_key = '{KEY}'"));
    let error = built(given).unwrap_err();
    assert_eq!(error.setting(), "app_key");
    assert!(error.to_string().contains("session-key"), "{error}");
    let older = file(&format!(
        "app_key = 'a secret that no documentation holds'\napp_key_previous = ['{KEY}']"
    ));
    assert_eq!(built(older).unwrap_err().setting(), "app_key_previous");
}

#[test]
fn a_key_from_the_documentation_is_known_in_any_spelling() {
    let digits: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
    for spelling in [
        "base64:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "base64:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        &digits,
        &digits.to_uppercase(),
    ] {
        let given: SessionConfig = toml::from_str(&format!("app_key = '{spelling}'")).unwrap();
        let error = Sessions::builder(given).build().unwrap_err();
        assert!(error.to_string().contains("documentation"), "{error}");
    }
}
