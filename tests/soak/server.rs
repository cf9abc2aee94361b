//! The server of a soak: this program, started again as a child process.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_session::{
    Session, SessionError, Sessions,
    session::SessionCollection,
    store::{CookieStore, FileStore, MemoryStore, RedisStore, file::Durability},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::support::{config, net};

/// The variable that makes a process a server: `memory`, `cookie`, `file DIRECTORY` or
/// `redis URL REPLICAS`.
pub(crate) const SETTING: &str = "SOAK_SERVER";

/// The idle time after which a session expires.
pub(crate) const AGE: Duration = Duration::from_secs(60);

/// The time in which a rotated session also has its former id.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// Segments of the file store are short, so that its files often reach their limit.
const SEGMENT_BYTES: u64 = 64 << 10;

/// What a request does with the session.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) enum Job {
    Read,
    /// Adds a number to each kind of value.
    Add(u64),
    /// Removes a number from each kind of value.
    Remove(u64),
    Flash(u64),
    Count(usize),
    Regenerate,
    Rotate,
    Destroy,
    /// Gives the session a tag.
    Tag(String),
    /// Ends all sessions that have a tag.
    EndTagged(String),
}

/// The session at the end of a request.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Contents {
    pub(crate) data: Map<String, Value>,
    pub(crate) flash: Option<u64>,
    /// The number of sessions that [`Job::EndTagged`] has ended.
    pub(crate) ended: usize,
}

/// Serves until the process is killed.
pub(crate) async fn run(setting: &str) {
    let words: Vec<&str> = setting.split(' ').collect();
    let config = config().age(AGE);
    let mut file = None;
    let sessions = match words[..] {
        ["memory"] => Sessions::new(config, MemoryStore::new()),
        ["cookie"] => Sessions::new(config, CookieStore::new()),
        ["file", directory] => {
            let store = FileStore::builder(directory).durability(Durability::Always);
            let store = store.segment_bytes(SEGMENT_BYTES).open().unwrap();
            file = Some(store.clone());
            Sessions::new(config, store)
        }
        ["redis", url, replicas] => {
            let store = RedisStore::builder(url)
                .connect_timeout(Duration::from_millis(500))
                .command_timeout(Duration::from_secs(1))
                .wait_for_replicas(replicas.parse().unwrap());
            Sessions::new(config, store.connect().await.unwrap())
        }
        _ => panic!("{SETTING}={setting}: not a store"),
    }
    .unwrap();
    let collection = sessions.collection();
    let service = sessions.wrap_fn(move |request: Request<Incoming>, session| {
        let (collection, file) = (collection.clone(), file.clone());
        async move {
            let response = respond(request, &session, &collection).await;
            Ok::<_, Infallible>(file.and_then(check_disk).unwrap_or(response))
        }
    });
    let server = net::serve(service).await;
    println!("\nlistening on http://{}", server.address);
    std::future::pending().await
}

/// Returns an error that ends the soak if the files exceed their limit.
fn check_disk(store: FileStore) -> Option<Response<Full<Bytes>>> {
    let stats = store.stats();
    let text = format!("the files exceed their limit: {stats:?}");
    (stats.disk_bytes > stats.disk_limit).then(|| status(StatusCode::INTERNAL_SERVER_ERROR, text))
}

async fn respond(
    request: Request<Incoming>,
    session: &Session,
    collection: &SessionCollection,
) -> Response<Full<Bytes>> {
    let Ok(body) = request.into_body().collect().await else {
        return status(StatusCode::BAD_REQUEST, String::new());
    };
    let job = serde_json::from_slice(&body.to_bytes()).unwrap();
    match execute(job, session, collection).await {
        Ok(contents) => status(StatusCode::OK, serde_json::to_string(&contents).unwrap()),
        // Visitors accept a 503 while a store is disturbed. Any other error fails the soak.
        Err(error) => match error.is_store_failure() {
            true => status(StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            false => status(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        },
    }
}

fn status(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response
}

async fn execute(
    job: Job,
    session: &Session,
    collection: &SessionCollection,
) -> Result<Contents, SessionError> {
    if let Job::EndTagged(tag) = job {
        let ended = collection.destroy_tagged(&tag, None).await?;
        return Ok(Contents {
            ended,
            ..Contents::default()
        });
    }
    session.load().await?;
    match job {
        Job::Read | Job::EndTagged(_) => {}
        Job::Add(number) => {
            session.put(&format!("numbers.n{number}"), number)?;
            session.push("items", number)?;
            session.increment("count")?;
        }
        Job::Remove(number) => {
            session.forget(&format!("numbers.n{number}"))?;
            session.remove_value("items", number)?;
            session.decrement("count")?;
        }
        Job::Flash(number) => session.flash("note", number)?,
        Job::Count(task) => drop(session.increment(&format!("task{task}"))?),
        Job::Regenerate => session.regenerate()?,
        Job::Rotate => session.rotate_id(GRACE)?,
        Job::Destroy => session.destroy()?,
        Job::Tag(tag) => session.tag(&tag)?,
    }
    Ok(Contents {
        data: session.all()?,
        flash: session.flash_messages()?.get("note")?,
        ended: 0,
    })
}
