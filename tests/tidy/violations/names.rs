//! Names that are not unique or not plain are found.

use crate::{code::Source, names, plain};

fn duplicates(files: &[(&str, &str)]) -> Vec<String> {
    let source = |(path, text): &(&str, &str)| Source::new(path, text);
    let sources: Vec<Source> = files.iter().map(source).collect();
    names::duplicates(&sources, &plain::SHARED_TYPE_NAMES)
}

fn denied(path: &str, text: &str) -> usize {
    let source = Source::new(path, text);
    names::denied(&source, &plain::DENIED_NAME_PARTS, &plain::DENIED_NAMES).len()
}

#[test]
fn a_type_name_in_two_modules_is_caught() {
    let violations = duplicates(&[
        ("src/document/insertion.rs", "struct Place;"),
        ("src/store/redis/executor.rs", "\npub(crate) enum Place {}"),
    ]);
    assert_eq!(
        violations,
        [
            "2 types are called `Place`:\n    src/document/insertion.rs:1: `Place`\n    \
          src/store/redis/executor.rs:2: `Place`"
        ]
    );
    for text in [
        "trait Place {}",
        "type Place = u8;",
        "fn f() { struct Place(u8); }",
    ] {
        let files = [("src/a.rs", "union Place {}"), ("src/b.rs", text)];
        assert_eq!(duplicates(&files).len(), 1, "{text}");
    }
}

#[test]
fn names_that_modules_may_share_are_no_violation() {
    let own = |text| duplicates(&[("src/a.rs", text), ("src/b.rs", text)]);
    assert_eq!(
        own("enum Error {}\nstruct Builder;\nstruct Inner;"),
        [""; 0]
    );
    assert_eq!(own("impl Store for S {\n    type Future = u8;\n}"), [""; 0]);
    assert_eq!(
        own("// struct Place;\nconst A: &str = \"enum Place\";"),
        [""; 0]
    );
    let tests = [
        ("src/a.rs", "struct Model;"),
        ("src/a/tests.rs", "struct Model;"),
    ];
    assert_eq!(duplicates(&tests), [""; 0]);
}

#[test]
fn two_files_that_a_feature_chooses_between_may_declare_one_name() {
    for declared in [
        "#[cfg(feature = \"x\")]\nmod on;\n#[cfg(not(feature = \"x\"))]\nmod off;",
        "#[cfg(feature = \"x\")]\nmod on;\n#[cfg(not(feature = \"x\"))]\n#[path = \"off.rs\"]\nmod on;",
    ] {
        let violations = duplicates(&[
            ("src/trace/mod.rs", declared),
            ("src/trace/on.rs", "struct Span;"),
            ("src/trace/off.rs", "struct Span;"),
        ]);
        assert_eq!(violations, [""; 0], "{declared}");
    }
}

#[test]
fn a_metaphor_in_a_name_is_caught() {
    for text in [
        "struct Convoy;",
        "pub(crate) struct SmallConvoy<'a>(&'a str);",
        "fn tell_damage() {}",
        "impl S {\n    async fn mend(&self) {}\n}",
        "enum Nudge {}",
        "trait Keeper {}",
    ] {
        assert_eq!(denied("src/id.rs", text), 1, "{text}");
    }
    assert_eq!(denied("src/store/file/vault.rs", ""), 1);
    assert_eq!(denied("src/store/vault/mod.rs", ""), 1);
}

#[test]
fn a_name_of_a_bare_participle_preposition_or_adverb_is_caught() {
    for text in [
        "struct Opened;",
        "enum What {}",
        "fn over() {}",
        "pub(super) const fn but() {}",
    ] {
        assert_eq!(denied("src/id.rs", text), 1, "{text}");
    }
    assert_eq!(denied("src/store/cookie/there.rs", ""), 1);
}

#[test]
fn plain_names_are_no_violation() {
    for text in [
        "struct Tombstone;\nfn is_opened() {}\nfn overflow_key() {}",
        "fn find_by_tag() {}\nstruct NotFound;\nfn storyteller() {}",
        "// fn tell() {}\nconst A: &str = \"struct Convoy\";",
        "let told = f(); telling::fnord(); x.tell();",
    ] {
        assert_eq!(denied("src/id.rs", text), 0, "{text}");
    }
    assert_eq!(denied("src/store/file/tests.rs", "fn tell() {}"), 0);
}
