//! Violations of the rules about security.

use crate::{code::Source, guide, secrets, security};

const SECRET: [(&str, &str); 1] = [("src/id.rs", "Id")];

fn one(path: &str, text: &str) -> Vec<Source> {
    vec![Source::new(path, text)]
}

#[test]
fn a_test_that_does_not_exist_is_caught() {
    let sources = one(
        "tests/a.rs",
        "#[test]\nfn a_test() {}\n// fn in_a_comment()",
    );
    let table =
        |cell: &str| format!("| rule | tests |\n| --- | --- |\n| r | {cell} |\n\n`other`\n");
    let missing = |cell: &str| security::missing_tests(&table(cell), &sources);
    assert_eq!(missing("`a_test`"), Vec::<String>::new());
    assert_eq!(
        missing("`a_test` `in_a_comment`"),
        ["SECURITY.md:3: no test is named `in_a_comment`; update the table"]
    );
    assert_eq!(missing("none"), ["SECURITY.md:3: no test; name one"]);
    assert_eq!(security::missing_tests("text", &sources).len(), 1);
}

#[test]
fn a_function_that_does_not_run_as_a_test_is_no_test() {
    let table = "| rule | tests |\n| --- | --- |\n| r | `t` |\n";
    for (path, text, missing) in [
        ("tests/a.rs", "#[tokio::test]\nasync fn t() {}", 0),
        (
            "tests/a.rs",
            "#[tokio::test(start_paused = true)]\nasync fn t() {}",
            0,
        ),
        ("tests/a.rs", "#[test]\n#[should_panic]\nfn t() {}", 0),
        ("tests/a.rs", "#[cfg(test)]\nfn t() {}", 1),
        ("tests/a.rs", "#[cfg(feature = \"testing\")]\nfn t() {}", 1),
        ("tests/a.rs", "#[test]\n#[ignore = \"slow\"]\nfn t() {}", 1),
        ("tests/a.rs", "#[ignore]\n#[test]\nfn t() {}", 1),
        // No module declares the file.
        ("tests/a/b.rs", "#[test]\nfn t() {}", 1),
    ] {
        let mut sources = one(path, text);
        let violations = security::missing_tests(table, &sources);
        assert_eq!(violations.len(), missing, "{text}");
        sources.push(Source::new("tests/a/main.rs", "mod b;"));
        if path == "tests/a/b.rs" {
            assert!(security::missing_tests(table, &sources).is_empty());
        }
    }
}

#[test]
fn a_table_without_tests_is_caught() {
    let sources = one("tests/a.rs", "#[test]\nfn t() {}");
    let table = "| attacker | tests |\n| --- | --- |\n| r | `t` |\n\n";
    let violations = |head: &str| {
        let other = format!("{table}| {head} |\n| --- | --- |\n| a | b |\n");
        security::missing_tests(&other, &sources)
    };
    assert_eq!(
        violations("attacker | memory"),
        ["SECURITY.md:5: table without tests; add a column `tests`"]
    );
    assert_eq!(violations("attacker | has"), Vec::<String>::new());
}

#[test]
fn a_module_with_unlisted_unsafe_code_is_caught() {
    let table = "| module | tests |\n| --- | --- |\n| `src/a.rs` | `t` |\n";
    let check = |path, text| security::unsafe_modules(table, &one(path, text));
    assert_eq!(check("src/a.rs", "unsafe { f() }"), Vec::<String>::new());
    assert_eq!(check("src/b.rs", "unsafe { f() }").len(), 2);
    assert_eq!(
        check("src/a.rs", "// unsafe\nfn unsafe_methods() {}"),
        ["src/a.rs: no unsafe code; remove it from SECURITY.md"]
    );
}

#[test]
fn a_secret_that_is_not_erased_is_caught() {
    for text in [
        "struct Id([u8; 4]);\nimpl Drop for Id { fn drop(&mut self) { self.0.zeroize(); } }",
        "struct Id { text: Zeroizing<String> }",
    ] {
        let violations = secrets::not_erased(&one("src/id.rs", text), &SECRET);
        assert_eq!(violations, Vec::<String>::new());
    }
    for text in [
        "struct Id([u8; 4]);",
        "struct Id(u8); impl Drop for Ids { .zeroize() }",
        "",
    ] {
        assert_eq!(
            secrets::not_erased(&one("src/id.rs", text), &SECRET).len(),
            1
        );
    }
}

#[test]
fn a_secret_whose_comparison_ends_early_is_caught() {
    for (text, count) in [
        ("#[derive(Clone)] struct Id(u8);", 0),
        (
            "struct Id(u8); impl PartialEq for Id { fn eq() { a.ct_eq(b) } }",
            0,
        ),
        (
            "struct Other; #[derive(Clone, PartialEq)] struct Id(u8);",
            1,
        ),
        ("#[derive(PartialEq)] struct Other; struct Id(u8);", 0),
        (
            "struct Id(u8); impl PartialEq for Id { fn eq() { a == b } }",
            1,
        ),
    ] {
        let violations = secrets::not_constant_time(&one("src/id.rs", text), &SECRET);
        assert_eq!(violations.len(), count, "{text}");
    }
    for (text, count) in [
        ("// ct_eq(\nfn f() {}", 1),
        ("fn f() { a.ct_eq(b) }", 1),
        ("fn f() { a.ct_eq(b) && a.len() == 2 }", 0),
        ("fn f() { a.ct_eq(b) && a.len() == 2 && c != d }", 1),
    ] {
        let sources = one("src/a.rs", text);
        let violations = secrets::without_ct_eq(&sources, &[("src/a.rs", 1)]);
        assert_eq!(violations.len(), count, "{text}");
    }
}

#[test]
fn a_section_without_a_page_is_caught() {
    let pages = [Source::new("src/guide/a.md", "# Read")];
    let missing = |text: &str| guide::missing_pages(text, &pages);
    assert_eq!(
        missing("# comment\nReading = a.md: # Read\n"),
        Vec::<String>::new()
    );
    assert_eq!(
        missing("Reading = b.md: # Read"),
        ["line 1: \"Reading\": no page src/guide/b.md"]
    );
    assert_eq!(
        missing("Reading = a.md: # Write"),
        ["line 1: \"Reading\": no \"# Write\" in src/guide/a.md"]
    );
    assert_eq!(missing("Reading"), ["line 1: not `section = page: text`"]);
    assert_eq!(missing("# comment"), ["no section"]);
}
