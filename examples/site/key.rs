//! A generated application key, stored in a file.

use std::{fs, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use hyper_session::id::SessionId;

/// Returns the key in this file. Creates the file if it does not exist, readable only by its owner.
pub(crate) fn load_or_create(
    path: &str,
) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
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
    println!("APP_KEY is not set: created a key in {path}");
    Ok(key)
}
