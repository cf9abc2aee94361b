//! Import circles are found, and nothing else is taken for one.

use crate::{circles::circles, code::Source};

fn found(files: &[(&str, &str)]) -> Vec<String> {
    let source = |(path, text): &(&str, &str)| Source::new(path, text);
    circles(&files.iter().map(source).collect::<Vec<_>>())
}

#[test]
fn a_circle_of_two_files_is_caught_and_says_who_closes_it() {
    let violations = found(&[
        ("src/store/mod.rs", "mod a;\nmod b;"),
        ("src/store/a.rs", "use super::b::B;"),
        ("src/store/b.rs", "fn f() -> super::a::A { todo() }"),
    ]);
    assert_eq!(
        violations,
        ["an import circle of store/a, store/b:\n    \
          src/store/a.rs names super::b::B\n    src/store/b.rs names super::a::A"]
    );
}

#[test]
fn a_circle_of_three_files_in_groups_is_one_circle() {
    let violations = found(&[
        ("src/store/a.rs", "use super::{b::{self, B}, d};"),
        (
            "src/store/b.rs",
            "use crate::{id::Id, store::{c::C as D, d::*}};",
        ),
        ("src/store/c.rs", "use super::a;"),
        ("src/store/d.rs", "use std::fmt;"),
    ]);
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert!(violations[0].starts_with("an import circle of store/a, store/b, store/c:"));
}

#[test]
fn a_circle_through_a_subfolder_is_caught() {
    let files = [
        ("src/store/redis/mod.rs", "mod client;\nmod builder;"),
        ("src/store/redis/builder.rs", "use super::client::Client;"),
        ("src/store/redis/client/mod.rs", "mod config;"),
        (
            "src/store/redis/client/config.rs",
            "use crate::store::redis::builder::Settings;",
        ),
    ];
    assert_eq!(found(&files).len(), 1);
    assert_eq!(found(&files[..3]), [""; 0]);
}

#[test]
fn a_module_in_a_file_of_another_name_is_followed() {
    let violations = found(&[
        (
            "src/session/mod.rs",
            "mod a;\n#[path = \"no_span.rs\"]\nmod span;",
        ),
        ("src/session/a.rs", "use super::span::Span;"),
        ("src/session/no_span.rs", "use super::a::A;"),
    ]);
    assert_eq!(violations.len(), 1);
}

#[test]
fn a_reexport_of_a_folders_own_module_closes_no_circle() {
    let violations = found(&[
        (
            "src/store/mod.rs",
            "mod a;\nmod b;\npub use a::A;\npub(crate) use b::B;\nuse self::b::Inner;\nconst MAX: u8 = 1;",
        ),
        ("src/store/a.rs", "use super::{B, MAX};"),
        (
            "src/store/b.rs",
            "use super::A;\npub(in crate::store) struct B;",
        ),
    ]);
    assert_eq!(violations, [""; 0]);
}

#[test]
fn comments_literals_and_unit_tests_close_no_circle() {
    let violations = found(&[
        (
            "src/store/a.rs",
            "use super::b::B;\n#[cfg(test)]\nmod tests;",
        ),
        ("src/store/a/tests.rs", "use super::super::b::B;"),
        (
            "src/store/b.rs",
            "// super::a::A\nconst A: &str = \"super::a::A\";",
        ),
        ("src/store/b/tests.rs", "use crate::store::a::A;"),
    ]);
    assert_eq!(violations, [""; 0]);
}
