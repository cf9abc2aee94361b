//! A proxy between the store and its server that simulates a bad network.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// The state of the simulated network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    Normal,
    /// Replies are delayed.
    Slow(Duration),
    /// The next reply is cut off after this many bytes, and its connection closed. Then the network is
    /// normal.
    CutAfter(usize),
    /// The same, but then the network is closed.
    CutAndClose(usize),
    /// So many replies get through. The next one is lost and its connection closed. Then the network is
    /// normal.
    CutReply(usize),
    /// Connections are closed, and new ones fail.
    Closed,
    /// Commands get through and replies do not. Connections stay open.
    DropReplies,
    /// The server rejects scripts without keys.
    ScriptsNeedKeys,
    /// The server does not know the subcommand `TRACKING`.
    NoTracking,
}

pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
    accepts: JoinHandle<()>,
}

struct State {
    network: Mutex<Network>,
    /// Changed to close all connections.
    epoch: watch::Sender<u64>,
    /// The number of connections so far.
    connections: AtomicUsize,
    /// The number of the connection that gets no replies.
    silenced: AtomicUsize,
}

impl Proxy {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let network = Mutex::new(Network::Normal);
        let epoch = watch::channel(0).0;
        let state = Arc::new(State {
            network,
            epoch,
            connections: AtomicUsize::new(0),
            silenced: AtomicUsize::new(usize::MAX),
        });
        let accepts = tokio::spawn(accept(listener, server, Arc::clone(&state)));
        Self {
            port,
            state,
            accepts,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn set(&self, network: Network) {
        let before = std::mem::replace(&mut *self.state.network.lock().unwrap(), network);
        // A connection with missing bytes cannot be used any more.
        if network == Network::Closed || before == Network::DropReplies {
            self.cut();
        }
    }

    pub(crate) fn network(&self) -> Network {
        self.state.now()
    }

    /// Returns the number of connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Relaxed)
    }

    /// Silences the connection with this number, from 0 on. It stays open, and gets no replies.
    pub(crate) fn silence(&self, number: usize) {
        self.state.silenced.store(number, Relaxed);
    }

    /// Closes all connections.
    pub(crate) fn cut(&self) {
        self.state.epoch.send_modify(|epoch| *epoch += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepts.abort();
        self.cut();
    }
}

impl State {
    fn now(&self) -> Network {
        *self.network.lock().unwrap()
    }

    /// Returns how much of a reply of `len` bytes gets through before a cut. Each cut happens once.
    fn cut_at(&self, len: usize) -> Option<usize> {
        let mut network = self.network.lock().unwrap();
        let (bytes, next) = match *network {
            Network::CutAfter(bytes) => (bytes, Network::Normal),
            Network::CutAndClose(bytes) => (bytes, Network::Closed),
            Network::CutReply(0) => (0, Network::Normal),
            Network::CutReply(before) => {
                *network = Network::CutReply(before - 1);
                return None;
            }
            _ => return None,
        };
        *network = next;
        Some(bytes.min(len))
    }
}

async fn accept(listener: TcpListener, server: u16, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        if state.now() != Network::Closed {
            tokio::spawn(relay(client, server, Arc::clone(&state)));
        }
    }
}

async fn relay(client: TcpStream, server: u16, state: Arc<State>) -> io::Result<()> {
    let number = state.connections.fetch_add(1, Relaxed);
    let mut epoch = state.epoch.subscribe();
    let server = TcpStream::connect(("127.0.0.1", server)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        _ = epoch.changed() => Ok(()),
        ended = forward_commands(from_client, to_server, &state) => ended,
        ended = forward_replies(from_server, to_client, number, &state) => ended,
    }
}

/// What precedes the number of keys in `EVALSHA digest 0`: `$40`, the digest, `$1`.
const CONTEXT: usize = 5 + 40 + 6;

/// Returns `true` if a digest or the source of a script, which ends in a new line, precedes a number of one digit.
fn is_before_key_count(before: &[u8]) -> bool {
    before.starts_with(b"$40\r\n") && before.ends_with(b"\r\n$1\r\n")
        || before.ends_with(b"\n\r\n$1\r\n")
}

async fn forward_commands(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: &State,
) -> io::Result<()> {
    let mut buffer = vec![0; CONTEXT + (1 << 16)];
    loop {
        let len = from.read(&mut buffer[CONTEXT..]).await?;
        if len == 0 {
            return Ok(());
        }
        let end = CONTEXT + len;
        for at in CONTEXT..end {
            let before = &buffer[at - CONTEXT..at];
            match state.now() {
                Network::ScriptsNeedKeys if is_before_key_count(before) && buffer[at] == b'0' => {
                    buffer[at] = b'-';
                }
                Network::NoTracking if before.ends_with(b"TRACKIN") => buffer[at] = b'X',
                _ => {}
            }
        }
        to.write_all(&buffer[CONTEXT..end]).await?;
        buffer.copy_within(len..end, 0);
    }
}

async fn forward_replies(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    number: usize,
    state: &State,
) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let len = from.read(&mut buffer).await?;
        if len == 0 {
            return Ok(());
        }
        match state.now() {
            Network::Slow(time) => tokio::time::sleep(time).await,
            Network::DropReplies => continue,
            _ if number == state.silenced.load(Relaxed) => continue,
            _ => {}
        }
        if let Some(end) = state.cut_at(len) {
            to.write_all(&buffer[..end]).await?;
            return Ok(());
        }
        to.write_all(&buffer[..len]).await?;
    }
}
