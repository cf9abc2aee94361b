//! Ending all that carries a tag, in cookies and at the server.

use std::sync::Arc;

use super::carry::Answer;
use crate::{
    id::StoreKey,
    store::{Store, StoreFuture, Tag, migrating::error::MigratingError},
};

/// How often the tagged sessions are listed at most, while new ones keep appearing.
const MAX_ROUNDS: usize = 16;

/// Ends what `tag` marks in the new store, once the old one has taken note for its cookies. Where
/// it cannot, that is the answer, and what is at the server has ended all the same.
pub(super) async fn end_everywhere(
    noting: Option<StoreFuture<()>>,
    new: Arc<dyn Store>,
    tag: Tag,
    but: Option<StoreKey>,
) -> Answer<()> {
    let noted = match noting {
        Some(noting) => noting.await,
        None => Ok(()),
    };
    let tags = new.tags().ok_or(MigratingError::NoTags)?;
    if let Some(ending) = tags.destroy_tagged(&tag, but.as_ref()) {
        ending.await?;
        return noted;
    }
    for _ in 0..MAX_ROUNDS {
        let mut keys = tags.tagged(&tag).await?;
        keys.retain(|key| Some(*key) != but);
        if keys.is_empty() {
            break;
        }
        for key in &keys {
            new.destroy(key).await?;
        }
    }
    noted
}
