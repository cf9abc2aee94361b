//! Denied words are found in comments, literals and documents.

use crate::{code::Source, plain, words};

fn denied(path: &str, text: &str) -> Vec<String> {
    let exceptions = [("src/form/csrf.rs", "vault", "a product is called so")];
    words::denied(&Source::new(path, text), &plain::DENIED_WORDS, &exceptions)
}

#[test]
fn a_denied_word_in_a_comment_or_literal_is_caught_with_its_line() {
    assert_eq!(
        denied(
            "src/id.rs",
            "fn f() {}\n\n/// Whoever knows the id.\nfn g() {}"
        ),
        ["src/id.rs:3: \"whoever\"; name the subject: a caller, a client"]
    );
    for text in [
        "//! A store that is told.",
        "// sealed anew",
        "/* a\n convoy */",
        "const A: &str = \"the client tells it\";",
        "const A: &str = r#\"nobody's \"session\"\"#;",
        "/// The text as it\n/// stands.",
    ] {
        assert_eq!(denied("src/id.rs", text).len(), 1, "{text}");
    }
}

#[test]
fn a_denied_word_in_a_document_is_caught() {
    assert_eq!(
        denied("README.md", "# Keys\n\nfn told() `told` **Told**").len(),
        3
    );
}

#[test]
fn plain_words_and_code_are_no_violation() {
    for text in [
        "// It reports to the caller, stores the text, and is a storyteller's.",
        "let told = vault(anew);",
        "// it is\n// as stands",
    ] {
        assert_eq!(denied("src/id.rs", text), [""; 0], "{text}");
    }
}

#[test]
fn an_exception_holds_for_its_file_and_word_only() {
    assert_eq!(denied("src/form/csrf.rs", "// vault"), [""; 0]);
    assert_eq!(denied("src/form/csrf.rs", "// convoy").len(), 1);
    assert_eq!(denied("src/form/input.rs", "// vault").len(), 1);
}
