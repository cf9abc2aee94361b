//! From one store to another while sessions live.

mod error;
mod leaving;
mod mark;
mod pair;
mod tags;
mod versions;

use std::{fmt, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;

use self::{error::MigratingError, leaving::Service, pair::Pair};
use super::{
    BoundStore, Capabilities, ClientSideStore, CookieContext, Expected, ReadOutcome, Store,
    StoreError, StoreFuture, Tag, TagStore, WriteOutcome,
};
use crate::id::StoreKey;

/// Two stores that look like one: sessions move from the old store to the new one as they are used,
/// and nobody is logged out.
///
/// A clone is the same store.
///
/// # What happens
///
/// - A session is looked for in the new store, and where it is not there in the old one.
/// - A new session comes into being in the new store.
/// - A session of the old store moves when it is written on, or renewed (a read or touch that sets
///   its lifetime). So after the longest lifetime that sessions had, whoever comes back has been
///   moved: `Migrating` can then give way to the new store alone.
/// - What ends a session ends it in both.
///
/// The promises are those of the [contract](Store), as far as both stores keep them: no write is
/// lost, whatever moves the session meanwhile, and whoever stops half way: the next request
/// finishes what another began. Only a renewal that moves a session gives it another version, so a
/// request that read it before meets a conflict, and does its work again on the same data. Sessions
/// are not [counted](Store::count).
///
/// # On several machines
///
/// While some machines know the old store alone, sessions must not leave it, for those machines
/// would not find them. So the change is made in steps, each of them by an ordinary restart of one
/// machine after another:
///
/// 1. [`prepare`](Self::prepare) on all machines: what others have moved is found, nothing is moved.
/// 2. [`new`](Self::new) on all machines: sessions move.
/// 3. The new store alone, after the longest lifetime of a session.
///
/// Without the first step no write is lost either. But a machine that knows the old store alone
/// takes a session that has moved for ended, or answers 503 in the first minute; and a log-out there
/// can be undone that comes at the very moment when another machine moves the session.
///
/// # From cookies
///
/// The old store may be a [`CookieStore`](super::CookieStore), the new one may not: a session that is
/// at the server does not move into a cookie. Then this store is of use in
/// [`Sessions`](crate::Sessions) alone, and some things are different:
///
/// - Who is known to the new store, be it alive or dead, is not looked for in cookies. A session
///   leaves its cookie by a write that expects nothing in the new store, so of several requests with
///   the same cookie one brings it over, and the others do their work again on what that one wrote.
///   Its tags go along, and its cookie is removed.
/// - While [`prepare`](Self::prepare) leaves sessions in cookies, the last answer wins there as ever;
///   what has moved is at the server from then on, on every machine.
/// - Without a request there is only what has moved: [`SessionCollection`](crate::session::SessionCollection) finds
///   no others. It ends others where the cookie store has a
///   [revocation list](super::CookieStore::with_revocation), which works as before: a cookie is revoked
///   when its session moves, and logging out everywhere ends sessions in cookies as well as at the
///   server. Without a list that is an error, for sessions in cookies would stay; those at the
///   server have ended even so.
/// - Without a list, who has kept a copy of both cookies from before the move can come back by them
///   when the session has been ended or has got another id, and the new store has forgotten
///   that (a minute, unless configured), until that copy expires: so it is of every session that
///   was in a cookie.
///
/// A session that moves takes one write, or two with one more call for each of its tags, a look at
/// the revocation list where there is one, and an entry in it.
///
/// # What it costs
///
/// A request whose session is in the new store costs what it costs there. A session of the old
/// store is looked up twice until it moves. Moving takes three writes in the place of one, with two
/// looks for tags, and one write more where there are some; a new session takes two. A visitor
/// whose session has ended is looked up three times.
///
/// # Limits
///
/// Both stores must keep conditional writes, if they are at the server, and give versions below 2⁶³ (see
/// [`Version`](super::Version)), or what they answer is an error. For a minute after a session has
/// moved or begun, a record of 17 bytes stands in the old store; while it moves, its data takes 25
/// bytes more there. There are tags where both stores have them. An untag at the moment when the
/// session moves may be without effect.
///
/// # Example
///
/// ```no_run
/// # #[cfg(all(feature = "file", feature = "redis", unix))]
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use hyper_session::{SessionConfig, Sessions};
/// use hyper_session::store::{FileStore, Migrating, RedisStore};
///
/// let file = FileStore::open("/var/lib/shop/sessions")?;
/// let redis = RedisStore::builder("redis://127.0.0.1/").build()?;
/// let sessions = Sessions::new(SessionConfig::default().with_env()?, Migrating::new(file, redis))?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct MigratingStore(Arc<Pair>);

impl MigratingStore {
    /// Sessions move from the store `from` to the store `to`.
    pub fn new(from: impl Store, to: impl Store) -> Self {
        Self::over(from, to, true)
    }

    /// Sessions stay in the store `from`, and those that others have moved are found in `to`: for
    /// the time when not all machines know both stores.
    pub fn prepare(from: impl Store, to: impl Store) -> Self {
        Self::over(from, to, false)
    }

    fn over(from: impl Store, to: impl Store, moves: bool) -> Self {
        let (old, new) = (Arc::new(from), Arc::new(to));
        Self(Arc::new(Pair { old, new, moves }))
    }

    fn doing<T, F>(&self, work: impl FnOnce(Arc<Pair>) -> F) -> StoreFuture<T>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        StoreFuture::new(work(Arc::clone(&self.0)))
    }
}

impl fmt::Debug for MigratingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MigratingStore")
            .field("moves", &self.0.moves)
            .finish_non_exhaustive()
    }
}

impl Store for MigratingStore {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        let key = *key;
        self.doing(|pair| async move { pair.read(&key, touch).await })
    }

    /// Writes where the session lives, and moves it to the new store.
    ///
    /// # Errors
    /// When one of the stores cannot answer; whether the write was applied is then unknown.
    fn write(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> StoreFuture<WriteOutcome> {
        let key = *key;
        self.doing(|pair| async move { pair.write(&key, data, ttl, expected).await })
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        let key = *key;
        self.doing(|pair| async move { pair.destroy(&key).await })
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        let key = *key;
        self.doing(|pair| async move { pair.touch(&key, ttl).await })
    }

    /// What both stores can do.
    fn capabilities(&self) -> Capabilities {
        let (old, new) = (self.0.old.capabilities(), self.0.new.capabilities());
        Capabilities {
            conditional_writes: old.conditional_writes && new.conditional_writes,
            tombstones: old.tombstones && new.tombstones,
            persistent: old.persistent && new.persistent,
            shared: old.shared && new.shared,
            list_by_tag: old.list_by_tag && new.list_by_tag,
        }
    }

    fn tags(&self) -> Option<&dyn TagStore> {
        self.0.tags().ok().map(|_| self as &dyn TagStore)
    }

    /// Waits for the old store, then for the new one.
    fn ready(&self) -> StoreFuture<()> {
        self.doing(|pair| async move {
            pair.old.ready().await?;
            pair.new.ready().await
        })
    }

    fn client_side(&self) -> Option<&dyn ClientSideStore> {
        let stores = [&self.0.old, &self.0.new];
        let any = stores.iter().any(|store| store.client_side().is_some());
        any.then_some(self as &dyn ClientSideStore)
    }
}

/// Where sessions come from their visitors' cookies.
impl ClientSideStore for MigratingStore {
    /// # Errors
    /// When it is the new store that keeps sessions in cookies.
    fn bind(&self, binding: &CookieContext<'_>) -> Result<Box<dyn BoundStore>, StoreError> {
        let Pair { old, new, moves } = &*self.0;
        match (old.client_side(), new.client_side()) {
            (Some(old), None) => {
                let old = old.bind(binding)?;
                Ok(Box::new(Service::new(old, Arc::clone(new), *moves)))
            }
            _ => Err(MigratingError::IntoCookies.into()),
        }
    }
}

impl TagStore for MigratingStore {
    fn tag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<bool> {
        let (key, tag) = (*key, tag.clone());
        self.doing(|pair| async move { pair.tags()?.tag(&key, &tag).await })
    }

    fn untag(&self, key: &StoreKey, tag: &Tag) -> StoreFuture<()> {
        let (key, tag) = (*key, tag.clone());
        self.doing(|pair| async move { pair.tags()?.untag(&key, &tag).await })
    }

    fn tagged(&self, tag: &Tag) -> StoreFuture<Vec<StoreKey>> {
        let tag = tag.clone();
        self.doing(|pair| async move { pair.tags()?.tagged(&tag).await })
    }

    fn tags_of(&self, key: &StoreKey) -> StoreFuture<Vec<Tag>> {
        let key = *key;
        self.doing(|pair| async move { pair.tags()?.tags_of(&key).await })
    }

    fn copy_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()> {
        let (from, to) = (*from, *to);
        self.doing(|pair| async move { pair.tags()?.copy_tags(&from, &to).await })
    }

    fn move_tags(&self, from: &StoreKey, to: &StoreKey) -> StoreFuture<()> {
        let (from, to) = (*from, *to);
        self.doing(|pair| async move { pair.tags()?.move_tags(&from, &to).await })
    }
}
