//! Tests of stores that keep records in cookies.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderValue;

use crate::{
    id::StoreKey,
    store::{
        BoundStore, Capabilities, ClientSideStore, CookieContext, ReadOutcome, RequestStore,
        SetCookies, Store, StoreError, StoreFuture, WriteOutcome, WriteRequest,
    },
    sync,
};

/// Cookie names and values of one visitor.
type CookieJar = BTreeMap<String, String>;

/// A client-side store together with its visitors, as a [`Store`] that the suite can test.
///
/// Each key is a visitor with a cookie jar. Each call is one request with the cookies of that jar, and
/// the jar then takes the cookies that the store sets.
pub struct ClientSideHarness(Arc<Inner>);

struct Inner {
    bound: Box<dyn BoundStore>,
    jars: Mutex<BTreeMap<StoreKey, CookieJar>>,
}

impl ClientSideHarness {
    /// Returns the harness, with empty cookie jars.
    ///
    /// # Errors
    /// If the store cannot be bound to `context`.
    pub fn new(
        store: &dyn ClientSideStore,
        context: &CookieContext<'_>,
    ) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(Inner {
            bound: store.bind(context)?,
            jars: Mutex::default(),
        })))
    }

    /// Runs `call` in one request of the visitor with this key.
    fn request<T, F>(&self, key: &StoreKey, call: F) -> StoreFuture<T>
    where
        T: Unpin + Send + 'static,
        F: FnOnce(&dyn RequestStore) -> StoreFuture<T>,
    {
        let (inner, key) = (self.0.clone(), *key);
        let request = inner.bound.attach(&inner.cookie_lines(&key));
        let future = call(&*request);
        StoreFuture::new(async move {
            let outcome = future.await?;
            inner.store_cookies(key, &request.set_cookies(false)?);
            Ok(outcome)
        })
    }
}

impl Inner {
    fn cookie_lines(&self, key: &StoreKey) -> Vec<HeaderValue> {
        let jars = sync::lock(&self.jars);
        let pairs = jars.get(key).into_iter().flatten();
        let pairs: Vec<_> = pairs
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let line = HeaderValue::from_maybe_shared(Bytes::from(pairs.join("; ")));
        line.into_iter().filter(|line| !line.is_empty()).collect()
    }

    fn store_cookies(&self, key: StoreKey, cookies: &SetCookies) {
        let mut jars = sync::lock(&self.jars);
        let jar = jars.entry(key).or_default();
        for line in cookies.iter().filter_map(|line| line.to_str().ok()) {
            let (pair, attributes) = line.split_once("; ").unwrap_or((line, ""));
            let Some((name, value)) = pair.split_once('=') else {
                continue;
            };
            match attributes
                .split("; ")
                .any(|attribute| attribute == "Max-Age=0")
            {
                true => jar.remove(name),
                false => jar.insert(name.to_owned(), value.to_owned()),
            };
        }
    }
}

impl Store for ClientSideHarness {
    fn read(&self, key: &StoreKey, touch: Option<Duration>) -> StoreFuture<ReadOutcome> {
        self.request(key, |store| store.read(key, touch))
    }

    fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
        let key = request.key;
        self.request(&key, |store| store.write(request))
    }

    fn destroy(&self, key: &StoreKey) -> StoreFuture<()> {
        self.request(key, |store| store.destroy(key))
    }

    fn touch(&self, key: &StoreKey, ttl: Duration) -> StoreFuture<bool> {
        self.request(key, |store| store.touch(key, ttl))
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
