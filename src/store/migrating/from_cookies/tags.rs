//! Tags of sessions in cookies and at the server.

use std::sync::Arc;

use crate::{
    id::StoreKey,
    store::{
        Store, StoreFuture, Tag,
        migrating::error::{MigratingError, MigratingResult},
    },
};

/// Maximum number of times that tagged sessions are listed while new ones appear.
const MAX_LIST_ROUNDS: usize = 16;

/// Lists the sessions with `tag` in the new store. Those in cookies are unknown.
pub(super) fn tagged(new: &dyn Store, tag: &Tag) -> StoreFuture<Vec<StoreKey>> {
    match new.tags() {
        Some(tags) => tags.tagged(tag),
        None => StoreFuture::ready(Err(MigratingError::NoTags.into())),
    }
}

/// Destroys all sessions with `tag` in the new store, after `revoking` has revoked the tag for cookies.
///
/// # Errors
/// If revoking fails. The sessions in the new store are destroyed even then.
pub(super) async fn destroy_tagged(
    revoking: Option<StoreFuture<()>>,
    new: Arc<dyn Store>,
    tag: Tag,
    except: Option<StoreKey>,
) -> MigratingResult<()> {
    let revoked = match revoking {
        Some(revoking) => revoking.await,
        None => Ok(()),
    };
    let tags = new.tags().ok_or(MigratingError::NoTags)?;
    if let Some(destroying) = tags.destroy_tagged(&tag, except.as_ref()) {
        destroying.await?;
        return revoked;
    }
    for _ in 0..MAX_LIST_ROUNDS {
        let mut keys = tags.tagged(&tag).await?;
        keys.retain(|key| Some(*key) != except);
        if keys.is_empty() {
            break;
        }
        for key in &keys {
            new.destroy(key).await?;
        }
    }
    revoked
}
