//! The built-in store `redis`, in a program that was built without it.

use super::{ConfigError, RedisStoreConfig};
use crate::{session::Listeners, store::Store};

pub(super) fn open(_: &RedisStoreConfig, _: &Listeners) -> Result<Box<dyn Store>, ConfigError> {
    let why = "the store `redis` is not in this program: it takes the feature `redis`";
    Err(ConfigError::new("store", why))
}
