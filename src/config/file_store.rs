//! The built-in store `file`.

use super::{ConfigError, FileSection};
use crate::store::{FileStore, Store, file::FileError};

pub(super) fn open(section: &FileSection) -> Result<Box<dyn Store>, ConfigError> {
    let mut builder = FileStore::builder(&section.location);
    if let Some(text) = &section.durability {
        let durability = text.parse().map_err(|error| {
            let what = format!("{text:?} is none of `always`, `os` or a time");
            ConfigError::caused("stores.file.durability", error).of(what)
        })?;
        builder = builder.durability(durability);
    }
    match builder.open() {
        Ok(store) => Ok(Box::new(store)),
        Err(error) => {
            let setting = match error {
                FileError::Option { .. } => "stores.file.durability",
                _ => "stores.file.location",
            };
            Err(ConfigError::caused(setting, error))
        }
    }
}
