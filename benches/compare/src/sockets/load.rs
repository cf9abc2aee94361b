//! A visitor: one connection, the cookies of one browser, and the number that its session must have.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{document::START, job::Job, request};

pub struct Visitor {
    stream: TcpStream,
    cookies: Vec<(String, String)>,
    /// The text of the requests, by job.
    requests: [String; Job::ALL.len()],
    buffer: Vec<u8>,
    number: i64,
}

impl Visitor {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address)
            .await
            .expect("the server listens");
        stream
            .set_nodelay(true)
            .expect("a TCP socket has this option");
        let mut visitor = Self {
            stream,
            cookies: Vec::new(),
            requests: Default::default(),
            buffer: vec![0; 16 * 1024],
            number: START,
        };
        visitor.write_requests();
        visitor
    }

    fn write_requests(&mut self) {
        let pairs: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let session = match pairs.is_empty() {
            // The raw services get a header of the same length.
            true => format!("other={}", "x".repeat(100)),
            false => pairs.join("; "),
        };
        let cookie = request::cookie_header(&session);
        let plain = request::plain();
        let headers: String = plain
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}\r\n", value.to_str().expect("it is ASCII")))
            .collect();
        self.requests = Job::ALL.map(|job| {
            format!(
                "GET {} HTTP/1.1\r\n{headers}cookie: {cookie}\r\n\r\n",
                job.path()
            )
        });
    }

    /// Sends a request, and checks the answer.
    ///
    /// # Panics
    /// If the answer is not the right one.
    pub async fn send(&mut self, job: Job) {
        let request = self.requests[job as usize].as_bytes();
        self.stream
            .write_all(request)
            .await
            .expect("the connection is open");
        let mut length = 0;
        let (head, end) = loop {
            let read = self.stream.read(&mut self.buffer[length..]).await;
            let read = read.expect("the connection is open");
            assert!(read > 0, "the server closed the connection");
            length += read;
            if let Some(found) = ends(&self.buffer[..length]) {
                break found;
            }
        };
        let body = std::str::from_utf8(&self.buffer[head..end]).expect("the body is text");
        match job {
            Job::Seed | Job::Untouched => assert_eq!(body, "ok"),
            Job::Read => assert_eq!(body, self.number.to_string()),
            Job::Increment => {
                self.number += 1;
                assert_eq!(body, self.number.to_string());
            }
        }
        let set = set_cookies(&self.buffer[..head]);
        if !set.is_empty() {
            for (name, value) in set {
                self.cookies.retain(|(other, _)| *other != name);
                self.cookies.push((name, value));
            }
            self.write_requests();
        }
    }
}

/// Returns the ends of head and body of a response with the status 200, if all of it is here.
fn ends(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(bytes).expect("it is a response") {
        httparse::Status::Complete(head) => head,
        httparse::Status::Partial => return None,
    };
    assert_eq!(response.code, Some(200));
    let length = response
        .headers
        .iter()
        .find(|it| it.name.eq_ignore_ascii_case("content-length"));
    let length = length.expect("the response has a length").value;
    let length: usize = std::str::from_utf8(length)
        .ok()
        .and_then(|text| text.parse().ok())
        .expect("a length");
    (bytes.len() >= head + length).then_some((head, head + length))
}

/// Returns the names and values of the cookies that a response sets.
fn set_cookies(head: &[u8]) -> Vec<(String, String)> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let _complete = response.parse(head);
    let lines = response
        .headers
        .iter()
        .filter(|it| it.name.eq_ignore_ascii_case("set-cookie"));
    lines
        .map(|line| {
            let text = std::str::from_utf8(line.value).expect("a cookie is ASCII");
            let pair = text.split(';').next().unwrap_or(text);
            let (name, value) = pair.split_once('=').expect("a cookie is a pair");
            (name.to_owned(), value.to_owned())
        })
        .collect()
}
