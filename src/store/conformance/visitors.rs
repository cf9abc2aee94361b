//! Client-side stores, as the suite can ask them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderValue;

use crate::{
    id::StoreKey,
    store::{
        BoundStore, Capabilities, ClientSideStore, CookieContext, Expected, ReadOutcome,
        RequestStore, SetCookies, Store, StoreError, StoreFuture, WriteOutcome,
    },
};

type Jar = BTreeMap<String, String>;

/// A client-side store whose visitors are at hand: each key has a jar of its own, each call is one
/// request with that jar's cookies, and what the store sets is in the jar afterwards.
pub struct ClientSideHarness(Arc<Inner>);

struct Inner {
    bound: Box<dyn BoundStore>,
    jars: Mutex<BTreeMap<StoreKey, Jar>>,
}

impl ClientSideHarness {
    /// Visitors without cookies.
    ///
    /// # Errors
    /// When the store does not take the binding.
    pub fn new(
        store: &dyn ClientSideStore,
        binding: &CookieContext<'_>,
    ) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(Inner {
            bound: store.bind(binding)?,
            jars: Mutex::default(),
        })))
    }

    /// One request of the visitor who is known by `key`.
    fn visit<T, F>(&self, key: &StoreKey, call: F) -> StoreFuture<T>
    where
        T: Unpin + Send + 'static,
        F: FnOnce(&dyn RequestStore) -> StoreFuture<T>,
    {
        let (inner, key) = (self.0.clone(), *key);
        let attached = inner.bound.attach(&inner.line(&key));
        let answer = call(&*attached);
        StoreFuture::new(async move {
            let answer = answer.await?;
            let set = attached.set_cookies()?;
            inner.take(key, &set);
            Ok(answer)
        })
    }
}

impl Inner {
    fn line(&self, key: &StoreKey) -> Vec<HeaderValue> {
        let jars = self.jars.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs = jars.get(key).into_iter().flatten();
        let pairs: Vec<_> = pairs
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let line = HeaderValue::from_maybe_shared(Bytes::from(pairs.join("; ")));
        line.into_iter().filter(|line| !line.is_empty()).collect()
    }

    fn take(&self, key: StoreKey, set: &SetCookies) {
        let mut jars = self.jars.lock().unwrap_or_else(PoisonError::into_inner);
        let jar = jars.entry(key).or_default();
        for line in set.iter().filter_map(|line| line.to_str().ok()) {
            let (pair, attributes) = line.split_once("; ").unwrap_or((line, ""));
            let Some((name, value)) = pair.split_once('=') else {
                continue;
            };
            match attributes.split("; ").any(|it| it == "Max-Age=0") {
                true => jar.remove(name),
                false => jar.insert(name.to_owned(), value.to_owned()),
            };
        }
    }
}

impl Store for ClientSideHarness {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        self.visit(key, |store| store.read(key, touch))
    }

    fn write(
        &self,
        key: &StoreKey,
        data: Bytes,
        ttl: Duration,
        expected: Expected,
    ) -> StoreFuture<WriteOutcome> {
        self.visit(key, |store| store.write(key, data, ttl, expected))
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        self.visit(key, |store| store.destroy(key))
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        self.visit(key, |store| store.touch(key, ttl))
    }

    fn capabilities(&self) -> Capabilities {
        self.0.bound.capabilities()
    }
}

impl std::fmt::Debug for ClientSideHarness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientSideHarness(…)")
    }
}
