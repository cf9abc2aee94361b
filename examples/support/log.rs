//! The log of the examples, on stderr.
//!
//! `RUST_LOG` sets its level; the default is `info`. It has entries of the sessions if the feature `tracing`
//! is enabled.

use tracing_subscriber::filter::LevelFilter;

/// Starts the log of the process.
///
/// # Errors
/// If `RUST_LOG` is not a level.
pub(crate) fn start() -> Result<(), String> {
    let level = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
    let filter: LevelFilter = level
        .parse()
        .map_err(|_| format!("RUST_LOG={level}: not a level; set `info`, for example"))?;
    tracing_subscriber::fmt()
        .with_max_level(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    Ok(())
}
