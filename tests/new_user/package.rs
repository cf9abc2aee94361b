//! The package holds what a user needs, and its dependencies are few and old enough.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;

use crate::project::{Project, run};

/// The number of crates that a build with the default features and `tower` compiles, this one included.
/// `ARCHITECTURE.md` lists them with their reasons.
const CRATES: usize = 78;

/// The limit of the unpacked package.
const MAX_BYTES: u64 = 3_200_000;

#[test]
fn the_package_holds_the_library_the_programs_and_the_examples() {
    let package = &Project::get().package;
    let mut folders: Vec<String> = Vec::new();
    let mut bytes = 0;
    let mut pending = vec![package.clone()];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            bytes += path.metadata().expect("its size").len();
            let inside = path.strip_prefix(package).expect("inside");
            // The benchmarks need files of the tests, which the package does not hold.
            let name = match inside.starts_with("benches") {
                true => inside.to_path_buf(),
                false => inside.iter().take(1).collect(),
            };
            folders.push(name.to_string_lossy().into_owned());
        }
    }
    folders.sort();
    folders.dedup();
    let expected = [
        ".cargo_vcs_info.json",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "Cargo.lock",
        "Cargo.toml",
        "Cargo.toml.orig",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "SECURITY.md",
        "benches/README.md",
        "examples",
        "src",
    ];
    folders.retain(|name| !expected.contains(&&**name));
    assert!(folders.is_empty(), "the package also holds {folders:?}");
    assert!(bytes < MAX_BYTES, "the package has {bytes} bytes");
}

/// Returns the names and versions of the crates that a build of the library compiles.
fn crates(features: &[&str]) -> BTreeSet<String> {
    let printed = run(Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--edges=normal,build"])
        .args(["--prefix=none", "--no-dedupe", "--format={p}"])
        .args(features)
        .current_dir(env!("CARGO_MANIFEST_DIR")));
    let name = |line: &str| line.split(" (").next().unwrap_or_default().to_owned();
    let lines = printed.lines().filter(|line| !line.is_empty());
    lines.map(name).collect()
}

#[test]
fn a_build_compiles_few_crates() {
    let crates = crates(&["--features=tower"]);
    assert!(
        crates.len() <= CRATES,
        "{} crates, limit is {CRATES}; name the new ones in ARCHITECTURE.md with their reason: {crates:#?}",
        crates.len()
    );
    let text = include_str!("../../ARCHITECTURE.md");
    let (_, rest) = text
        .split_once("| crates | number | for |")
        .expect("the table");
    let table = rest.split("\n\n").next().unwrap_or_default();
    let names = crates.iter().filter_map(|crate_| crate_.split(' ').next());
    let unnamed: Vec<&str> = names
        .filter(|name| !table.contains(&format!("`{name}`")))
        .collect();
    assert_eq!(
        unnamed,
        ["hyper-session"],
        "ARCHITECTURE.md does not name them"
    );
}

/// The crates that a build with all features compiles in several versions. `ARCHITECTURE.md` states why.
const DUPLICATES: [&str; 8] = [
    "block-buffer",
    "cpufeatures",
    "crypto-common",
    "digest",
    "getrandom",
    "hashbrown",
    "socket2",
    "syn",
];

#[test]
fn crates_in_several_versions_are_named_with_their_reason() {
    let all = crates(&["--all-features"]);
    let names = all.iter().filter_map(|crate_| crate_.split(' ').next());
    let names: Vec<&str> = names.collect();
    let is_repeated = |pair: &[&str]| pair[0] == pair[1];
    let mut repeated: Vec<&str> = names
        .windows(2)
        .filter(|pair| is_repeated(pair))
        .map(|pair| pair[0])
        .collect();
    repeated.dedup();
    assert_eq!(
        repeated, DUPLICATES,
        "update the list, and ARCHITECTURE.md with the reason"
    );
    let text = include_str!("../../ARCHITECTURE.md");
    let (_, rest) = text
        .split_once("| crate | old version | needed by |")
        .expect("the table");
    let reasons = rest.split("\n\n").next().unwrap_or_default();
    let unnamed = DUPLICATES.iter().find(|name| !reasons.contains(**name));
    assert_eq!(unnamed, None, "ARCHITECTURE.md does not name it");
}

#[test]
fn no_dependency_needs_a_newer_compiler_than_this_crate() {
    let version_text = run(Command::new("rustc").arg("-vV"));
    let host = version_text
        .lines()
        .find_map(|line| line.strip_prefix("host: "));
    let host = host.expect("the host's target");
    let printed = run(Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--all-features",
            "--locked",
            "--offline",
            "--format-version=1",
        ])
        .args(["--filter-platform", host])
        .current_dir(env!("CARGO_MANIFEST_DIR")));
    let metadata: Value = serde_json::from_str(&printed).expect("the metadata");
    let own = version(env!("CARGO_PKG_RUST_VERSION"));
    let compiled = crates(&["--all-features"]);
    let packages = metadata["packages"].as_array().expect("the packages");
    let mut minimums: Vec<(String, &str)> = packages
        .iter()
        .map(|package| {
            let name = format!("{} v{}", text(package, "name"), text(package, "version"));
            (name, text(package, "rust_version"))
        })
        .collect();
    minimums.retain(|(name, _)| compiled.contains(name));
    assert_eq!(minimums.len(), compiled.len(), "each crate is looked up");
    let newer: Vec<_> = minimums
        .iter()
        .filter(|(_, minimum)| version(minimum) > own)
        .collect();
    assert!(newer.is_empty(), "{newer:#?}");
}

fn text<'v>(package: &'v Value, field: &str) -> &'v str {
    package[field].as_str().unwrap_or_default()
}

/// Returns a version as numbers. Missing ones are zero.
fn version(text: &str) -> [u32; 3] {
    let mut numbers = text.split('.').map(|number| number.parse().unwrap_or(0));
    std::array::from_fn(|_| numbers.next().unwrap_or(0))
}
