//! The built-in store `redis` in a program that was built without it.

use super::{ConfigError, RedisStoreConfig};
use crate::{session::Listeners, store::Store};

pub(super) fn open(
    _: &RedisStoreConfig,
    _: &Listeners,
    _: Vec<[u8; 16]>,
) -> Result<Box<dyn Store>, ConfigError> {
    let problem = "store `redis` is not part of this program; build it with the feature `redis`";
    Err(ConfigError::new("store", problem))
}
