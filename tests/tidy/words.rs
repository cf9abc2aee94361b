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
    let mut found = Vec::new();
    for (phrase, plain) in denied
        .iter()
        .flat_map(|(phrases, plain)| phrases.iter().map(move |phrase| (*phrase, *plain)))
        .filter(|(phrase, _)| !is_exception(phrase))
    {
        let parts: Vec<&str> = phrase.split(' ').collect();
        for window in words.windows(parts.len()) {
            if window
                .iter()
                .zip(&parts)
                .all(|((_, word), part)| word == part)
            {
                let line = window[0].0;
                found.push((
                    line,
                    format!("{}:{line}: \"{phrase}\"; {plain}", source.path),
                ));
            }
        }
    }
    found.sort();
    found.into_iter().map(|(_, message)| message).collect()
}

/// The words of a text in lower case, each with its line.
fn words(prose: &str) -> Vec<(usize, String)> {
    let lines = prose.lines().enumerate();
    let words = |(number, line)| {
        let words = str::split(line, |c| !is_name(c)).filter(|word| !word.is_empty());
        words.map(move |word: &str| (number + 1, word.to_lowercase()))
    };
    lines.flat_map(words).collect()
}
