//! `session-file`: inspects, repairs and compacts the directory of a file store.
//!
//! Exit codes: 0 success, 1 damage or data loss was found, 2 wrong usage, 3 the directory is in use,
//! 4 another error. A repair of damage is a success; its report states the number of dropped sessions.

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fmt::{self, Display},
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Args, Parser, Subcommand};
use hyper_session::{
    clock::Clock,
    seal::{KeyRing, SealKey},
    store::{
        FileStore,
        file::{
            FORMAT_VERSION, FileError, FileEvent, FileStoreBuilder, Finding, FindingKind,
            Inspection, OnDamage, SegmentReport, SessionEntry,
        },
    },
};
use indicatif::{ProgressBar, ProgressStyle};

/// Inspects, repairs and compacts the directory of a session file store. No server may have the directory
/// open.
///
/// Exit codes: 0 success, 1 damage or data loss was found, 2 wrong usage, 3 the directory is in use,
/// 4 another error. A repair of damage is a success; its report states the number of dropped sessions.
#[derive(Parser)]
#[command(name = "session-file", version)]
struct Arguments {
    #[command(subcommand)]
    command: ToolCommand,
}

#[derive(Subcommand)]
enum ToolCommand {
    /// Prints statistics of the directory.
    Stats {
        /// The store's directory.
        directory: PathBuf,
    },
    /// Reads all files and reports damage. Changes nothing.
    Verify {
        /// The store's directory.
        directory: PathBuf,
    },
    /// Makes a directory with damage usable: drops every session of which the damage may hide a newer
    /// state.
    Repair {
        /// The store's directory.
        directory: PathBuf,
        #[command(flatten)]
        keys: KeyArguments,
    },
    /// Compacts the log: keeps the live records and frees the rest of the space. With keys, encrypts the
    /// records of previous keys with the first key.
    Compact {
        /// The store's directory.
        directory: PathBuf,
        #[command(flatten)]
        keys: KeyArguments,
    },
    /// Prints one line for each session. Keys are hidden.
    Dump {
        /// The store's directory.
        directory: PathBuf,
        /// Prints keys in full. A key identifies a session, but gives no access to it.
        #[arg(long)]
        keys: bool,
    },
}

/// The keys of an encrypted store. They are secret, so the command line has only the names of environment
/// variables.
#[derive(Args)]
struct KeyArguments {
    /// Name of an environment variable with a key of an encrypted store. Repeat it for previous keys; the
    /// first key encrypts.
    #[arg(long = "key-env", value_name = "NAME")]
    variables: Vec<String>,
}

impl KeyArguments {
    /// Returns the key ring, if there is a key.
    fn ring(&self) -> Result<Option<KeyRing>, KeyVariableError> {
        let Some((first, previous)) = self.variables.split_first() else {
            return Ok(None);
        };
        let ring = KeyRing::new(read_key(first)?);
        let ring = previous.iter().try_fold(ring, |ring, name| {
            let added = ring.with_previous(read_key(name)?);
            added.map_err(|error| KeyVariableError::new(name, &error))
        });
        ring.map(Some)
    }
}

fn read_key(name: &str) -> Result<SealKey, KeyVariableError> {
    let text = env::var(name).map_err(|_| KeyVariableError::new(name, &"not set, or not UTF-8"))?;
    SealKey::from_text(&text).map_err(|error| KeyVariableError::new(name, &error))
}

/// An environment variable without a usable key.
#[derive(Debug)]
struct KeyVariableError(String);

impl KeyVariableError {
    fn new(name: &str, problem: &dyn Display) -> Self {
        Self(format!(
            "environment variable {name}: {problem}; set it to a key of the store"
        ))
    }
}

impl Display for KeyVariableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for KeyVariableError {}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        ToolCommand::Stats { directory } => stats(&directory),
        ToolCommand::Verify { directory } => verify(&directory),
        ToolCommand::Repair { directory, keys } => repair(&directory, &keys),
        ToolCommand::Compact { directory, keys } => compact(&directory, &keys),
        ToolCommand::Dump { directory, keys } => dump(&directory, keys),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let note = key_note(error.as_ref());
            // The reader may have closed it. The exit code also reports the failure.
            let _ = writeln!(
                io::stderr(),
                "session-file: {}{note}",
                with_sources(error.as_ref())
            );
            ExitCode::from(exit_code(error.as_ref()))
        }
    }
}

/// The result of a subcommand: `true` if it found no damage.
type CommandResult = Result<bool, Box<dyn Error>>;

/// Prints a line. It is not an error if the reader has closed the pipe, as `head` does.
fn print(line: impl Display) -> Result<(), Box<dyn Error>> {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("standard output: {error}; redirect it to another file").into())
        }
        _ => Ok(()),
    }
}

/// Returns the message of `error`, followed by those of its sources.
fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Returns a note for errors that a key can prevent.
fn key_note(error: &(dyn Error + 'static)) -> &'static str {
    match error.downcast_ref::<FileError>() {
        Some(FileError::NoKeys | FileError::Open(_)) => {
            "; pass the name of an environment variable with the key as `--key-env NAME`"
        }
        _ => "",
    }
}

fn exit_code(error: &(dyn Error + 'static)) -> u8 {
    if error.is::<KeyVariableError>() {
        return 2;
    }
    match error.downcast_ref::<FileError>() {
        Some(FileError::InUse { .. }) => 3,
        Some(FileError::Damaged { .. }) => 1,
        _ => 4,
    }
}

/// Creates a progress bar on standard error. It is visible only on a terminal.
fn progress_bar(message: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} [{wide_bar}] {bytes}/{total_bytes} {eta}");
    let bar = ProgressBar::new(0).with_message(message);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn inspect(directory: &Path) -> Result<Inspection, FileError> {
    let bar = progress_bar("reading");
    let inspection = Inspection::read(directory, |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    inspection
}

fn stats(directory: &Path) -> CommandResult {
    let inspection = inspect(directory)?;
    let now = Clock::system().now();
    let count = |filter: &dyn Fn(&SessionEntry) -> bool| {
        let entries = inspection.entries().iter();
        entries.filter(|entry| filter(entry)).count()
    };
    let sum = |value: &dyn Fn(&SegmentReport) -> u64| -> u64 {
        inspection.segments().iter().map(value).sum()
    };
    let formats = inspection.segments().iter().map(|segment| segment.format);
    let oldest = formats.filter(|format| *format > 0).min();
    print(format_args!("format {}", oldest.unwrap_or(FORMAT_VERSION)))?;
    print(format_args!(
        "sessions {}",
        count(&|e| !e.destroyed && e.expires > now)
    ))?;
    print(format_args!(
        "expired {}",
        count(&|e| !e.destroyed && e.expires <= now)
    ))?;
    print(format_args!(
        "tombstones {}",
        count(&|e| e.destroyed && e.expires > now)
    ))?;
    print(format_args!("tagged {}", count(&|e| e.tagged)))?;
    print(format_args!("encrypted {}", count(&|e| e.encrypted)))?;
    for (key, records) in records_by_key(&inspection) {
        print(format_args!("encrypted-with {key} {records}"))?;
    }
    print(format_args!("segments {}", inspection.segments().len()))?;
    print(format_args!("bytes {}", sum(&|segment| segment.bytes)))?;
    print(format_args!("live-bytes {}", inspection.live_bytes()))?;
    print(format_args!("damaged {}", sum(&|segment| segment.damaged)))?;
    let missing = |finding: &Finding| match finding.kind {
        FindingKind::Missing { segments } => u64::from(segments),
        _ => 0,
    };
    let missing: u64 = inspection.findings().iter().map(missing).sum();
    print(format_args!("missing {missing}"))?;
    Ok(inspection.is_sound())
}

/// Returns the number of records that each key encrypted, including expired ones.
fn records_by_key(inspection: &Inspection) -> BTreeMap<String, u64> {
    let mut records = BTreeMap::new();
    for entry in inspection.entries().iter().filter(|entry| entry.encrypted) {
        let key = entry
            .key_id
            .map_or("unknown".to_owned(), |key| key.to_string());
        *records.entry(key).or_default() += 1;
    }
    records
}

fn verify(directory: &Path) -> CommandResult {
    let inspection = inspect(directory)?;
    print_findings(&inspection)?;
    let sound = inspection.is_sound();
    if inspection.segments().is_empty() {
        print("no segments")?;
    }
    print(if sound { "sound" } else { "not sound" })?;
    Ok(sound)
}

fn print_findings(inspection: &Inspection) -> Result<(), Box<dyn Error>> {
    for finding in inspection.findings() {
        let remedy = match finding.kind {
            _ if finding.is_loss() => "acknowledged data may be lost",
            _ if finding.handled => "an earlier opening has handled it",
            FindingKind::WrongHint { .. } => "the next opening replaces it",
            FindingKind::IncompleteAppend => "the next opening removes it",
            _ => "nothing that was known to be durable is lost",
        };
        let path = finding.path.display();
        print(format_args!("{path}: {finding}; {remedy}"))?;
    }
    Ok(())
}

/// Returns a builder with the key ring, if there is one.
fn builder(directory: &Path, keys: &KeyArguments) -> Result<FileStoreBuilder, KeyVariableError> {
    let builder = FileStore::builder(directory);
    Ok(match keys.ring()? {
        Some(ring) => builder.encrypt_with(&ring),
        None => builder,
    })
}

fn repair(directory: &Path, keys: &KeyArguments) -> CommandResult {
    let builder = builder(directory, keys)?;
    // Opening would create a store if there is none; the inspection fails then.
    let inspection = inspect(directory)?;
    print_findings(&inspection)?;
    let bar = Arc::new(progress_bar("repairing"));
    let listener_bar = Arc::clone(&bar);
    let store = builder
        .on_damage(OnDamage::DropUncertain)
        .verify_on_open(true)
        .listener(move |event: &FileEvent<'_>| {
            if let FileEvent::Opening { done, total } = event {
                listener_bar.set_length(*total);
                listener_bar.set_position(*done);
            }
        })
        .open()?;
    let stats = store.stats();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(store.close())?;
    bar.finish_and_clear();
    print(format_args!(
        "{} sessions kept, {} sessions and tombstones dropped",
        stats.records, stats.dropped
    ))?;
    Ok(true)
}

fn compact(directory: &Path, keys: &KeyArguments) -> CommandResult {
    let builder = builder(directory, keys)?;
    // The inspection comes first because a compaction removes all traces of damage. It also fails if
    // there is no store; opening would create one.
    let inspection = inspect(directory)?;
    print_findings(&inspection)?;
    let bar = Arc::new(progress_bar("compacting"));
    let listener_bar = Arc::clone(&bar);
    // A hint may hide damage, and a compaction would drop the damaged sessions.
    let store = builder
        .verify_on_open(true)
        .listener(move |event: &FileEvent<'_>| {
            if let FileEvent::Compacted { bytes, .. } = event {
                listener_bar.inc(*bytes);
            }
        })
        .open()?;
    let before = store.stats().disk_bytes;
    bar.set_length(before);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(store.compact())?;
    let after = store.stats();
    runtime.block_on(store.close())?;
    bar.finish_and_clear();
    print(format_args!(
        "{before} bytes before, {} after",
        after.disk_bytes
    ))?;
    if after.previous_key > 0 && !keys.variables.is_empty() {
        print(format_args!(
            "{} records need a key that is not the first one",
            after.previous_key
        ))?;
    }
    Ok(inspection.is_sound())
}

fn dump(directory: &Path, keys: bool) -> CommandResult {
    let inspection = inspect(directory)?;
    print("key version expires-ms bytes tagged state")?;
    for entry in inspection.entries() {
        let key = if keys {
            entry.key.to_string()
        } else {
            format!("{:?}", entry.key)
        };
        let state = if entry.destroyed {
            "destroyed"
        } else {
            "record"
        };
        print(format_args!(
            "{key} {} {} {} {} {state}",
            entry.version,
            entry.expires.as_millis(),
            entry.bytes,
            if entry.tagged { "yes" } else { "no" },
        ))?;
    }
    Ok(inspection.is_sound())
}
