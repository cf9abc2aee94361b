//! `session-file`: looks into a file store's directory, and after it.
//!
//! Exit codes: 0 all is well, 1 damage or loss was found, 2 wrong usage, 3 the directory is in use,
//! 4 anything else went wrong.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool speaks by printing"
)]

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::{Parser, Subcommand};
use hyper_session::{
    clock::Clock,
    store::{
        FileStore,
        file::{FORMAT_VERSION, FileError, FileEvent, Inspection, SessionEntry},
    },
};
use indicatif::{ProgressBar, ProgressStyle};

/// Looks into the directory of a session file store, and after it. No server may have it open.
#[derive(Parser)]
#[command(name = "session-file", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Prints what the directory holds.
    Stats { directory: PathBuf },
    /// Reads every byte and says whether all of it is sound. Changes nothing.
    Verify { directory: PathBuf },
    /// Copies what is live together and deletes the rest.
    Compact { directory: PathBuf },
    /// Prints one line for each session, with its key hidden.
    Dump {
        directory: PathBuf,
        /// Shows keys in full. A key opens no session, but names one.
        #[arg(long)]
        keys: bool,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Stats { directory } => stats(&directory),
        Command::Verify { directory } => verify(&directory),
        Command::Compact { directory } => compact(&directory),
        Command::Dump { directory, keys } => dump(&directory, keys),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("session-file: {error}");
            ExitCode::from(code(error.as_ref()))
        }
    }
}

type Outcome = Result<bool, Box<dyn std::error::Error>>;

fn code(error: &(dyn std::error::Error + 'static)) -> u8 {
    match error.downcast_ref::<FileError>() {
        Some(FileError::InUse { .. }) => 3,
        Some(FileError::MissingSegment { .. } | FileError::DamagedSegment { .. }) => 1,
        _ => 4,
    }
}

/// A bar on standard error, which shows only where that is a terminal.
fn bar(what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} [{wide_bar}] {bytes}/{total_bytes} {eta}");
    let bar = ProgressBar::new(0).with_message(what);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn inspect(directory: &Path) -> Result<Inspection, FileError> {
    let bar = bar("reading");
    let inspection = Inspection::of(directory, |done, of| {
        bar.set_length(of);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    inspection
}

fn stats(directory: &Path) -> Outcome {
    let found = inspect(directory)?;
    let now = Clock::system().now();
    let count = |wanted: &dyn Fn(&SessionEntry) -> bool| {
        found.entries().iter().filter(|entry| wanted(entry)).count()
    };
    println!("format {FORMAT_VERSION}");
    println!("sessions {}", count(&|e| !e.destroyed && e.expires > now));
    println!("expired {}", count(&|e| !e.destroyed && e.expires <= now));
    println!("tombstones {}", count(&|e| e.destroyed && e.expires > now));
    println!("tagged {}", count(&|e| e.tags > 0));
    println!("segments {}", found.segments().len());
    println!(
        "bytes {}",
        found.segments().iter().map(|s| s.bytes).sum::<u64>()
    );
    println!("live-bytes {}", found.live_bytes());
    println!(
        "damaged {}",
        found.segments().iter().map(|s| s.damaged).sum::<u64>()
    );
    println!("missing {}", found.missing().len());
    Ok(found.is_sound())
}

fn verify(directory: &Path) -> Outcome {
    let found = inspect(directory)?;
    tell_damage(&found);
    let sound = found.is_sound();
    println!("{}", if sound { "sound" } else { "not sound" });
    Ok(sound)
}

fn tell_damage(found: &Inspection) {
    for segment in found.segments() {
        let path = segment.path.display();
        if !segment.readable {
            println!("{path}: the head cannot be read");
        }
        if segment.damaged > 0 {
            let (places, bytes) = (segment.damaged, segment.damaged_bytes);
            println!("{path}: {places} damaged places, {bytes} bytes");
        }
        if segment.torn_bytes > 0 {
            let bytes = segment.torn_bytes;
            println!("{path}: an unfinished append of {bytes} bytes, cut off at the next opening");
        }
        if segment.hint == Some(false) {
            println!("{path}: its hint file is wrong, and is made anew when it is deleted");
        }
    }
    for path in found.missing() {
        println!("{}: missing", path.display());
    }
}

fn compact(directory: &Path) -> Outcome {
    // Afterwards nothing tells of damage any more. And opening would make a store where there is
    // none, which is not what was asked for.
    let found = inspect(directory)?;
    tell_damage(&found);
    let bar = Arc::new(bar("compacting"));
    let shown = Arc::clone(&bar);
    let store = FileStore::builder(directory)
        .listener(move |event: &FileEvent<'_>| {
            if let FileEvent::Cleaned { bytes, .. } = event {
                shown.inc(*bytes);
            }
        })
        .open()?;
    let before = store.stats().disk_bytes;
    bar.set_length(before);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(store.compact())?;
    let after = store.stats().disk_bytes;
    runtime.block_on(store.close())?;
    bar.finish_and_clear();
    println!("{before} bytes before, {after} after");
    Ok(found.is_sound())
}

fn dump(directory: &Path, keys: bool) -> Outcome {
    let found = inspect(directory)?;
    println!("key version expires-ms bytes tags state");
    for entry in found.entries() {
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
        println!(
            "{key} {} {} {} {} {state}",
            entry.version,
            entry.expires.as_millis(),
            entry.bytes,
            entry.tags,
        );
    }
    Ok(found.is_sound())
}
