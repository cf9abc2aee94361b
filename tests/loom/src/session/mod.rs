//! The queue of a session's commits, over a store of the model. A session is the list of the changes that it got.

mod commit;

pub(crate) use hyper_session::{SessionError, session::ContentionReason};

/// The engine.
mod engine {
    use std::time::Duration;

    use super::commit::queue::CommitQueues;
    use crate::{
        id::StoreKey,
        store::{
            Expected, ReadOutcome, Record, Store, StoreFuture, Version, WriteOutcome, WriteRequest,
        },
    };

    #[derive(Debug, Default)]
    pub(crate) struct Engine {
        pub(crate) queues: CommitQueues,
        pub(crate) policy: Policy,
        pub(crate) backend: Backend,
    }

    #[derive(Debug)]
    pub(crate) struct Policy {
        pub(crate) commit_timeout: Duration,
    }

    impl Default for Policy {
        fn default() -> Self {
            let commit_timeout = Duration::from_secs(5);
            Self { commit_timeout }
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Backend(ModelStore);

    impl Backend {
        pub(crate) fn store(&self) -> &dyn Store {
            &self.0
        }
    }

    /// A store of one record.
    #[derive(Debug, Default)]
    struct ModelStore(std::sync::Mutex<Option<Record>>);

    impl Store for ModelStore {
        fn read(&self, _: &StoreKey, _: Option<Duration>) -> StoreFuture<ReadOutcome> {
            loom::thread::yield_now();
            let record = self.0.lock().unwrap().clone();
            let outcome = record.map_or(ReadOutcome::Absent, ReadOutcome::Found);
            StoreFuture::new(async { Ok(outcome) })
        }

        fn write(&self, request: WriteRequest) -> StoreFuture<WriteOutcome> {
            loom::thread::yield_now();
            let mut stored = self.0.lock().unwrap();
            let version = stored.as_ref().map(|record| record.version);
            let outcome = match (request.expected, stored.as_ref()) {
                (Expected::Version(expected), _) if version != Some(expected) => stored
                    .clone()
                    .map_or(WriteOutcome::Gone, WriteOutcome::Conflict),
                (Expected::Absent, Some(record)) => WriteOutcome::Conflict(record.clone()),
                _ => {
                    let number = version.map_or(0, Version::get) + 1;
                    let next = Version::new(number).unwrap();
                    *stored = Some(Record::new(request.data, next));
                    WriteOutcome::Done(next)
                }
            };
            StoreFuture::new(async { Ok(outcome) })
        }

        fn destroy(&self, _: &StoreKey) -> StoreFuture<()> {
            unreachable!("no commit of the models destroys")
        }

        fn touch(&self, _: &StoreKey, _: Duration) -> StoreFuture<bool> {
            unreachable!("no commit of the models touches")
        }
    }
}

/// Rotations. There are none in the models.
mod rotation {
    use bytes::Bytes;

    use super::engine::Engine;
    use crate::id::{SessionId, StoreKey};

    pub(crate) struct Forward {
        pub(crate) id: SessionId,
    }

    pub(crate) fn forward(_: &Engine, _: &StoreKey, _: &Bytes) -> Option<Forward> {
        None
    }
}

/// Changes and records.
mod state {
    use std::time::Duration;

    use super::{SessionError, engine::Engine};
    use crate::{
        id::StoreKey,
        store::{Expected, Record, Version, WriteRequest},
        wire::Lifetime,
    };

    /// A change that adds a number to the list.
    #[derive(Debug)]
    pub(crate) struct Changes(pub(crate) u8);

    #[derive(Clone, Copy, Debug)]
    pub(crate) enum IdStatus {
        Destroyed,
        Regenerated,
    }

    impl IdStatus {
        pub(crate) const fn from_fence(_: &Engine, _: &StoreKey, _: &[u8]) -> Self {
            Self::Regenerated
        }
    }

    #[derive(Clone, Debug)]
    pub(crate) struct StoredRecord {
        pub(crate) record: Record,
    }

    pub(crate) struct DecodedRecord {
        pub(crate) head: RecordHead,
        pub(crate) data: Numbers,
    }

    pub(crate) struct RecordHead {
        pub(crate) is_fence: bool,
        pub(crate) lifetime: Lifetime,
    }

    pub(crate) struct Numbers(Vec<u8>);

    impl Numbers {
        pub(crate) fn text(&self) -> &[u8] {
            &self.0
        }
    }

    impl Changes {
        pub(crate) const fn size(&self) -> usize {
            1
        }

        pub(crate) const fn base_created(&self) -> Option<u64> {
            None
        }

        pub(crate) fn first_record(&self) -> DecodedRecord {
            DecodedRecord::empty(Lifetime::default())
        }

        pub(crate) fn apply(
            &self,
            _: &Engine,
            newest: &DecodedRecord,
            _: Option<Version>,
        ) -> Result<DecodedRecord, SessionError> {
            let mut next = DecodedRecord::empty(newest.head.lifetime);
            next.data.0.extend(&newest.data.0);
            next.data.0.push(self.0);
            Ok(next)
        }
    }

    impl DecodedRecord {
        pub(crate) const fn empty(lifetime: Lifetime) -> Self {
            Self {
                head: RecordHead {
                    is_fence: false,
                    lifetime,
                },
                data: Numbers(Vec::new()),
            }
        }

        pub(crate) fn encode(&self, _: &Engine) -> StoredRecord {
            let record = Record::new(self.data.0.clone().into(), Version::FIRST);
            StoredRecord { record }
        }
    }

    impl StoredRecord {
        pub(crate) fn to_request(
            &self,
            _: &Engine,
            key: &StoreKey,
            expected: Expected,
        ) -> WriteRequest {
            let ttl = Duration::from_secs(3600);
            WriteRequest::new(key, self.record.data.clone(), ttl, expected)
        }
    }

    pub(crate) fn decode(_: &Engine, record: &Record) -> Result<DecodedRecord, SessionError> {
        let mut decoded = DecodedRecord::empty(Lifetime::default());
        decoded.data.0.extend(&record.data);
        Ok(decoded)
    }
}
