//! Stores whose records travel with the visitor.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;
use smallvec::SmallVec;

use super::{Store, StoreError};
use crate::{
    cookie::{Attributes, CookieName},
    id::StoreKey,
    seal::KeyRing,
};

/// The `Cookie` lines of one request, as they came. Cloning a line copies no text.
pub type CookieLines = SmallVec<[HeaderValue; 1]>;

/// `Set-Cookie` lines to append to one response.
pub type SetCookies = SmallVec<[HeaderValue; 1]>;

/// A store whose records travel in cookies, so that it answers only for one request at a time.
///
/// It is bound to the keys and the cookie of a service once, when the service's sessions are built;
/// what comes of that is attached to each request that opens its session.
pub trait ClientSideStore: Send + Sync {
    /// The store under the keys and names of one service.
    ///
    /// # Errors
    /// When the store cannot work with them.
    fn bind(&self, binding: &CookieContext<'_>) -> Result<Box<dyn BoundStore>, StoreError>;
}

/// A client-side store that knows its keys. As a [`Store`] it answers without a request, which is
/// little: what it cannot know then, it answers by an error.
pub trait BoundStore: Store {
    /// The store as a request with these `Cookie` lines sees it. Nothing is opened yet.
    fn attach(&self, lines: &[HeaderValue]) -> Arc<dyn RequestStore>;
}

/// A client-side store in one request.
pub trait RequestStore: Store {
    /// What the response has to set, if nothing more is done. Asked at the end, and after whatever an
    /// explicit commit has stored.
    ///
    /// # Errors
    /// When it cannot be sealed.
    fn outgoing(&self) -> Result<SetCookies, StoreError>;

    /// Why what the request carried was refused, in words that hold nothing of it; `None` where
    /// nothing was.
    fn rejected(&self) -> Option<&'static str>;

    /// Whether the visitor's cookies hold a live session under `key`, as far as they tell by
    /// themselves: nobody is asked whether it was revoked.
    fn holds(&self, key: &StoreKey) -> bool;
}

/// What a client-side store gets from the service that it works for.
#[derive(Clone, Copy, Debug)]
pub struct CookieContext<'a> {
    /// The keys. The first seals, all open.
    pub keys: &'a KeyRing,
    /// The name of the id cookie.
    pub name: &'a CookieName,
    /// The attributes of the id cookie.
    pub attributes: &'a Attributes,
    /// No `Max-Age`: browsers drop their cookies when they close.
    pub clear_with_browser: bool,
    /// The longest that a record is asked to live at once.
    pub longest: Duration,
}
