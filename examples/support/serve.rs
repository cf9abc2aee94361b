//! The server of the examples: HTTP/1 and HTTP/2, limits on time and connections, a graceful stop.
//!
//! Environment, times in seconds:
//!
//! | variable | meaning |
//! | --- | --- |
//! | `IDLE_TIMEOUT` | the time for the head of a request, and between requests; default 30 |
//! | `WRITE_TIMEOUT` | the time that a client may accept no byte; default 30 |
//! | `CONNECTION_LIFETIME` | the time after which a connection ends, whatever it is sending; default 3600 |
//! | `MAX_CONNECTIONS` | the number of open connections; default 1000 |
//! | `SHUTDOWN_TIMEOUT` | the time after a stop for running requests and upgraded connections; default 30 |

use std::{
    error::Error,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Sleep, sleep},
};

type BoxError = Box<dyn Error + Send + Sync>;

/// The limits of a server, and the stop of the process.
#[derive(Clone)]
pub(crate) struct Server {
    limits: Limits,
    /// The number of stop signals that the process has received.
    stops: watch::Receiver<u32>,
}

#[derive(Clone, Copy)]
struct Limits {
    /// The time in which a client must send the head of a request. A connection without a new request
    /// closes after one to two times this, when its running requests have been answered.
    idle_timeout: Duration,
    /// The time that a client may accept no byte. Then the connection ends.
    write_timeout: Duration,
    /// The time after which a connection ends, except one that was upgraded. It also ends a client of
    /// HTTP/2 that reads from the connection, but accepts no data of a response.
    lifetime: Duration,
    /// The maximum number of open connections, upgraded ones included. Further clients wait.
    connections: u32,
    /// The time after a stop in which connections may close.
    shutdown_timeout: Duration,
}

impl Server {
    /// Reads the limits from the environment, and receives stop signals from now on, so that a program that
    /// says that it listens can be stopped.
    ///
    /// # Errors
    /// If a variable is invalid, or the process cannot receive signals.
    pub(crate) fn from_env() -> Result<Self, BoxError> {
        let seconds = |name, default| variable(name, default).map(Duration::from_secs);
        let limits = Limits {
            idle_timeout: seconds("IDLE_TIMEOUT", 30)?,
            write_timeout: seconds("WRITE_TIMEOUT", 30)?,
            lifetime: seconds("CONNECTION_LIFETIME", 3600)?,
            connections: variable("MAX_CONNECTIONS", 1000)?,
            shutdown_timeout: seconds("SHUTDOWN_TIMEOUT", 30)?,
        };
        let stops = receive_stops()?;
        Ok(Self { limits, stops })
    }

    /// Returns the stop of the process, for a task of an upgraded connection.
    #[allow(dead_code, reason = "only some examples upgrade connections")]
    pub(crate) fn stop(&self) -> Stop {
        Stop(self.stops.clone())
    }

    /// Serves connections until SIGTERM or Ctrl-C. Then waits until the running requests have been answered,
    /// and upgraded connections have closed. The timeout or a second signal ends the wait; the end of the
    /// process then closes the connections.
    #[allow(dead_code, reason = "an example uses this or the other function")]
    pub(crate) async fn serve<S, B>(self, listener: TcpListener, service: S)
    where
        S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        self.serve_each(listener, |_| service.clone()).await;
    }

    /// As [`serve`](Self::serve), with a service for each connection, from the address of its client.
    pub(crate) async fn serve_each<S, B>(
        mut self,
        listener: TcpListener,
        service: impl Fn(SocketAddr) -> S,
    ) where
        S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
    {
        let limits = self.limits;
        let permits = Arc::new(Semaphore::new(limits.connections as usize));
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener, &permits, limits) => accepted,
                _ = self.stops.wait_for(|stops| *stops > 0) => break,
            };
            let Ok((stream, client)) = accepted else {
                // Probably out of file descriptors. Wait until some connections close.
                sleep(Duration::from_millis(50)).await;
                continue;
            };
            let (service, stops) = (service(client), self.stops.clone());
            tokio::spawn(connection(stream, service, limits, stops));
        }
        drop(listener);
        let limit = limits.shutdown_timeout;
        tokio::select! {
            // Every connection has a permit, also one that was upgraded.
            _ = permits.acquire_many(limits.connections) => {}
            () = sleep(limit) => eprintln!("shutdown: some connections did not close within {limit:?}"),
            _ = self.stops.wait_for(|stops| *stops > 1) => {}
        }
    }
}

/// The stop of the process.
#[derive(Clone)]
pub(crate) struct Stop(watch::Receiver<u32>);

impl Stop {
    /// Waits until the process shall stop.
    #[allow(dead_code, reason = "only some examples upgrade connections")]
    pub(crate) async fn requested(&mut self) {
        // An error says that the runtime ends.
        let _ = self.0.wait_for(|stops| *stops > 0).await;
    }
}

/// Returns a variable's value as a number above zero.
///
/// # Errors
/// If it is not one.
pub(crate) fn variable<N: FromStr + PartialOrd + From<u8>>(
    name: &str,
    default: N,
) -> Result<N, BoxError> {
    let Ok(text) = std::env::var(name) else {
        return Ok(default);
    };
    let number = text.parse().ok().filter(|number| *number > N::from(0));
    number.ok_or_else(|| {
        format!("{name}={text}: not a number above zero; set 30, for example").into()
    })
}

/// Accepts a connection when there may be one more.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    limits: Limits,
) -> io::Result<(LimitedStream, SocketAddr)> {
    let permit = permits.clone().acquire_owned().await;
    let permit = permit.map_err(io::Error::other)?;
    let (stream, client) = listener.accept().await?;
    let _ = stream.set_nodelay(true);
    let stream = LimitedStream::new(stream, limits.write_timeout, Some(permit));
    Ok((stream, client))
}

/// A stream that has its permit until it closes. A handler may have taken it over by an upgrade. A write fails
/// if the other side accepts no byte for too long.
pub(crate) struct LimitedStream {
    stream: TcpStream,
    write_timeout: Duration,
    /// The time at which a write that waits fails.
    write_end: Option<Pin<Box<Sleep>>>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl LimitedStream {
    pub(crate) const fn new(
        stream: TcpStream,
        write_timeout: Duration,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self {
            stream,
            write_timeout,
            write_end: None,
            _permit: permit,
        }
    }

    fn limit_write(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.write_end = None;
            return written;
        }
        let timeout = self.write_timeout;
        let end = self
            .write_end
            .get_or_insert_with(|| Box::pin(sleep(timeout)));
        let timed_out = || Err(io::ErrorKind::TimedOut.into());
        end.as_mut().poll(cx).map(|()| timed_out())
    }
}

impl AsyncRead for LimitedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for LimitedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.limit_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.limit_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Serves one connection until it closes, for its lifetime at most. A stop, or a time without a new request,
/// closes it when its running requests have been answered.
async fn connection<S, B>(
    stream: LimitedStream,
    service: S,
    limits: Limits,
    mut stops: watch::Receiver<u32>,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    let (idle_timeout, mut lifetime) = (limits.idle_timeout, pin!(sleep(limits.lifetime)));
    let was_used = Arc::new(AtomicBool::new(false));
    let used = was_used.clone();
    let service = service_fn(move |request| {
        used.store(true, Relaxed);
        service.call(request)
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(idle_timeout);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(idle_timeout)
        .keep_alive_timeout(idle_timeout);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut is_closing = false;
    loop {
        tokio::select! {
            // A connection fails if its client disconnects or breaks the protocol.
            _ = connection.as_mut() => return,
            () = lifetime.as_mut() => return,
            _ = stops.wait_for(|stops| *stops > 0), if !is_closing => is_closing = true,
            () = sleep(idle_timeout), if !is_closing => is_closing = !was_used.swap(false, Relaxed),
        }
        if is_closing {
            connection.as_mut().graceful_shutdown();
        }
    }
}

/// Counts the stop signals of the process, from now on.
fn receive_stops() -> io::Result<watch::Receiver<u32>> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let (sender, receiver) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            sender.send_modify(|stops| *stops += 1);
        }
    });
    Ok(receiver)
}
