//! Choosing a store by name: in code, in a file, by environment variables.

use std::collections::BTreeMap;

use hyper_session::{
    SessionConfig, Sessions,
    config::{ConfigError, StoreRegistry},
    store::MemoryStore,
};
use serde::Deserialize;

use crate::support::{Browser, config};

fn refusal(toml: &str) -> ConfigError {
    let mut config: SessionConfig = toml::from_str(toml).unwrap();
    config = config.app_key(crate::support::KEY);
    Sessions::builder(config).build().unwrap_err()
}

/// The default configuration of the guide, with sections for `cookie`, `file` and `redis`.
#[tokio::test]
async fn the_configuration_of_the_guide_reads_as_written_there() {
    let text = r#"
        age = "2h"
        enabled = true
        cookie_name = "adonis-session"
        clear_with_browser = false
        store = "memory"
        [cookie]
        path = "/"
        http_only = true
        secure = true
        same_site = "lax"
        [stores.file]
        location = "tmp/sessions"
        [stores.redis]
        url = "redis://127.0.0.1:6379"
    "#;
    let config: SessionConfig = toml::from_str(text).unwrap();
    let sessions = Sessions::builder(config.app_key(crate::support::KEY)).build();
    let mut browser = Browser::new(&sessions.unwrap());
    browser
        .visit(async |session| session.increment("visits").unwrap())
        .await;
    assert!(browser.jar.get("adonis-session").is_some());
}

#[tokio::test]
async fn a_store_of_ones_own_is_chosen_like_any_other() {
    let (mine, other) = (MemoryStore::new(), MemoryStore::new());
    let stores = StoreRegistry::new()
        .register("mine", mine.clone())
        .register("other", other.clone());
    let chosen =
        config().with_variables(|name| Ok((name == "SESSION_DRIVER").then(|| "mine".to_owned())));
    let sessions = Sessions::builder(chosen.unwrap()).stores(stores).build();
    Browser::new(&sessions.unwrap())
        .visit(async |session| session.put("a", 1).unwrap())
        .await;
    assert_eq!((mine.stats().records, other.stats().records), (1, 0));
}

#[tokio::test]
async fn the_case_of_a_stores_name_does_not_matter() {
    let (mine, other) = (MemoryStore::new(), MemoryStore::new());
    let stores = || {
        StoreRegistry::new()
            .register("Mine", mine.clone())
            .register("mine", other.clone())
            .register("last", MemoryStore::new())
    };
    let build = |config: SessionConfig| Sessions::builder(config).stores(stores()).build();
    assert!(build(config().store("Memory")).is_ok());
    assert!(build(config().store("LAST").migrate_from("memorY")).is_ok());
    // Two stores whose names differ in the case alone are two stores.
    let sessions = build(config().store("mine")).unwrap();
    Browser::new(&sessions)
        .visit(async |session| session.put("a", 1).unwrap())
        .await;
    assert_eq!((mine.stats().records, other.stats().records), (0, 1));
    let same = build(config().store("last").migrate_to("LAST")).unwrap_err();
    assert!(same.to_string().contains("the same as `store`"), "{same}");
}

#[test]
fn an_unknown_store_is_refused_with_the_nearest_name() {
    for (unknown, nearest) in [
        ("reddis", "redis"),
        ("Rdeis", "redis"),
        ("memry", "memory"),
        ("cookies", "cookie"),
        ("fiel", "file"),
    ] {
        let text = refusal(&format!("store = '{unknown}'")).to_string();
        let meant =
            format!("no store is named {unknown:?}; did you mean {nearest:?}? the names are ");
        assert!(text.contains(&meant), "{text}");
    }
    for unknown in ["postgres", "f", "mysql"] {
        let text = refusal(&format!("store = '{unknown}'")).to_string();
        let names =
            format!("no store is named {unknown:?}; the names are cookie, file, memory, redis");
        assert!(text.contains(&names), "{text}");
    }
}

#[test]
fn a_name_with_few_typing_errors_for_its_length_is_suggested() {
    for (unknown, known, is_suggested) in [
        // Another letter in a name of three, two in names of three and four.
        ("ago", "age", true),
        ("xxe", "age", false),
        ("naxx", "name", false),
        // Two errors and three: other letters, swapped, additional and missing ones.
        ("axcdefxh", "abcdefgh", true),
        ("axcdxfxh", "abcdefgh", false),
        ("bacdefhg", "abcdefgh", true),
        ("badcefhg", "abcdefgh", false),
        ("xabcdefghx", "abcdefgh", true),
        ("xabcdxefghx", "abcdefgh", false),
        ("bcdefg", "abcdefgh", true),
        ("bcdfg", "abcdefgh", false),
    ] {
        let stores = StoreRegistry::new().register(known, MemoryStore::new());
        let built = Sessions::builder(config().store(unknown))
            .stores(stores)
            .build();
        let text = built.unwrap_err().to_string();
        let meant = format!("did you mean {known:?}?");
        assert_eq!(text.contains(&meant), is_suggested, "{unknown}: {text}");
    }
}

#[cfg(all(feature = "file", unix))]
#[test]
fn a_location_that_only_a_shell_understands_is_refused() {
    for (location, word) in [
        ("~/sessions", "`~` is not expanded"),
        ("~", "`~` is not expanded"),
        ("\"/var/lib/sessions\"", "remove them"),
        ("'tmp/sessions'", "remove them"),
    ] {
        let mut settings = config().store("file");
        settings.stores.file.location = location.into();
        let error = Sessions::builder(settings).build().unwrap_err().to_string();
        assert!(error.contains("`stores.file.location`"), "{error}");
        assert!(error.contains(word), "{error}");
    }
}

#[tokio::test]
async fn sessions_move_from_the_store_that_is_named_to_the_one_that_is_chosen() {
    let (old, new) = (MemoryStore::new(), MemoryStore::new());
    let stores = || {
        StoreRegistry::new()
            .register("old", old.clone())
            .register("new", new.clone())
    };
    let build = |config| Sessions::builder(config).stores(stores()).build().unwrap();
    let before = build(config().store("old"));
    let prepared = build(config().store("old").migrate_to("new"));
    let moving = build(config().store("new").migrate_from("old"));

    let mut browser = Browser::new(&before);
    for sessions in [&before, &prepared, &moving, &moving] {
        browser = browser.with_sessions(sessions);
        browser
            .visit(async |session| session.increment("visits").unwrap())
            .await;
    }
    browser = browser.with_sessions(&build(config().store("new")));
    let visits: Option<i64> = browser
        .visit(async |session| session.get("visits").unwrap())
        .await;
    assert_eq!(visits, Some(4));
}

#[test]
fn sessions_cannot_move_both_ways() {
    let error = refusal("migrate_from = 'file'\nmigrate_to = 'redis'");
    assert_eq!(error.setting(), "migrate_from");
    assert!(error.to_string().contains("migrate_to"), "{error}");
    let error = refusal("migrate_to = 'memory'");
    assert_eq!(error.setting(), "migrate_to");
    assert!(error.to_string().contains("the same"), "{error}");
}

#[test]
fn the_memory_store_takes_its_limits_from_its_section() {
    let config: SessionConfig =
        toml::from_str("[stores.memory]\nmax_records = 5\nmax_bytes = 1000").unwrap();
    assert_eq!(config.stores.memory.max_records, Some(5));
    let sessions = Sessions::builder(config.app_key(crate::support::KEY)).build();
    assert!(sessions.is_ok());
}

#[test]
fn a_misspelt_section_is_an_error_that_names_it() {
    for (text, word) in [
        (
            "[stores.reddis]\nurl = 'redis://x'",
            "section \"reddis\"; did you mean \"redis\"? the sections are memory, file, cookie, redis",
        ),
        (
            "[stores.File]\nlocation = 'x'",
            "section \"File\"; did you mean \"file\"? the sections are",
        ),
        (
            "[stores.postgres]\nurl = 'x'",
            "section \"postgres\"; the sections are",
        ),
        ("[stores.file]\nfolder = 'x'", "folder"),
        ("[stores.redis]\nURL = 'redis://x'", "URL"),
    ] {
        let config = toml::from_str::<SessionConfig>(text);
        let error = match config.map(|config| config.app_key(crate::support::KEY)) {
            Ok(config) => Sessions::builder(config).build().unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(word), "{error}");
    }
}

#[cfg(all(feature = "file", unix))]
mod file {
    use super::{Browser, Sessions, config, refusal};

    #[tokio::test]
    async fn the_file_store_opens_where_its_section_says() {
        let folder = std::env::temp_dir().join(format!("config-stores-{}", std::process::id()));
        let settings = |name: &str| match name {
            "SESSION_DRIVER" => Some("file".to_owned()),
            "SESSION_FILE_LOCATION" => Some(folder.to_str().unwrap().to_owned()),
            "SESSION_FILE_DURABILITY" => Some("os".to_owned()),
            _ => None,
        };
        for visits in 1..=2 {
            let config = config().with_variables(|name| Ok(settings(name))).unwrap();
            let sessions = Sessions::builder(config).build().unwrap();
            Browser::new(&sessions)
                .visit(async |session| session.put("visits", visits).unwrap())
                .await;
            assert_eq!(sessions.collection().count().await.unwrap(), Some(visits));
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_problem_of_the_file_store_is_named_by_setting_and_variable() {
        for (text, setting, word) in [
            (
                "durability = 'sometimes'",
                "stores.file.durability",
                "always",
            ),
            ("durability = '0s'", "stores.file.durability", "interval"),
            (
                "location = '/dev/null/x'",
                "stores.file.location",
                "/dev/null",
            ),
        ] {
            let error = refusal(
                &format!("store = 'file'\n[stores.file]\nlocation = '/dev/null/sessions'\n{text}")
                    .replace("location = '/dev/null/sessions'\nlocation", "location"),
            );
            assert_eq!(error.setting(), setting, "{error}");
            let text = error.to_string();
            assert!(text.contains(word), "{text}");
            assert!(text.contains("SESSION_FILE_"), "{text}");
        }
    }
}

#[cfg(feature = "redis")]
#[test]
fn a_wrong_redis_address_is_refused_without_what_is_secret_in_it() {
    for url in [
        "reddis://ada:pa55word@host/0",
        "redis://ada:pa55word@host:port/0",
        "redis://ada:pa55/word@host:99999/0",
        "redis://ada:pa55#word@host:99999/0",
        "redis://ada:pa55@word@host:99999/0",
        "redis-sentinel://host:x?sentinelServiceName=a&sentinelPassword=pa55word",
        "redis-sentinel://host:x/0?sentinelServiceName=a&sentinelPassword=pa55@word",
        "redis-sentinel://host:1/0?sentinelServiceName=a&node=ada:pa55@word:2",
        "redis-cluster://host:1?node=ada:pa55word@host:2",
        "redis-cluster://host:1?node=pa55word@host:2",
        "redis-cluster://host:1?no%64e=ada%3Apa55word%40host:2",
        "ada:pa55://word@host",
        "pa55word://host",
        "redis://pa55word@",
        "redis://ada:pa55word",
        "redis://ada:pa55word/0",
        "pa55word",
        "redis:pa55word@host",
        "rediss//:pa55word",
    ] {
        let error = refusal(&format!("store = 'redis'\n[stores.redis]\nurl = {url:?}"));
        assert_eq!(error.setting(), "stores.redis.url");
        let text = format!("{error} {error:?}").replace("user or password", "");
        assert!(text.contains("REDIS_URL"), "{text}");
        assert!(!text.contains("pa55") && !text.contains("word"), "{text}");
    }
}

#[cfg(feature = "redis")]
#[test]
fn a_wrong_redis_address_is_named_without_its_user() {
    for (url, named) in [
        (
            "redis://ada:pa55word@host:99999/0",
            "redis://…@host:99999/0",
        ),
        (
            "redis://ada:pa55word@host:99999/0?a=b",
            "redis://…@host:99999/0?…",
        ),
        ("redis://host:99999?a=b@c", "redis://…"),
    ] {
        let error = refusal(&format!("store = 'redis'\n[stores.redis]\nurl = {url:?}"));
        assert!(error.to_string().contains(&format!("{named}: ")), "{error}");
    }
}

#[cfg(not(feature = "redis"))]
#[test]
fn a_store_that_was_not_built_in_says_which_feature_it_takes() {
    let error = refusal("store = 'redis'");
    assert_eq!(error.setting(), "store");
    assert!(error.to_string().contains("feature `redis`"), "{error}");
}

/// The section of a store of the program's own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SmallConfig {
    max_records: u64,
}

fn small_stores() -> StoreRegistry {
    StoreRegistry::new().register_with_config("small", |config: SmallConfig| {
        let store = MemoryStore::builder().max_records(config.max_records);
        Ok(store.build())
    })
}

fn build_small(toml: &str) -> Result<Sessions, ConfigError> {
    let config: SessionConfig = toml::from_str(toml).unwrap();
    let builder = Sessions::builder(config.app_key(crate::support::KEY));
    builder.stores(small_stores()).build()
}

/// A section with a setting of every kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only errors are read")]
struct LargeConfig {
    token: u64,
    #[serde(default)]
    nodes: Vec<NodeConfig>,
    mode: Option<ModeConfig>,
    weights: Option<BTreeMap<u16, f64>>,
    pair: Option<(i8, bool)>,
}

#[derive(Debug, Deserialize)]
#[allow(dead_code, reason = "only errors are read")]
struct NodeConfig {
    address: std::net::IpAddr,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code, reason = "only errors are read")]
enum ModeConfig {
    Fast,
    Slow { delay: u8 },
}

fn build_large(section: &str) -> Result<Sessions, ConfigError> {
    let stores =
        StoreRegistry::new().register_with_config("large", |_: LargeConfig| Ok(MemoryStore::new()));
    let toml = format!("store = 'large'\n[stores.large]\n{section}");
    let config: SessionConfig = toml::from_str(&toml).unwrap();
    let builder = Sessions::builder(config.app_key(crate::support::KEY));
    builder.stores(stores).build()
}

#[test]
fn the_error_of_a_wrong_section_names_the_setting_and_shows_no_value() {
    for (section, problem) in [
        (
            "token = 'hunter2'",
            "setting \"token\": the value has another type; set u64",
        ),
        (
            "token = -77123",
            "setting \"token\": a value is invalid; set u64",
        ),
        (
            "token = 1\nmode = 'hunter2'",
            "setting \"mode\": the name is unknown; set one of fast, slow",
        ),
        (
            "token = 1\nmode = { slow = { delay = 'hunter2' } }",
            "setting \"mode.slow.delay\": the value has another type; set u8",
        ),
        (
            "token = 1\nmode = 77123",
            "setting \"mode\": the value has another type; set enum ModeConfig",
        ),
        (
            "token = 1\nnodes = [{ address = '::1' }, { address = 'hunter2' }]",
            "setting \"nodes.1.address\": a value is invalid",
        ),
        (
            "token = 1\npair = [1, true, 77123]",
            "setting \"pair\": the number of values is wrong; set",
        ),
        (
            "token = 1\nweights = { hunter2 = 1.0 }",
            "setting \"weights\": the value has another type; set u16",
        ),
        (
            "tokn = 'hunter2'",
            "no setting is named \"tokn\"; the settings are token, nodes, mode, weights, pair",
        ),
        ("mode = 'fast'", "setting \"token\" is missing; set it"),
    ] {
        let error = build_large(section).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(
            !shown.contains("hunter2") && !shown.contains("77123"),
            "{shown}"
        );
        let expected = format!("section \"large\": {problem}");
        assert!(error.to_string().contains(&expected), "{error}\n{expected}");
    }
    let section =
        "token = 1\nmode = { slow = { delay = 1 } }\nweights = { 7 = 0.5 }\npair = [1, true]";
    build_large(section).unwrap();
}

#[tokio::test]
async fn a_store_of_ones_own_has_a_section_of_its_own() {
    let sessions = build_small("store = 'small'\n[stores.small]\nmax_records = 5").unwrap();
    for _ in 0..20 {
        let mut browser = Browser::new(&sessions);
        browser.visit(async |s| s.put("n", 1)).await.unwrap();
    }
    let count = sessions.collection().count().await.unwrap();
    assert!(count.is_some_and(|count| count <= 5), "{count:?}");
}

#[test]
fn a_store_of_ones_own_cannot_read_the_section_of_a_built_in_store() {
    let stores = StoreRegistry::new().register_with_config("redis", |config: SmallConfig| {
        Ok(MemoryStore::builder()
            .max_records(config.max_records)
            .build())
    });
    let config: SessionConfig = toml::from_str("store = 'redis'").unwrap();
    let builder = Sessions::builder(config.app_key(crate::support::KEY));
    let error = builder.stores(stores).build().unwrap_err().to_string();
    assert!(
        error.contains("the section \"redis\" is that of a built-in store; register"),
        "{error}"
    );
}

#[test]
fn a_wrong_section_of_a_store_of_ones_own_is_named() {
    for (toml, words) in [
        (
            "[stores.small]\nmax_records = 'many'",
            ["section \"small\"", "u64"],
        ),
        ("[stores.small]\nsize = 1", ["section \"small\"", "size"]),
        ("", ["section \"small\"", "max_records"]),
        (
            "[stores.smal]\nmax_records = 5",
            ["\"smal\"", "redis, small"],
        ),
    ] {
        let error = build_small(&format!("store = 'small'\n{toml}")).unwrap_err();
        assert_eq!(error.setting(), "stores");
        for word in words {
            assert!(error.to_string().contains(word), "{toml}: {error}");
        }
    }
    let unused = build_small("[stores.small]\nmax_records = 5");
    assert!(
        unused.is_ok(),
        "the section of a store that is not selected: {unused:?}"
    );
}
