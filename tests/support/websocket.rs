//! A WebSocket client for short text messages (RFC 6455).

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// An open connection.
pub struct WebSocket {
    stream: BufReader<TcpStream>,
    /// The headers of the handshake's response.
    pub headers: HeaderMap,
}

impl WebSocket {
    /// Opens a connection with these additional headers.
    ///
    /// # Panics
    /// If the response is not a 101.
    pub async fn connect(address: SocketAddr, path: &str, lines: &[(&str, &str)]) -> Self {
        let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n"
        );
        for (name, value) in lines {
            request += &format!("{name}: {value}\r\n");
        }
        request += "\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        assert!(line.starts_with("HTTP/1.1 101"), "{line}");
        let mut headers = HeaderMap::new();
        loop {
            line.clear();
            stream.read_line(&mut line).await.unwrap();
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break Self { stream, headers };
            };
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
    }

    /// Sends a text of less than 126 bytes.
    pub async fn send(&mut self, text: &str) {
        let length = u8::try_from(text.len()).unwrap();
        assert!(length < 126);
        // A whole text message, masked with zeros.
        let mut frame = vec![0x81, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(text.as_bytes());
        self.stream.write_all(&frame).await.unwrap();
    }

    /// Returns the next text message, of less than 126 bytes.
    pub async fn receive(&mut self) -> String {
        let text = self.payload(0x81).await;
        String::from_utf8(text).unwrap()
    }

    /// Returns the status with which the server closes the connection.
    pub async fn receive_close(&mut self) -> u16 {
        let payload = self.payload(0x88).await;
        u16::from_be_bytes(*payload.first_chunk().unwrap())
    }

    /// Returns the payload of the next frame, which must begin with this byte.
    async fn payload(&mut self, kind: u8) -> Vec<u8> {
        let head: [u8; 2] = [
            self.stream.read_u8().await.unwrap(),
            self.stream.read_u8().await.unwrap(),
        ];
        assert_eq!(head[0], kind, "the kind of a whole message");
        let mut payload = vec![0; usize::from(head[1])];
        self.stream.read_exact(&mut payload).await.unwrap();
        payload
    }

    /// Waits for the end of the connection. Returns `false` if a message arrives before.
    pub async fn is_closed(&mut self) -> bool {
        self.stream.read_u8().await.is_err()
    }
}
