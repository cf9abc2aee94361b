//! The results of the benchmarks.

use std::{fs, io::ErrorKind, path::Path};

use serde::Deserialize;

/// The benchmarks of the report, in its order.
pub const BENCHES: [&str; 5] = ["sockets", "stores", "growth", "hot_session", "requests"];

/// One figure of a benchmark.
#[derive(Clone, Debug, Deserialize)]
pub struct Figure {
    pub bench: String,
    pub row: String,
    pub contender: String,
    pub unit: String,
    pub value: f64,
    /// The lowest of the rounds, and the highest. Most benchmarks do not record them.
    #[serde(default)]
    pub lowest: Option<f64>,
    #[serde(default)]
    pub highest: Option<f64>,
}

impl Figure {
    /// Returns the lowest and the highest of the rounds.
    pub fn spread(&self) -> Option<(f64, f64)> {
        Some((self.lowest?, self.highest?))
    }
}

/// A fact about a run: its commit, its date, the machine, or a part that was not measured.
#[derive(Clone, Debug, Deserialize)]
pub struct Fact {
    pub bench: String,
    pub fact: String,
    pub value: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Figure(Figure),
    Fact(Fact),
}

/// The figures and facts of the last run of each benchmark.
#[derive(Default)]
pub struct Results {
    pub figures: Vec<Figure>,
    pub facts: Vec<Fact>,
}

impl Results {
    /// Reads the files `BENCH.jsonl` of a folder.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let mut results = Self::default();
        for bench in BENCHES {
            let path = folder.join(format!("{bench}.jsonl"));
            let text = match fs::read_to_string(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                text => text.map_err(|error| format!("{}: {error}", path.display()))?,
            };
            for (number, line) in text.lines().enumerate() {
                let line = serde_json::from_str(line)
                    .map_err(|error| format!("{}:{}: {error}", path.display(), number + 1))?;
                match line {
                    Line::Figure(figure) => results.figures.push(figure),
                    Line::Fact(fact) => results.facts.push(fact),
                }
            }
        }
        match results.figures.is_empty() {
            false => Ok(results),
            true => Err(format!(
                "{}: no figures; run scripts/bench-report.sh without --draw",
                folder.display()
            )),
        }
    }

    /// Returns the figures of a benchmark.
    pub fn of<'a>(&'a self, bench: &'a str) -> impl Iterator<Item = &'a Figure> {
        self.figures.iter().filter(move |it| it.bench == bench)
    }

    pub fn is_measured(&self, bench: &str) -> bool {
        self.of(bench).next().is_some()
    }

    pub fn value(&self, bench: &str, row: &str, contender: &str, unit: &str) -> Option<f64> {
        self.figure(bench, row, contender, unit).map(|it| it.value)
    }

    pub fn figure(&self, bench: &str, row: &str, contender: &str, unit: &str) -> Option<&Figure> {
        let is_same = |it: &&Figure| {
            (it.row.as_str(), it.contender.as_str(), it.unit.as_str()) == (row, contender, unit)
        };
        self.figures
            .iter()
            .filter(|it| it.bench == bench)
            .find(is_same)
    }

    /// Returns a fact of a run.
    pub fn fact(&self, bench: &str, fact: &str) -> Option<&str> {
        let is_same = |it: &&Fact| (it.bench.as_str(), it.fact.as_str()) == (bench, fact);
        self.facts.iter().find(is_same).map(|it| it.value.as_str())
    }

    /// Returns the benchmarks and the parts of them that were not measured.
    pub fn missing(&self) -> Vec<String> {
        let benches = BENCHES.iter().filter(|it| !self.is_measured(it));
        let parts = self.facts.iter().filter(|it| it.fact == "not measured");
        benches
            .map(|it| (*it).to_owned())
            .chain(parts.map(|it| format!("{}: {}", it.bench, it.value)))
            .collect()
    }
}

/// Returns `true` for a contender that is the limit of another one.
pub fn is_limit(contender: &str) -> bool {
    contender.starts_with("limit of ")
}

/// Returns the name of the limit, and that of the contender whose limit it is.
pub fn limit_of(contender: &str) -> Option<(&str, &str)> {
    let (of, name) = contender.strip_prefix("limit of ")?.split_once(": ")?;
    Some((name, of))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(text: &str) -> Figure {
        match serde_json::from_str(text) {
            Ok(Line::Figure(figure)) => figure,
            _ => panic!("no figure: {text}"),
        }
    }

    #[test]
    fn a_figure_of_an_earlier_run_has_no_spread() {
        let start = r#"{"bench":"sockets","row":"r","contender":"c","unit":"u","value":1.5"#;
        assert_eq!(figure(&format!("{start}}}")).spread(), None);
        let with = figure(&format!(r#"{start},"lowest":1.4,"highest":1.7}}"#));
        assert_eq!(with.spread(), Some((1.4, 1.7)));
    }
}
