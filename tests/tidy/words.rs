//! Words that say less than a plain one.

use crate::code::{Source, is_name};

/// Words or phrases, each with its plural or other forms, and the plain word.
pub(crate) type Denied = (&'static [&'static str], &'static str);

/// A file, a word that it may use, and the reason.
pub(crate) type Exception = (&'static str, &'static str, &'static str);

/// Lists the denied words in comments, literals and prose.
pub(crate) fn denied(source: &Source, denied: &[Denied], exceptions: &[Exception]) -> Vec<String> {
    let words = words(&source.prose);
    let is_exception = |phrase: &str| {
        let mut files = exceptions.iter().filter(|(_, word, _)| *word == phrase);
        files.any(|(path, ..)| *path == source.path)
    };
    let phrases = denied
        .iter()
        .flat_map(|(phrases, plain)| phrases.iter().map(move |phrase| (*phrase, *plain)));
    let mut violations = Vec::new();
    for (phrase, plain) in phrases.filter(|(phrase, _)| !is_exception(phrase)) {
        for line in lines_with(&words, phrase) {
            let violation = format!("{}:{line}: \"{phrase}\"; {plain}", source.path);
            violations.push((line, violation));
        }
    }
    violations.sort();
    violations.into_iter().map(|(_, message)| message).collect()
}

/// Returns `true` if a source uses a word or phrase in comments, literals or prose.
pub(crate) fn uses(source: &Source, phrase: &str) -> bool {
    !lines_with(&words(&source.prose), phrase).is_empty()
}

/// Returns the lines where a phrase begins.
fn lines_with(words: &[(usize, String)], phrase: &str) -> Vec<usize> {
    let parts: Vec<&str> = phrase.split(' ').collect();
    let matches = |window: &&[(usize, String)]| {
        let mut pairs = window.iter().zip(&parts);
        pairs.all(|((_, word), part)| word == part)
    };
    let windows = words.windows(parts.len()).filter(matches);
    windows.map(|window| window[0].0).collect()
}

/// Returns the words of a text in lower case, each with its line.
fn words(prose: &str) -> Vec<(usize, String)> {
    let lines = prose.lines().enumerate();
    let words = |(number, line)| {
        let words = str::split(line, |c| !is_name(c)).filter(|word| !word.is_empty());
        words.map(move |word: &str| (number + 1, word.to_lowercase()))
    };
    lines.flat_map(words).collect()
}
