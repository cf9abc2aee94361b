//! The bytes of a WebSocket, after the handshake.

use std::{io, time::Duration};

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::OwnedSemaphorePermit,
};

use crate::body::Progress;

/// The bytes that are read at once.
const BUFFER: usize = 16 * 1024;

/// Passes bytes in both directions until both sides have closed, one fails, or both are silent for too long.
pub(crate) async fn run(
    client: OnUpgrade,
    server: OnUpgrade,
    timeout: Duration,
    permit: OwnedSemaphorePermit,
) {
    let Ok((client, server)) = tokio::try_join!(client, server) else {
        // The client disconnected after its request.
        return;
    };
    let (client_reads, client_writes) = tokio::io::split(TokioIo::new(client));
    let (server_reads, server_writes) = tokio::io::split(TokioIo::new(server));
    let progress = Progress::new();
    let both = async {
        tokio::try_join!(
            pass(client_reads, server_writes, &progress),
            pass(server_reads, client_writes, &progress),
        )
    };
    tokio::select! {
        // A side that fails closes the other one.
        _ = both => {}
        () = progress.silence(timeout) => {}
    }
    drop(permit);
}

/// Passes bytes until the end of `from`, and closes `to`.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    progress: &Progress,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        progress.record();
        match buffer.get(..length) {
            None | Some([]) => return to.shutdown().await,
            Some(bytes) => to.write_all(bytes).await?,
        }
        // Without this, small messages stay in the writer's buffer.
        to.flush().await?;
    }
}
