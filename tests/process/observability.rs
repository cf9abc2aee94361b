//! The observability example as a process, its dashboard and its alerts.

use std::{collections::BTreeSet, net::SocketAddr, process::Command};

use hyper_session::{Sessions, service::MetricKind};
use serde_json::Value;

use crate::support::{ServerProcess, example, net::Remote, scratch::Scratch, secrets};

const APP_KEY: &str = "a secret that no documentation holds";
const DASHBOARD: &str = include_str!("../../examples/observability/dashboard.json");
const ALERTS: &str = include_str!("../../examples/observability/alerts.yml");
const GUIDE: &str = include_str!("../../src/guide/alerts.md");

/// The running example. Killed when dropped.
struct Service {
    process: ServerProcess,
    metrics: SocketAddr,
}

impl Service {
    fn start(variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(example("observability"));
        command
            .env_clear()
            .env("ADDR", "127.0.0.1:0")
            .env("METRICS_ADDR", "127.0.0.1:0")
            .env("APP_KEY", APP_KEY)
            .envs(variables.iter().copied());
        let process = ServerProcess::start(&mut command);
        let metrics = process.head.lines().find_map(|line| {
            let address = line.strip_prefix("metrics on http://")?;
            address.strip_suffix("/metrics")?.parse().ok()
        });
        let metrics = metrics.unwrap();
        Self { process, metrics }
    }

    /// Kills the program, and returns its log.
    fn log(self) -> String {
        self.process.signal("KILL");
        self.process.wait().stderr
    }
}

#[tokio::test]
async fn a_scrape_has_the_metrics_of_the_visits() {
    let folder = Scratch::new();
    let location = folder.path().join("sessions");
    let service = Service::start(&[
        ("RUST_LOG", "info"),
        ("SESSION_DRIVER", "file"),
        ("SESSION_FILE_LOCATION", location.to_str().unwrap()),
    ]);
    let first = Remote::http1(service.metrics).get("/metrics").await;
    for event in ["store_stopped", "record_unreadable", "prefix_shared"] {
        let line = format!("hyper_session_events_total{{event=\"{event}\"}} 0");
        let mut lines = first.text().lines();
        assert!(lines.any(|other| other == line), "{line}\n{}", first.text());
    }
    let mut visitor = Remote::http1(service.process.address);
    for visit in 1..=3 {
        let answer = visitor.get("/").await;
        assert_eq!(answer.text(), format!("visit number {visit}\n"));
    }
    let mut prometheus = Remote::http1(service.metrics);
    assert_eq!(prometheus.get("/").await.status, 404);
    let answer = prometheus.get("/metrics").await;
    let scrape = answer.text();
    for line in [
        "hyper_session_load_seconds_count{store=\"file\",outcome=\"new\"} 1",
        "hyper_session_load_seconds_count{store=\"file\",outcome=\"found\"} 2",
        "hyper_session_commit_seconds_count{store=\"file\",outcome=\"stored\"} 3",
        "hyper_session_events_total{event=\"committed\"} 3",
        "hyper_session_store_records{store=\"file\"} 1",
        "hyper_session_file_segments{store=\"file\"} 1",
        "hyper_session_queued_commits 0",
        "# TYPE hyper_session_load_seconds histogram",
        "# TYPE hyper_session_file_disk_bytes gauge",
        "# HELP hyper_session_queued_commits Commits that wait for another commit of their session",
    ] {
        assert!(
            scrape.lines().any(|other| other == line),
            "{line}\n{scrape}"
        );
    }
    // Prometheus gets the names that the crate describes, and no others.
    let described = names();
    let own = scrape
        .lines()
        .filter(|line| line.starts_with("hyper_session_"));
    for name in own.map(|line| line.split(['{', ' ']).next().unwrap()) {
        assert!(described.contains(name), "{name}");
    }
    let log = service.log();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(
        log.contains("event=\"started\" store=\"file\" cookie=\"session\""),
        "{log}"
    );
}

#[tokio::test]
async fn a_file_store_that_stops_is_one_line_and_one_event() {
    let folder = Scratch::new();
    let location = folder.path().join("sessions");
    let service = Service::start(&[
        ("RUST_LOG", "warn"),
        ("SESSION_DRIVER", "file"),
        ("SESSION_FILE_LOCATION", location.to_str().unwrap()),
        ("SESSION_FILE_DURABILITY", "always"),
    ]);
    let mut visitor = Remote::http1(service.process.address);
    assert_eq!(visitor.get("/").await.status, 200);
    std::fs::rename(&location, folder.path().join("moved")).unwrap();
    for _ in 0..3 {
        assert_eq!(visitor.get("/").await.status, 503);
    }
    let answer = Remote::http1(service.metrics).get("/metrics").await;
    let line = "hyper_session_events_total{event=\"store_stopped\"} 1\n";
    assert!(answer.text().contains(line), "{}", answer.text());
    let log = service.log();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("event=\"store_stopped\""), "{log}");
}

#[tokio::test]
async fn the_log_at_level_trace_and_the_metrics_contain_no_secret() {
    let folder = Scratch::new();
    let location = folder.path().join("sessions");
    let service = Service::start(&[
        ("SESSION_DRIVER", "file"),
        ("SESSION_FILE_LOCATION", location.to_str().unwrap()),
    ]);
    let site = service.process.address;
    let mut visitor = Remote::http1(site);
    for _ in 0..3 {
        visitor.get("/").await;
    }
    let metrics = Remote::http1(service.metrics).get("/metrics").await;
    secrets::check(site, Some(APP_KEY), metrics.text());
    // The end of the process checks its log.
    let log = service.log();
    assert_eq!(log.matches("event=\"committed\"").count(), 3, "{log}");
}

/// Returns the names of all metrics, as Prometheus knows them.
fn names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for metric in Sessions::describe_metrics() {
        if metric.kind == MetricKind::Histogram {
            let parts = ["bucket", "count", "sum"].map(|part| format!("{}_{part}", metric.name));
            names.extend(parts);
        } else {
            names.insert(metric.name.to_owned());
        }
    }
    names
}

/// The labels of the metrics.
const LABELS: [&str; 5] = ["store", "outcome", "event", "reason", "le"];

/// The words of PromQL that the expressions use.
const WORDS: [&str; 6] = ["sum", "by", "rate", "increase", "histogram_quantile", "e"];

/// The values of labels, and the units of ranges, are not names.
fn without_strings_and_ranges(expression: &str) -> String {
    let mut text = String::new();
    let mut end = None;
    for c in expression.chars() {
        match end {
            Some(last) if c == last => end = None,
            Some(_) => {}
            None if c == '"' => end = Some('"'),
            None if c == '[' => end = Some(']'),
            None => text.push(c),
        }
    }
    assert_eq!(end, None, "{expression}");
    text
}

/// Checks that an expression consists of metrics, labels and functions. Returns its metrics.
#[track_caller]
fn check(expression: &str) -> BTreeSet<String> {
    let metrics = names();
    let text = without_strings_and_ranges(expression);
    for (open, close) in [('(', ')'), ('{', '}')] {
        let count = |c| text.matches(c).count();
        assert_eq!(count(open), count(close), "{expression}");
    }
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let words = words.map(|word| word.trim_start_matches(|c: char| c.is_ascii_digit()));
    let mut used = BTreeSet::new();
    for word in words.filter(|word| !word.is_empty() && !word.starts_with("e6")) {
        if metrics.contains(word) {
            used.insert(word.to_owned());
        } else {
            let is_known = LABELS.contains(&word) || WORDS.contains(&word);
            assert!(is_known, "{word} in {expression}");
        }
    }
    assert!(!used.is_empty(), "{expression}");
    used
}

#[test]
fn the_dashboard_shows_every_metric_and_no_unknown_one() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut shown = BTreeSet::new();
    for target in panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap())
    {
        shown.extend(check(target["expr"].as_str().unwrap()));
        let legend = target["legendFormat"].as_str().unwrap();
        for label in legend.split("{{").skip(1) {
            let label = label.split("}}").next().unwrap();
            assert!(LABELS.contains(&label), "{legend}");
        }
    }
    for metric in Sessions::describe_metrics() {
        assert!(
            ["", "_bucket", "_count", "_sum"]
                .iter()
                .any(|suffix| shown.contains(&format!("{}{suffix}", metric.name))),
            "{}",
            metric.name
        );
    }
    let ids: std::collections::BTreeSet<_> = panels
        .iter()
        .map(|panel| panel["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids.len(), panels.len());
}

#[test]
fn the_alerts_use_known_metrics_and_events_and_are_in_the_guide() {
    let field = |name: &'static str| {
        let lines = ALERTS.lines().map(str::trim_start);
        lines.filter_map(move |line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let (alerts, expressions) = (field("- alert"), field("expr"));
    let mut count = 0;
    let events = include_str!("../../src/guide/events.md");
    for (alert, expression) in alerts.zip(expressions) {
        count += 1;
        check(expression);
        assert!(
            GUIDE.contains(&format!("{alert}: {expression}\n")),
            "{alert}"
        );
        assert!(GUIDE.contains(&format!("| `{alert}`, ")), "{alert}");
        for part in expression.split("event=\"").skip(1) {
            let event = part.split('"').next().unwrap();
            assert!(events.contains(&format!("| `{event}` |")), "{event}");
        }
        for part in expression.split("outcome=").skip(1) {
            let outcomes = part.split('"').nth(1).unwrap();
            for outcome in outcomes.split('|') {
                assert!(events.contains(&format!("`{outcome}`")), "{outcome}");
            }
        }
    }
    assert_eq!(count, ALERTS.matches("alert: ").count());
}
