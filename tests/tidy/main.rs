//! Rules about the source that no compiler checks: layers, import circles, names, words, sizes.
//!
//! To change a rule, change it here, with its reason, in the commit that needs it.

mod api;
mod circles;
mod code;
mod guide;
mod modules;
mod names;
mod plain;
mod rules;
mod secrets;
mod security;
mod violations;
mod words;

use std::{fs, path::Path};

use code::Source;

/// The layers, lowest first. A folder imports only from the layers below its own, so folders of one
/// layer do not import each other, and folders cannot form a circle.
const LAYERS: [&[&str]; 9] = [
    &[
        "document",
        "cookie",
        "id",
        "duration",
        "clock",
        "sync",
        "completion",
        "error_chain",
        "random_state",
    ],
    &["patch", "seal", "csrf_secret"],
    &["wire"],
    &["store"],
    &["session", "import"],
    &["config"],
    &["service"],
    &["form", "view", "testing"],
    // The top: the names that the crate exports, and the binaries. No other layer imports them.
    &["lib", "error", "bin", "guide"],
];

/// Crates that every folder may name.
const COMMON_CRATES: [&str; 10] = [
    "std",
    "core",
    "alloc",
    "bytes",
    "http",
    "memchr",
    "serde",
    "serde_json",
    "smallvec",
    "thiserror",
];

/// The folders that may name each of the other crates. More than one folder needs a reason.
const CRATES: [(&str, &[&str]); 36] = [
    ("aes", &["seal"]),
    ("aes_gcm_siv", &["seal"]),
    ("ahash", &["random_state"]),
    // Extractors and responses.
    ("axum_core", &["service", "form"]),
    // The text form of an id, of sealed bytes, and of a cookie.
    ("base64_simd", &["id", "csrf_secret", "seal", "wire"]),
    ("clap", &["bin"]),
    ("crc32fast", &["store"]),
    // Comparisons of secrets.
    ("ctutils", &["csrf_secret", "id", "config"]),
    ("dashmap", &["store"]),
    ("fred", &["store"]),
    // `Stream`, in the interfaces of fred and multer.
    ("futures_util", &["store", "form"]),
    ("garde", &["form"]),
    // Works without a runtime.
    ("futures_timer", &["session", "store", "testing"]),
    ("getrandom", &["id", "csrf_secret", "seal", "session"]),
    ("hkdf", &["seal"]),
    // Both wrap services of hyper and tower.
    ("http_body", &["service", "form", "testing"]),
    ("http_body_util", &["testing"]),
    ("httpdate", &["cookie", "service", "testing"]),
    ("hyper", &["service", "form", "testing"]),
    // The in-memory connection of the test client.
    ("hyper_util", &["testing"]),
    ("indicatif", &["bin"]),
    ("itoa", &["cookie"]),
    ("libc", &["clock"]),
    // Events, durations of loads and commits.
    ("metrics", &["service", "session"]),
    ("minijinja", &["view"]),
    ("multer", &["form"]),
    ("percent_encoding", &["form"]),
    ("pin_project_lite", &["service", "form"]),
    // File system calls.
    ("rustix", &["store"]),
    // The store key of an id, and the hash of HKDF.
    ("sha2", &["id", "csrf_secret", "seal"]),
    ("simd_json", &["document"]),
    // The sweep of the memory store, the queue of a hot session's commits, and the testing kit.
    ("tokio", &["store", "session", "testing", "bin"]),
    ("tower_layer", &["service", "form"]),
    ("tower_service", &["service", "form"]),
    // Log events, spans around loads and commits, and outages of a store without listeners.
    ("tracing", &["service", "session", "store"]),
    // Ids and keys are erased from memory.
    ("zeroize", &["id", "csrf_secret", "seal", "wire", "config"]),
];

/// Modules that may panic: unit tests, the conformance suite for stores, the testing kit, and the panic of a future that
/// is polled after its completion. Such a poll is a bug of the executor, and its task would hang.
const MAY_PANIC: [&str; 4] = ["tests", "conformance", "testing", "completion"];

/// Modules that may read variables of the environment: unit tests, programs, and the configuration from the
/// environment.
const MAY_READ_ENVIRONMENT: [&str; 3] = ["tests", "bin", "env"];

/// The folders with source files and documents.
const FOLDERS: [&str; 5] = ["src", "tests", "benches", "examples", "fuzz"];

/// The documents beside the folders.
const DOCUMENTS: [&str; 4] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "SECURITY.md",
];

/// The types that hold a secret: they erase it, and compare it in constant time. The expanded key of the
/// cipher has a unit test instead.
const SECRET_TYPES: [(&str, &str); 3] = [
    ("src/id.rs", "SessionId"),
    ("src/csrf_secret.rs", "CsrfSecret"),
    ("src/config/secret.rs", "Secret"),
];

/// The files that compare a secret that a client sent.
const SECRET_COMPARISONS: [(&str, usize); 3] = [
    // Lengths.
    ("src/csrf_secret.rs", 2),
    // Hashes under a random key.
    ("src/session/cookie_cache.rs", 2),
    // The suffix of a text that has been opened.
    ("src/store/cookie/cache.rs", 1),
];

const MAX_FILE: usize = 600;
const MAX_FUNCTION: usize = 60;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &str) -> Vec<Source> {
    let sources = code::read(root(), folder);
    assert!(!sources.is_empty(), "there is no source in {folder}");
    sources
}

/// Applies a rule to every file of `src`.
fn check(rule: impl Fn(&Source) -> Vec<String>) {
    report(sources("src").iter().flat_map(rule).collect());
}

/// Fails with a line for each violation.
fn report(violations: Vec<String>) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn folders_import_only_from_the_layers_below() {
    check(|source| rules::imports(source, &LAYERS));
}

#[test]
fn each_outside_crate_is_named_in_its_own_folder_only() {
    let named = rules::dependencies(&manifest());
    check(|source| rules::crates(source, &named, &COMMON_CRATES, &CRATES));
}

#[test]
fn every_dependency_has_a_folder() {
    let missing: Vec<String> = rules::dependencies(&manifest())
        .into_iter()
        .filter(|name| !COMMON_CRATES.contains(&name.as_str()))
        .filter(|name| !CRATES.iter().any(|(known, _)| known == name))
        .collect();
    assert!(
        missing.is_empty(),
        "CRATES does not list {missing:?}; add the folder that may name it"
    );
}

#[test]
fn no_file_is_longer_than_a_person_reads() {
    let files = FOLDERS.iter().flat_map(|folder| code::read(root(), folder));
    report(
        files
            .filter_map(|source| rules::file_length(&source, MAX_FILE))
            .collect(),
    );
}

#[test]
fn no_function_is_longer_than_a_screen() {
    check(|source| rules::function_length(source, MAX_FUNCTION));
}

#[test]
fn entries_of_a_folder_import_each_other_without_circles() {
    report(circles::circles(&sources("src")));
}

#[test]
fn each_type_name_is_declared_once() {
    report(names::duplicates(
        &sources("src"),
        &plain::SHARED_TYPE_NAMES,
    ));
}

#[test]
fn files_types_and_functions_have_plain_names() {
    let (parts, names) = (&plain::DENIED_NAME_PARTS, &plain::DENIED_NAMES);
    check(|source| names::denied(source, parts, names));
}

#[test]
fn comments_texts_and_documents_use_plain_words() {
    let texts = texts().into_iter();
    let denied = |text: Source| words::denied(&text, &plain::DENIED_WORDS, &plain::WORD_EXCEPTIONS);
    report(texts.flat_map(denied).collect());
}

#[test]
fn every_merge_is_resolved() {
    let is_marker = |line: &str| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> ");
    let has_marker = |path: &String| {
        let text = fs::read_to_string(root().join(path)).expect(path);
        text.lines().any(is_marker)
    };
    let paths = texts().into_iter().map(|text| text.path);
    let unresolved: Vec<String> = paths.filter(has_marker).collect();
    assert!(
        unresolved.is_empty(),
        "{unresolved:?} contain markers of a merge"
    );
}

#[test]
fn every_exception_is_used() {
    let texts = texts();
    let is_used = |(path, word, _): &&words::Exception| {
        let text = texts.iter().find(|text| text.path == *path);
        text.is_some_and(|text| words::uses(text, word))
    };
    let mut unused = plain::WORD_EXCEPTIONS.iter().filter(|it| !is_used(it));
    assert_eq!(unused.next(), None, "remove this exception");
}

#[test]
fn features_choose_modules_and_imports_and_nothing_inside_them() {
    check(rules::features);
}

#[test]
fn library_code_does_not_panic_by_its_own_words() {
    check(|source| rules::panics(source, &MAY_PANIC));
}

#[test]
fn library_code_reads_the_environment_in_the_configuration_only() {
    check(|source| rules::environment(source, &MAY_READ_ENVIRONMENT));
}

#[test]
fn unit_tests_live_in_files_of_their_own() {
    check(rules::inline_tests);
}

#[test]
fn the_architecture_names_every_folder() {
    let text = document("ARCHITECTURE.md");
    let missing = rules::unnamed(&sources("src"), &text);
    assert!(
        missing.is_empty(),
        "ARCHITECTURE.md does not name {missing:?}"
    );
}

#[test]
fn the_security_policy_names_tests_that_exist() {
    let sources = [sources("tests"), sources("src")].concat();
    report(security::missing_tests(&document("SECURITY.md"), &sources));
}

#[test]
fn unsafe_code_is_in_the_listed_modules() {
    let folders = ["src", "tests", "examples"];
    let code = folders.map(sources).concat();
    report(security::unsafe_modules(&document("SECURITY.md"), &code));
    // Programs of this crate's developers, with manifests of their own: allocators that count, and writes that
    // the compiler keeps.
    let programs = ["benches", "fuzz"].map(sources).concat();
    let measuring = [
        "benches/compare/src/allocations.rs",
        "benches/file.rs",
        "benches/instructions/src/allocator.rs",
        "benches/instructions/src/sharing.rs",
    ];
    assert_eq!(security::with_unsafe(&programs), measuring.into());
    let denied = manifest()
        .lines()
        .any(|line| line == "unsafe_code = \"deny\"");
    assert!(denied, "Cargo.toml does not deny `unsafe_code`");
}

#[test]
fn secrets_are_erased_when_they_are_dropped() {
    report(secrets::not_erased(&sources("src"), &SECRET_TYPES));
}

#[test]
fn secrets_are_compared_in_constant_time() {
    let sources = sources("src");
    report(secrets::not_constant_time(&sources, &SECRET_TYPES));
    report(secrets::without_ct_eq(&sources, &SECRET_COMPARISONS));
}

#[test]
fn each_section_of_the_session_guide_has_a_page() {
    let pages = code::read_files(root(), "src/guide", "md");
    let sections = document("tests/data/session_guide_sections.txt");
    report(guide::missing_pages(&sections, &pages));
}

#[test]
fn changes_of_the_public_interface_are_in_its_listing() {
    let path = root().join("tests/data/public_api.txt");
    let listing = api::listing(&sources("src"));
    if std::env::var_os("UPDATE_PUBLIC_API").is_some() {
        fs::write(&path, &listing).expect("written");
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    let added = api::difference(&listing, &stored);
    let removed = api::difference(&stored, &listing);
    let prefix = |sign: &'static str| move |line| format!("{sign} {line}");
    let mut changes: Vec<String> = added.into_iter().map(prefix("+")).collect();
    changes.extend(removed.into_iter().map(prefix("-")));
    if !changes.is_empty() {
        changes.push("if the changes are intended, run with UPDATE_PUBLIC_API=1".to_owned());
    }
    report(changes);
}

/// Returns all source files and documents, except the rules themselves, which list the denied words.
fn texts() -> Vec<Source> {
    let root = root();
    let of_folder = |folder: &&str| {
        let mut files = code::read(root, folder);
        files.extend(code::read_files(root, folder, "md"));
        files
    };
    let mut texts: Vec<Source> = FOLDERS.iter().flat_map(of_folder).collect();
    texts.retain(|text| !text.path.starts_with("tests/tidy/"));
    texts.extend(DOCUMENTS.map(|path| {
        let text = fs::read_to_string(root.join(path)).expect(path);
        Source::new(path, &text)
    }));
    texts
}

fn manifest() -> String {
    document("Cargo.toml")
}

fn document(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect(path)
}
