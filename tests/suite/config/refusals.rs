//! Building sessions refuses wrong settings by name, and never shows a secret.

use std::{error::Error, time::Duration};

use hyper_session::{
    SessionConfig, Sessions,
    config::{ConfigError, Secret, StoreRegistry},
    cookie::{Attributes, CookieScope, SameSite},
    id::StoreKey,
    session::{CookiePolicy, OnStoreFailure},
    store::{
        Capabilities, MemoryStore, ReadOutcome, Store, StoreError, StoreFuture, WriteOutcome,
        WriteRequest,
    },
};

use crate::support::{KEY, config};

fn refusal(config: SessionConfig) -> ConfigError {
    Sessions::new(config, MemoryStore::new()).unwrap_err()
}

fn cookie(change: impl FnOnce(&mut Attributes)) -> SessionConfig {
    let mut attributes = Attributes::default();
    change(&mut attributes);
    config().cookie(attributes)
}

#[test]
fn every_wrong_value_is_refused_by_the_name_of_its_setting() {
    let (zero, week) = (Duration::ZERO, Duration::from_secs(7 * 86_400));
    let mut fence = config();
    fence.fence_ttl = week.into();
    let cases = [
        ("age", config().age(zero)),
        ("age", config().age(Duration::from_millis(999))),
        ("age", config().age(Duration::MAX)),
        ("absolute_timeout", config().absolute_timeout(zero)),
        (
            "touch_interval",
            config().touch_interval(Duration::from_secs(7_200)),
        ),
        ("fence_ttl", fence),
        ("commit_timeout", config().commit_timeout(Duration::ZERO)),
        (
            "commit_timeout",
            config().commit_timeout(Duration::from_secs(3601)),
        ),
        ("cookie_name", config().cookie_name("")),
        ("cookie_name", config().cookie_name("a b")),
        ("cookie_name", config().cookie_name("a=b")),
        ("cookie_name", config().cookie_name("a;b")),
        ("cookie_name", config().cookie_name("é")),
        ("cookie", cookie(|it| it.path = "no-slash".into())),
        ("cookie", cookie(|it| it.path = "/; Domain=evil".into())),
        ("cookie", cookie(|it| it.domain = Some("a; b".into()))),
        ("cookie", cookie(|it| it.domain = Some(String::new()))),
        (
            "cookie",
            cookie(|it| it.former_scopes.push(CookieScope::default())),
        ),
        (
            "cookie",
            cookie(|it| it.former_scopes.push(CookieScope::new(None, "app"))),
        ),
        // Browsers compare domains without case.
        (
            "cookie",
            cookie(|it| {
                it.domain = Some("example.org".into());
                it.former_scopes
                    .push(CookieScope::new(Some("Example.ORG"), "/"));
            }),
        ),
        ("cookie", config().same_site(SameSite::None)),
        ("cookie_name", config().cookie_name("__Secure-sid")),
        ("cookie_name", config().cookie_name("__Host-sid")),
        ("app_key", SessionConfig::default()),
        ("app_key", SessionConfig::default().app_key("short")),
        ("app_key", SessionConfig::default().app_key("a".repeat(40))),
        (
            "app_key",
            SessionConfig::default().app_key("base64:nothing"),
        ),
        ("app_key_previous", config().previous_key("short")),
        ("app_key_previous", config().previous_key(KEY)),
    ];
    for (setting, settings) in cases {
        let shown = format!("{settings:?}");
        let error = refusal(settings);
        assert_eq!(error.setting(), setting, "{shown}");
        let text = error.to_string();
        assert!(text.contains(&format!("`{setting}`")), "{text}");
        assert!(
            text.len() > setting.len() + 30,
            "it has a problem and a remedy: {text}"
        );
    }
}

#[test]
fn a_limit_of_timeouts_is_longer_than_the_touch_interval() {
    let minute = Duration::from_secs(60);
    let error = refusal(config().max_age_limit(minute));
    assert_eq!(error.setting(), "max_age_limit");
    let text = error.to_string();
    let expected = "1m is too short; choose more than `touch_interval`, which is 1m";
    assert!(text.contains(expected), "{text}");
    for accepted in [
        config().max_age_limit(minute + Duration::from_millis(1)),
        config()
            .max_age_limit(minute)
            .touch_interval(Duration::from_secs(59)),
    ] {
        Sessions::new(accepted, MemoryStore::new()).unwrap();
    }
}

#[test]
fn partitioned_cookies_must_be_secure() {
    let error = refusal(cookie(|it| {
        it.secure = false;
        it.partitioned = true;
    }));
    let text = error.to_string();
    assert!(text.contains("Partitioned") && text.contains("`cookie.secure`"));
}

#[test]
fn a_name_and_an_attribute_that_do_not_go_together_are_both_named() {
    for (name, field, change) in [
        (
            "__Host-x",
            "secure",
            (|it| it.secure = false) as fn(&mut Attributes),
        ),
        ("__secure-x", "secure", |it| it.secure = false),
        ("__Http-x", "http_only", |it| it.http_only = false),
        ("__host-x", "path", |it| it.path = "/app".into()),
        ("__Host-x", "domain", |it| it.domain = Some("a.org".into())),
    ] {
        let error = refusal(cookie(change).cookie_name(name));
        assert_eq!(error.setting(), "cookie_name");
        let text = error.to_string();
        let field = format!("`cookie.{field}`");
        for word in ["`cookie_name`", "`SESSION_COOKIE`", name, &field] {
            assert!(text.contains(word), "{word}: {text}");
        }
    }
}

/// A store whose operations fail after three seconds.
struct LimitedStore(MemoryStore);

impl Store for LimitedStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        self.0.read(key, touch)
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        self.0.write(request)
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        self.0.destroy(key)
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        self.0.touch(key, ttl)
    }

    fn capabilities(&self) -> Capabilities {
        self.0
            .capabilities()
            .operation_timeout(Some(Duration::from_secs(3)))
    }
}

#[test]
fn a_commit_must_have_more_time_than_an_operation_of_its_store() {
    let build = |settings: SessionConfig, millis| {
        let stores = StoreRegistry::new()
            .register("limited", LimitedStore(MemoryStore::new()))
            .register("other", MemoryStore::new());
        let settings = settings.commit_timeout(Duration::from_millis(millis));
        Sessions::builder(settings).stores(stores).build()
    };
    for settings in [
        config().store("limited"),
        config().store("limited").migrate_from("other"),
        config().store("other").migrate_from("limited"),
        config().store("cookie").migrate_to("limited"),
        config().store("limited").migrate_from("cookie"),
    ] {
        build(settings.clone(), 3_001).unwrap();
        let error = build(settings, 3_000).unwrap_err();
        assert_eq!(error.setting(), "commit_timeout");
        assert_eq!(
            error.to_string(),
            "session setting `commit_timeout`: 3s is too short; choose more than the operation timeout of \
             the store, which is 3s"
        );
    }
}

#[test]
fn an_unknown_store_lists_the_known_ones() {
    let stores = StoreRegistry::new()
        .register("one", MemoryStore::new())
        .register("two", MemoryStore::new());
    let built = Sessions::builder(config().store("redsi"))
        .stores(stores)
        .build();
    let error = built.unwrap_err();
    assert_eq!(error.setting(), "store");
    for known in [
        "redsi",
        "SESSION_DRIVER",
        "file",
        "memory",
        "redis",
        "one",
        "two",
    ] {
        assert!(error.to_string().contains(known), "{error}");
    }
}

#[test]
fn only_the_chosen_store_is_opened_and_its_failure_is_reported() {
    let broken = || Err::<MemoryStore, _>(StoreError::new("disk", "open", "it is full"));
    let stores = || StoreRegistry::new().register_with("disk", broken);
    assert!(Sessions::builder(config()).stores(stores()).build().is_ok());
    let chosen = Sessions::builder(config().store("disk"))
        .stores(stores())
        .build();
    let error = chosen.unwrap_err();
    assert_eq!(error.setting(), "store");
    assert!(!error.to_string().contains("it is full"), "{error}");
    assert_eq!(error.source().unwrap().to_string(), "it is full");
    assert!(format!("{error:?}").contains("open failed: it is full"));
}

#[test]
fn no_secret_is_in_debug_or_in_an_error() {
    let (key, previous) = (
        "k3y-that-is-never-shown-0123456789",
        "0lder-that-is-never-shown-98765432",
    );
    let settings = config().app_key(key).previous_key(previous);
    let built = Sessions::new(settings.clone(), MemoryStore::new()).unwrap();
    let wrong = [
        refusal(settings.clone().previous_key(key)),
        refusal(config().app_key("base64:k3y-that-is")),
        refusal(config().app_key("k3y-that")),
    ];
    let shown = format!("{settings:?} {built:?} {wrong:?} {:?}", Secret::new(key));
    let texts: String = wrong.iter().map(ToString::to_string).collect();
    for secret in ["k3y", "0lder"] {
        assert!(
            !shown.contains(secret) && !texts.contains(secret),
            "{shown} {texts}"
        );
    }
}

#[test]
fn debug_of_the_error_names_the_variable_too() {
    let shown = format!("{:?}", refusal(SessionConfig::default()));
    assert!(shown.contains("`APP_KEY`"), "{shown}");
}

#[test]
fn a_configuration_is_read_from_toml() {
    let config: SessionConfig = toml::from_str(
        r#"
        enabled = true
        cookie_name = "__Host-sid"
        clear_with_browser = true
        age = "30 minutes"
        absolute_timeout = 86400
        touch_interval = "10s"
        store = "memory"
        cookie_policy = "when_used"
        on_store_failure = "read_only"
        commit_timeout = "7s"
        on_conflict = "drop_write"
        fence_ttl = "2m"
        app_key = "a secret that no documentation holds"
        app_key_previous = ["an older one that no documentation holds"]
        [cookie]
        same_site = "strict"
        partitioned = true
        [limits]
        operations = 10
        "#,
    )
    .unwrap();
    assert_eq!(config.age.to_string(), "30m");
    assert_eq!(config.absolute_timeout.unwrap().to_string(), "1d");
    assert_eq!(config.cookie_policy, CookiePolicy::WhenUsed);
    assert_eq!(config.on_store_failure, OnStoreFailure::ReadOnly);
    assert_eq!(config.cookie.same_site, Some(SameSite::Strict));
    assert!(config.cookie.secure && config.cookie.partitioned);
    assert_eq!(config.limits.operations, 10);
    assert!(Sessions::builder(config).build().is_ok());
}

#[test]
fn a_misspelt_setting_or_a_wrong_unit_in_toml_is_an_error_that_says_so() {
    for (text, word) in [
        ("cookiename = 'a'", "cookiename"),
        ("[cookie]\nsamesite = 'lax'", "samesite"),
        ("[limits]\nops = 1", "ops"),
        ("age = '1 month'", "month"),
        ("age = -1", "negative"),
        ("cookie_policy = 'quiet'", "quiet"),
    ] {
        let error = toml::from_str::<SessionConfig>(text)
            .unwrap_err()
            .to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn same_site_is_read_in_any_case_and_written_in_lower_case() {
    for (text, value) in [
        ("None", SameSite::None),
        ("LAX", SameSite::Lax),
        ("strict", SameSite::Strict),
        ("sTrict", SameSite::Strict),
    ] {
        let config: SessionConfig =
            toml::from_str(&format!("[cookie]\nsame_site = '{text}'")).unwrap();
        assert_eq!(config.cookie.same_site, Some(value));
        let written = toml::to_string(&config.cookie).unwrap();
        let line = format!("same_site = \"{}\"", text.to_lowercase());
        assert!(written.contains(&line), "{written}");
    }
    let unknown = toml::from_str::<SessionConfig>("[cookie]\nsame_site = 'loose'");
    let error = unknown.unwrap_err().to_string();
    assert!(error.contains("`strict`, `lax` or `none`"), "{error}");
}

#[test]
fn the_defaults_are_those_of_the_guide() {
    let config = SessionConfig::default();
    assert!(config.enabled && !config.clear_with_browser);
    assert_eq!(config.age.to_string(), "2h");
    assert!(config.cookie.http_only && config.cookie.secure);
    assert_eq!(config.cookie.path, "/");
    assert_eq!(config.cookie.same_site, Some(SameSite::Lax));
    assert_eq!(config.cookie_policy, CookiePolicy::Rolling);
}
