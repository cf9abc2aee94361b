//! Programs that tests start.

use std::path::PathBuf;

/// Returns the path of an example program, which cargo builds beside the test programs.
///
/// # Panics
/// If it has not been built. `cargo test` with `--tests` or `--test` does not build examples.
pub fn example(name: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let folder = program.ancestors().nth(2).unwrap();
    let example = folder.join("examples").join(name);
    assert!(
        example.is_file(),
        "{} is missing; build it with `cargo build --example {name}` and the features of this test",
        example.display()
    );
    example
}

/// Returns the full name of a test, as the test runner lists it. `module` is the `module_path!()` of the
/// test's file.
pub fn test_name(module: &str, test: &str) -> String {
    let (_, inside) = module.split_once("::").unwrap();
    format!("{inside}::{test}")
}
