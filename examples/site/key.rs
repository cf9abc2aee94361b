//! The application key of somebody who has not set one.

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use hyper_session::id::SessionId;

/// The key in this file, which is made if it is not there: readable by its owner alone.
pub(crate) fn kept_in(path: &str) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    if let Ok(key) = fs::read_to_string(path) {
        return Ok(key.trim().to_owned());
    }
    let key = format!("{}{}", SessionId::generate()?, SessionId::generate()?);
    if let Some(folder) = Path::new(path).parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(key.as_bytes())?;
    println!("APP_KEY is not set: a key for this site is kept in {path}");
    Ok(key)
}
