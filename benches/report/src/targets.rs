//! The targets, beside what was measured.

use std::fs;

use crate::{figures::Results, tables};

/// The names of a table's columns.
const HEAD: [&str; 5] = ["", "target", "measured", "run", ""];

/// A number that a figure must not exceed, or must reach.
struct Target {
    name: &'static str,
    limit: f64,
    measure: Measure,
    reason: Reason,
}

/// The figure of a target, with the row of its benchmark.
#[derive(Clone, Copy)]
enum Measure {
    /// Processor time over a socket, beside bare hyper: contender and row.
    OverHyper(&'static str, &'static str),
    /// Requests in a second of processor time, beside AdonisJS.
    OverAdonis(&'static str),
    /// Net time in process, beside tower-sessions with a private cookie: cookie policy and row.
    OverTower(&'static str, &'static str),
    /// Accepted instructions.
    Instructions(&'static str),
}

/// The reason why a target is missed.
#[derive(Clone, Copy)]
enum Reason {
    Instructions,
    LockedOperations,
    Append,
    Open,
    /// No server on hyper can reach the factor.
    Hyper,
}

/// A target and its figure.
pub struct Outcome {
    pub name: String,
    pub target: String,
    pub measured: String,
    /// The commit and the date of the run.
    pub run: String,
    pub verdict: String,
    is_measured: bool,
}

static TARGETS: &[Target] = {
    use Measure::{Instructions, OverAdonis, OverHyper, OverTower};
    &[
        target(
            "untouched",
            1.04,
            OverHyper("hyper-session", "untouched"),
            Reason::LockedOperations,
        ),
        target(
            "read",
            1.10,
            OverHyper("hyper-session", "read one key"),
            Reason::LockedOperations,
        ),
        target(
            "increment",
            1.18,
            OverHyper("hyper-session", "increment one key"),
            Reason::LockedOperations,
        ),
        target(
            "rolling cookie, untouched",
            1.08,
            OverHyper("hyper-session, rolling cookie", "untouched"),
            Reason::LockedOperations,
        ),
        target(
            "file store, increment",
            1.5,
            OverHyper("hyper-session, file store", "increment one key"),
            Reason::Append,
        ),
        target("read", 40.0, OverAdonis("read one key"), Reason::Hyper),
        target(
            "increment",
            40.0,
            OverAdonis("increment one key"),
            Reason::Hyper,
        ),
        target(
            "untouched",
            0.06,
            OverTower("WhenUsed", "untouched, 260 B"),
            Reason::Instructions,
        ),
        target(
            "rolling cookie, untouched",
            0.12,
            OverTower("Rolling", "untouched, 260 B"),
            Reason::Instructions,
        ),
        target(
            "read",
            0.12,
            OverTower("WhenUsed", "read one key, 260 B"),
            Reason::Instructions,
        ),
        target(
            "increment",
            0.15,
            OverTower("WhenUsed", "increment one key, 260 B"),
            Reason::Instructions,
        ),
        target(
            "read of 4 KB",
            0.05,
            OverTower("WhenUsed", "read one key, 4 KB"),
            Reason::Instructions,
        ),
        target(
            "read by strangers in turn",
            0.2,
            OverTower("WhenUsed", "read one key, cold visitors"),
            Reason::Open,
        ),
        target(
            "untouched",
            1300.0,
            Instructions("socket, when used, untouched"),
            Reason::Instructions,
        ),
        target(
            "read",
            3700.0,
            Instructions("socket, when used, read"),
            Reason::Instructions,
        ),
        target(
            "increment",
            5300.0,
            Instructions("socket, when used, increment"),
            Reason::Instructions,
        ),
        target(
            "rolling cookie, untouched",
            3100.0,
            Instructions("socket, rolling, untouched"),
            Reason::Instructions,
        ),
        target(
            "file store, increment",
            8500.0,
            Instructions("socket, file store, increment"),
            Reason::Instructions,
        ),
    ]
};

const fn target(name: &'static str, limit: f64, measure: Measure, reason: Reason) -> Target {
    Target {
        name,
        limit,
        measure,
        reason,
    }
}

impl Measure {
    const fn label(self) -> &'static str {
        match self {
            Self::OverHyper(..) => "over a socket, times bare hyper",
            Self::OverAdonis(_) => "requests a CPU second, times AdonisJS",
            Self::OverTower(..) => "in process, times tower-sessions private",
            Self::Instructions(_) => "instructions over a socket",
        }
    }

    /// The figure must reach the number.
    const fn is_least(self) -> bool {
        matches!(self, Self::OverAdonis(_))
    }

    fn value(self, results: &Results) -> Option<f64> {
        match self {
            Self::OverHyper(name, row) => results.value("sockets", row, name, "times its base"),
            Self::OverAdonis(row) => over_adonis(results, "hyper-session", row),
            Self::OverTower(policy, row) => {
                let time = |contender: &str| results.value("requests", row, contender, "ns");
                let ours = time(&format!("hyper-session {policy} Typed"))?;
                Some(ours / time("tower-sessions private")?)
            }
            Self::Instructions(row) => counted(row),
        }
    }

    /// Returns the lowest and the highest of the rounds, if they were recorded.
    fn spread(self, results: &Results) -> Option<(f64, f64)> {
        match self {
            Self::OverHyper(name, row) => {
                let figure = results.figure("sockets", row, name, "times its base");
                figure?.spread()
            }
            Self::OverAdonis(_) | Self::OverTower(..) | Self::Instructions(_) => None,
        }
    }

    /// Returns the commit and the date of the run.
    fn run(self, results: &Results) -> String {
        let bench = match self {
            Self::OverHyper(..) | Self::OverAdonis(_) => "sockets",
            Self::OverTower(..) => "requests",
            Self::Instructions(_) => return "the accepted counts".to_owned(),
        };
        let fact = |name: &str| results.fact(bench, name).unwrap_or("unknown");
        let date = fact("date").split(' ').next().unwrap_or_default();
        format!("{}, {date}", fact("commit"))
    }

    /// Returns the reason why the target is missed.
    fn reason(self, reason: Reason, results: &Results) -> String {
        match (reason, self) {
            (Reason::Hyper, Self::OverAdonis(row)) => match over_adonis(results, "hyper", row) {
                Some(best) => format!(
                    "hyper without sessions has {best:.0} times; see *Requests over sockets*"
                ),
                None => "hyper without sessions is below the target, too".to_owned(),
            },
            (Reason::Append, _) => {
                "an append is a call into the kernel; see *The stores* for a bare one".to_owned()
            }
            (Reason::Open, _) => {
                "the cookie is opened by AES-256-GCM-SIV, since the cache does not have it"
                    .to_owned()
            }
            (Reason::LockedOperations, _) => {
                "instructions and locked operations; see *Instructions* and *Two threads*"
                    .to_owned()
            }
            (Reason::Instructions | Reason::Hyper, _) => {
                "no large part is left; see *Instructions*".to_owned()
            }
        }
    }
}

fn over_adonis(results: &Results, contender: &str, row: &str) -> Option<f64> {
    let time = |contender: &str| results.value("sockets", row, contender, "µs");
    Some(time("AdonisJS sessions")? / time(contender)?)
}

/// Returns the accepted instructions of a row.
fn counted(row: &str) -> Option<f64> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../instructions/accepted.tsv");
    let text = fs::read_to_string(path).ok()?;
    let mut rows = text.lines().map(|line| line.split('\t'));
    rows.find_map(|mut fields| match fields.next() == Some(row) {
        true => fields.next()?.parse().ok(),
        false => None,
    })
}

/// Returns all targets.
pub fn outcomes(results: &Results) -> Vec<Outcome> {
    TARGETS.iter().map(|it| it.outcome(results)).collect()
}

impl Target {
    fn outcome(&self, results: &Results) -> Outcome {
        let measure = self.measure;
        let value = measure.value(results);
        let verdict = value.map_or_else(
            || "not measured".to_owned(),
            |value| self.verdict(value, results),
        );
        let limit = text(self.limit);
        Outcome {
            name: format!("{}: {}", measure.label(), self.name),
            target: match measure.is_least() {
                true => format!("at least {limit}"),
                false => limit,
            },
            measured: value.map(text).unwrap_or_default(),
            run: value.map(|_| measure.run(results)).unwrap_or_default(),
            verdict,
            is_measured: value.is_some(),
        }
    }

    /// Returns the verdict on a figure. If some rounds reached the target and others missed it, it is open.
    fn verdict(&self, value: f64, results: &Results) -> String {
        let measure = self.measure;
        let is_met = match measure.is_least() {
            true => value >= self.limit,
            false => value <= self.limit,
        };
        match measure.spread(results) {
            Some((lowest, highest)) if (lowest..=highest).contains(&self.limit) => {
                format!("within the spread: {lowest:.2} to {highest:.2}")
            }
            _ if is_met => "reached".to_owned(),
            _ => format!("missed: {}", measure.reason(self.reason, results)),
        }
    }
}

fn text(value: f64) -> String {
    match value {
        it if it >= 10.0 => tables::number(it),
        it => format!("{it:.2}"),
    }
}

/// Returns the targets as a table in Markdown. A target that was not measured keeps its line of the table `before`.
pub fn table(results: &Results, before: &str) -> String {
    let row = |it: Outcome| {
        let start = format!("| {} |", it.name);
        let kept = before.lines().find(|line| line.starts_with(&start));
        match kept.map(cells) {
            Some(cells) if !it.is_measured && cells.len() == HEAD.len() => cells,
            _ => vec![it.name, it.target, it.measured, it.run, it.verdict],
        }
    };
    tables::markdown(&HEAD, outcomes(results).into_iter().map(row))
}

/// Returns the cells of a line `| ... | ... |`.
fn cells(line: &str) -> Vec<String> {
    let line = line.trim_start_matches("| ").trim_end_matches(" |");
    line.split(" | ").map(|it| it.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figure;

    const READ: &str = "over a socket, times bare hyper: read";

    fn line(results: &Results, before: &str) -> String {
        let table = table(results, before);
        let line = table.lines().find(|it| it.contains(READ));
        line.expect("each target has a line").to_owned()
    }

    #[test]
    fn a_target_that_was_not_measured_keeps_its_line() {
        let before = format!("| {READ} | 1.10 | 1.17 | abc, 2026-01-02 | missed: why |\n");
        assert_eq!(line(&Results::default(), &before), before.trim_end());
        assert_eq!(
            line(&Results::default(), ""),
            format!("| {READ} | 1.10 | | | not measured |")
        );
    }

    /// Returns the results of a run with one figure, and its lowest and highest round.
    fn read_of(value: f64, spread: Option<(f64, f64)>) -> Results {
        Results {
            figures: vec![Figure {
                bench: "sockets".to_owned(),
                row: "read one key".to_owned(),
                contender: "hyper-session".to_owned(),
                unit: "times its base".to_owned(),
                value,
                lowest: spread.map(|it| it.0),
                highest: spread.map(|it| it.1),
            }],
            ..Results::default()
        }
    }

    #[test]
    fn a_target_that_was_measured_replaces_its_line() {
        let before = format!("| {READ} | 1.10 | 1.17 | abc, 2026-01-02 | missed: why |\n");
        assert_eq!(
            line(&read_of(1.09, None), &before),
            format!("| {READ} | 1.10 | 1.09 | unknown, unknown | reached |")
        );
    }

    #[test]
    fn a_target_is_reached_or_missed_only_outside_the_spread_of_the_rounds() {
        let verdict = |value, lowest, highest| {
            let line = line(&read_of(value, Some((lowest, highest))), "");
            let verdict = line.trim_end_matches(" |").rsplit("| ").next();
            verdict.expect("a line has cells").to_owned()
        };
        assert_eq!(verdict(1.08, 1.05, 1.09), "reached");
        assert!(verdict(1.12, 1.11, 1.15).starts_with("missed: "));
        assert_eq!(verdict(1.08, 1.05, 1.12), "within the spread: 1.05 to 1.12");
        assert_eq!(verdict(1.12, 1.09, 1.15), "within the spread: 1.09 to 1.15");
    }
}
