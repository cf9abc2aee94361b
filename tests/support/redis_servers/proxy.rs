//! A proxy between the store and its server that makes the network worse.

use std::{
    io,
    sync::{Arc, Mutex},
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

/// What happens to what the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    Fair,
    /// Answers come this much later.
    Slow(Duration),
    /// The next answer is cut off after so many bytes, with its connection. Then it is fair.
    CutAfter(usize),
    /// The same, and nobody gets through any more.
    CutAndClose(usize),
    /// Nobody gets through, and connections end.
    Closed,
    /// Questions get through and answers do not; connections stay.
    Mute,
}

pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
    accepts: JoinHandle<()>,
}

struct State {
    weather: Mutex<Weather>,
    /// Changed to end all connections.
    epoch: watch::Sender<u64>,
}

impl Proxy {
    pub(crate) async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let weather = Mutex::new(Weather::Fair);
        let epoch = watch::channel(0).0;
        let state = Arc::new(State { weather, epoch });
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

    pub(crate) fn set(&self, weather: Weather) {
        let before = std::mem::replace(&mut *self.state.weather.lock().unwrap(), weather);
        // Where bytes are missing, a connection cannot go on.
        if weather == Weather::Closed || before == Weather::Mute {
            self.cut();
        }
    }

    pub(crate) fn weather(&self) -> Weather {
        self.state.now()
    }

    /// Ends all connections.
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
    fn now(&self) -> Weather {
        *self.weather.lock().unwrap()
    }

    /// How much of an answer of `len` bytes gets through; a cut is used up by it.
    fn share(&self, len: usize) -> Option<usize> {
        let mut weather = self.weather.lock().unwrap();
        let (bytes, next) = match *weather {
            Weather::CutAfter(bytes) => (bytes, Weather::Fair),
            Weather::CutAndClose(bytes) => (bytes, Weather::Closed),
            _ => return None,
        };
        *weather = next;
        Some(bytes.min(len))
    }
}

async fn accept(listener: TcpListener, server: u16, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        if state.now() != Weather::Closed {
            tokio::spawn(carry(client, server, Arc::clone(&state)));
        }
    }
}

async fn carry(client: TcpStream, server: u16, state: Arc<State>) -> io::Result<()> {
    let mut epoch = state.epoch.subscribe();
    let server = TcpStream::connect(("127.0.0.1", server)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        _ = epoch.changed() => Ok(()),
        ended = ask(from_client, to_server) => ended,
        ended = answer(from_server, to_client, state) => ended,
    }
}

async fn ask(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    tokio::io::copy(&mut from, &mut to).await.map(drop)
}

async fn answer(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    state: Arc<State>,
) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let len = from.read(&mut buffer).await?;
        if len == 0 {
            return Ok(());
        }
        match state.now() {
            Weather::Slow(time) => tokio::time::sleep(time).await,
            Weather::Mute => continue,
            _ => {}
        }
        if let Some(share) = state.share(len) {
            to.write_all(&buffer[..share]).await?;
            return Ok(());
        }
        to.write_all(&buffer[..len]).await?;
    }
}
