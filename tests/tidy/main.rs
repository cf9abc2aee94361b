//! The rules of the house, held by reading the source.
//!
//! The compiler does not know which folder stands on which floor; this test does. A rule that must
//! change is changed here, with its reason, in the commit that needs it.

mod code;
mod rules;
mod violations;

use std::{fs, path::Path};

use code::Source;

/// The floors, from the ground up. A folder may import from the floors below its own and from
/// nowhere else, so two folders of one floor do not know each other and there can be no cycle.
const FLOORS: [&[&str]; 9] = [
    &[
        "document",
        "cookie",
        "id",
        "duration",
        "clock",
        "sync",
        "error_chain",
    ],
    &["patch", "seal", "csrf_secret"],
    &["wire"],
    &["store"],
    &["session", "import"],
    &["config"],
    &["service"],
    &["form", "view"],
    // The roof, and the tools beside it: nothing below names them.
    &["lib", "error", "bin", "guide"],
];

/// Crates that any folder may name.
const BASICS: [&str; 10] = [
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

/// Which folder names which other crate: one each, save those with a reason.
const CRATES: [(&str, &[&str]); 32] = [
    ("aes", &["seal"]),
    ("aes_gcm_siv", &["seal"]),
    ("ahash", &["store"]),
    // An id's text form, the sealed text, and what a cookie claims of itself.
    ("base64_simd", &["id", "csrf_secret", "seal", "wire"]),
    ("clap", &["bin"]),
    ("crc32fast", &["store"]),
    ("ctutils", &["csrf_secret"]),
    ("dashmap", &["store"]),
    ("fred", &["store"]),
    // What libraries ask for as streams.
    ("futures_util", &["store", "form"]),
    ("garde", &["form"]),
    ("getrandom", &["id", "csrf_secret"]),
    ("hkdf", &["seal"]),
    // Whatever stands around a service knows bodies, hyper and tower.
    ("http_body", &["service", "form"]),
    ("httpdate", &["cookie"]),
    ("hyper", &["service", "form"]),
    ("indicatif", &["bin"]),
    ("itoa", &["cookie"]),
    ("metrics", &["service"]),
    ("minijinja", &["view"]),
    ("multer", &["form"]),
    ("percent_encoding", &["form"]),
    ("pin_project_lite", &["service", "form"]),
    ("rand", &["seal"]),
    // Files, and the clock that is cheap to ask.
    ("rustix", &["store", "clock"]),
    // The key of an id, and the hash under HKDF.
    ("sha2", &["id", "csrf_secret", "seal"]),
    ("simd_json", &["document"]),
    ("tokio", &["store", "bin"]),
    ("tower_layer", &["service", "form"]),
    ("tower_service", &["service", "form"]),
    // Events as logs, and the spans around loads and commits.
    ("tracing", &["service", "session"]),
    // Whatever holds an id or a key leaves nothing behind.
    ("zeroize", &["id", "csrf_secret", "seal", "wire", "config"]),
];

/// Files whose verdict is a panic: unit tests, and the suite that users run on their own stores.
const MAY_PANIC: [&str; 2] = ["tests", "conformance"];

const MAX_FILE: usize = 600;
const MAX_FUNCTION: usize = 60;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &str) -> Vec<Source> {
    let found = code::read(root(), folder);
    assert!(!found.is_empty(), "there is no source in {folder}");
    found
}

fn hold(rule: impl Fn(&Source) -> Vec<String>) {
    let broken: Vec<String> = sources("src").iter().flat_map(rule).collect();
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn folders_import_only_from_the_floors_below() {
    hold(|source| rules::imports(source, &FLOORS));
}

#[test]
fn each_outside_crate_is_named_in_its_own_folder_only() {
    let named = rules::dependencies(&manifest());
    hold(|source| rules::crates(source, &named, &BASICS, &CRATES));
}

#[test]
fn every_dependency_has_a_folder() {
    let homeless: Vec<String> = rules::dependencies(&manifest())
        .into_iter()
        .filter(|name| !BASICS.contains(&name.as_str()))
        .filter(|name| !CRATES.iter().any(|(known, _)| known == name))
        .collect();
    assert!(
        homeless.is_empty(),
        "say in CRATES which folder names {homeless:?}"
    );
}

#[test]
fn no_file_is_longer_than_a_person_reads() {
    let folders = ["src", "tests", "benches", "examples", "fuzz"];
    let broken: Vec<String> = folders
        .iter()
        .flat_map(|folder| code::read(root(), folder))
        .flat_map(|source| rules::file_length(&source, MAX_FILE))
        .collect();
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn no_function_is_longer_than_a_screen() {
    hold(|source| rules::function_length(source, MAX_FUNCTION));
}

#[test]
fn features_choose_modules_and_imports_and_nothing_inside_them() {
    hold(rules::features);
}

#[test]
fn library_code_does_not_panic_by_its_own_words() {
    hold(|source| rules::panics(source, &MAY_PANIC));
}

#[test]
fn unit_tests_live_in_files_of_their_own() {
    hold(rules::inline_tests);
}

#[test]
fn the_architecture_names_every_folder() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let missing = rules::unnamed(&sources("src"), &text);
    assert!(
        missing.is_empty(),
        "ARCHITECTURE.md does not name {missing:?}"
    );
}

fn manifest() -> String {
    fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml")
}
