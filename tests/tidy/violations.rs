//! Planted violations, each of which its rule finds.

mod api;
mod circles;
mod names;
mod security;
mod words;

use crate::{
    COMMON_CRATES, CRATES, LAYERS,
    code::{Source, split},
    rules,
};

fn imports(path: &str, text: &str) -> Vec<String> {
    rules::imports(&Source::new(path, text), &LAYERS)
}

fn crates(path: &str, text: &str) -> Vec<String> {
    let dependencies = ["tokio", "serde", "aes_gcm_siv"].map(String::from);
    rules::crates(
        &Source::new(path, text),
        &dependencies,
        &COMMON_CRATES,
        &CRATES,
    )
}

fn features(text: &str) -> Vec<String> {
    rules::features(&Source::new("src/store/mod.rs", text))
}

fn panics(path: &str, text: &str) -> Vec<String> {
    rules::panics(&Source::new(path, text), &["tests", "conformance"])
}

#[test]
fn an_import_from_a_layer_above_is_caught() {
    let violations = imports(
        "src/store/memory/mod.rs",
        "use std::fmt;\nuse crate::session::Session;\n",
    );
    assert_eq!(
        violations,
        ["src/store/memory/mod.rs:2: `store` must not import `session`"]
    );
}

#[test]
fn an_import_from_the_same_layer_is_caught() {
    assert_eq!(
        imports("src/cookie/scan.rs", "use crate::document::KeyPath;").len(),
        1
    );
    assert_eq!(
        imports(
            "src/id.rs",
            "fn now() -> crate::clock::Timestamp { todo() }"
        )
        .len(),
        1
    );
}

#[test]
fn an_import_in_a_group_or_by_super_is_caught() {
    let group = "use crate::{\n    id::{Key, SessionId},\n    session::{self, Session},\n};";
    assert_eq!(imports("src/store/contract.rs", group).len(), 1);
    assert_eq!(
        imports("src/store/mod.rs", "use super::session::Session;").len(),
        1
    );
    assert_eq!(
        imports("src/store/memory/mod.rs", "use super::super::wire::{self};").len(),
        0
    );
    assert_eq!(
        imports("src/store/memory/mod.rs", "use super::super::config;").len(),
        1
    );
}

#[test]
fn the_top_is_imported_by_nothing_below() {
    assert_eq!(
        imports("src/session/mod.rs", "use crate::error::Error;").len(),
        1
    );
    assert_eq!(imports("src/session/mod.rs", "use crate::Error;").len(), 1);
    assert_eq!(
        imports("src/lib.rs", "pub use crate::session::Session;").len(),
        0
    );
}

#[test]
fn a_folder_without_a_layer_is_caught() {
    assert_eq!(imports("src/utils/mod.rs", "").len(), 1);
}

#[test]
fn an_import_downward_or_at_home_is_no_violation() {
    let text =
        "use crate::{id::Key, store::ReadOutcome};\nuse super::StoreFuture;\n// crate::session\n";
    assert_eq!(imports("src/store/contract.rs", text), [""; 0]);
}

#[test]
fn an_outside_crate_in_a_foreign_folder_is_caught() {
    let violations = crates(
        "src/document/mod.rs",
        "use serde::Serialize;\nuse tokio::time::sleep;\n",
    );
    assert_eq!(
        violations,
        [
            r#"src/document/mod.rs:2: `tokio` belongs to ["store", "session", "testing", "bin"], not to `document`"#
        ]
    );
    assert_eq!(
        crates("src/document/mod.rs", "fn f() { aes_gcm_siv::Key::new() }").len(),
        1
    );
    assert_eq!(
        crates("src/store/memory/mod.rs", "use tokio::time::sleep;"),
        [""; 0]
    );
    assert_eq!(
        crates("src/document/mod.rs", "use crate::tokio::x; my_tokio::y();"),
        [""; 0]
    );
}

#[test]
fn the_manifest_is_read_for_its_dependencies_alone() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\naes-gcm-siv = { version = \"1\" }\n\
                    bytes = \"1\"\n\n[dev-dependencies]\ncriterion = \"1\"\n";
    assert_eq!(rules::dependencies(manifest), ["aes_gcm_siv", "bytes"]);
}

#[test]
fn a_long_file_is_caught() {
    let long = |lines: usize| Source::new("src/id.rs", &"\n".repeat(lines));
    assert!(rules::file_length(&long(601), 600).is_some());
    assert!(rules::file_length(&long(600), 600).is_none());
}

#[test]
fn a_long_function_is_caught() {
    let function = |body: usize| {
        let text = format!(
            "fn f(a: [u8; 4]) -> u8 {{\n{}}}\n\nfn g();\n",
            "    { a }\n".repeat(body)
        );
        rules::function_length(&Source::new("src/id.rs", &text), 60).len()
    };
    assert_eq!(function(59), 1);
    assert_eq!(function(58), 0);
}

#[test]
fn a_feature_inside_of_a_module_is_caught() {
    for text in [
        "#[cfg(feature = \"tower\")]\nfn layer() {}",
        "struct S {\n    #[cfg(feature = \"tower\")]\n    layer: u8,\n}",
        "if cfg!(feature = \"tower\") {}",
        "#[cfg_attr(feature = \"serde\", derive(Serialize))]\npub struct S;",
        "#[cfg(not(feature = \"tower\"))]\nimpl S {}",
    ] {
        assert_eq!(features(text).len(), 1, "{text}");
    }
}

#[test]
fn a_feature_that_selects_a_module_is_no_violation() {
    for text in [
        "#[cfg(feature = \"tower\")]\npub mod layer;",
        "#[cfg(feature = \"tower\")]\n#[cfg_attr(docsrs, doc(cfg(feature = \"tower\")))]\npub(crate) use x::Y;",
        "#[cfg(feature = \"tower\")]\n// Why.\nmod layer;",
        "//! `#[cfg(feature = \"tower\")]`\nfn f() {}",
    ] {
        assert_eq!(features(text), [""; 0], "{text}");
    }
}

#[test]
fn a_panic_in_the_library_is_caught() {
    for text in [
        "x.unwrap()",
        "x\n    .expect(\"why\")",
        "panic!(\"no\")",
        "todo!()",
        "unreachable!()",
    ] {
        assert_eq!(panics("src/id.rs", text).len(), 1, "{text}");
        assert_eq!(panics("src/seal/ring/tests.rs", text), [""; 0], "{text}");
        assert_eq!(
            panics("src/store/conformance/tags.rs", text),
            [""; 0],
            "{text}"
        );
    }
    let fine = "// x.unwrap()\n\"panic!\"; x.unwrap_or(1); x.unwrap_or_else(f); expect(1);";
    assert_eq!(panics("src/id.rs", fine), [""; 0]);
}

#[test]
fn a_variable_of_the_environment_outside_the_configuration_is_caught() {
    let read = |path| {
        let text = "if std::env::var_os(\"X\").is_some() {}";
        rules::environment(&Source::new(path, text), &["tests", "env"]).len()
    };
    assert_eq!(read("src/session/load.rs"), 1);
    assert_eq!(read("src/config/env.rs"), 0);
    assert_eq!(read("src/store/file/tests/crash.rs"), 0);
}

#[test]
fn tests_inside_of_a_module_are_caught() {
    let inline = |text| rules::inline_tests(&Source::new("src/id.rs", text)).len();
    assert_eq!(inline("#[cfg(test)]\nmod tests {\n}"), 1);
    assert_eq!(inline("#[cfg(test)]\nfn helper() {}"), 1);
    assert_eq!(inline("#[cfg(test)]\nmod tests;"), 0);
}

#[test]
fn a_folder_that_the_architecture_leaves_out_is_caught() {
    let sources = [
        Source::new("src/store/mod.rs", ""),
        Source::new("src/id.rs", ""),
    ];
    assert_eq!(
        rules::unnamed(&sources, "`store/` keeps records; an idea"),
        ["id"]
    );
    assert_eq!(rules::unnamed(&sources, "store/ and id"), [""; 0]);
}

#[test]
fn code_is_separated_from_comments_and_literals_and_lines_are_kept() {
    for (text, code) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */\n d */ e", "a             \n      e"),
        (r#"f("b\"c") d"#, "f(      ) d"),
        (r##"f(r#"b"c"#) d"##, "f(        ) d"),
        (r##"f(br#"b"#) var"q""##, "f(       ) var   "),
        ("'a' '\\'' '\\u{1F}' &'a str", "                  &'a str"),
    ] {
        let (stripped, prose) = split(text);
        assert_eq!(stripped.trim_end(), code.trim_end(), "{text}");
        let both = |(a, b)| if a == ' ' { b } else { a };
        let joined: String = stripped.chars().zip(prose.chars()).map(both).collect();
        assert_eq!(joined, text);
    }
}
