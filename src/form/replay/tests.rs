//! The memory of a recording.

use std::{
    convert::Infallible,
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, header::CONTENT_TYPE};
use http_body::{Body, Frame};

use super::{BodyRecorder, ReplayBody, SharedRecording};
use crate::{
    form::{
        InputLimits,
        reader::{PreReadInput, RequestReader},
    },
    sync::lock,
};

/// The length of a chunk of the file.
const CHUNK: usize = 64 * 1024;

/// A multipart form whose file has this many chunks left.
struct Upload {
    begun: bool,
    chunks: usize,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match (std::mem::replace(&mut self.begun, true), self.chunks) {
            (false, _) => Bytes::from_static(
                b"--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"n\"\r\n\r\n",
            ),
            (true, 0) => return Poll::Ready(None),
            (true, left) => {
                self.chunks = left - 1;
                match left {
                    1 => Bytes::from_static(b"\r\n--b--\r\n"),
                    _ => Bytes::from(vec![b'y'; CHUNK]),
                }
            }
        };
        Poll::Ready(Some(Ok(Frame::data(data))))
    }
}

/// Runs a future that never waits.
fn run<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future waits"),
    }
}

fn recorded(recording: &SharedRecording<Upload>) -> usize {
    lock(recording).bytes.capacity()
}

#[test]
fn an_upload_is_not_recorded_after_its_input_is_taken() {
    let recorder = BodyRecorder::new(Upload {
        begun: false,
        chunks: 64,
    });
    let recording = recorder.recording();
    let limits = InputLimits::default();
    let request = Request::post("/").header(CONTENT_TYPE, "multipart/form-data; boundary=b");
    let (mut head, ()) = request.body(()).expect("a request").into_parts();
    let started = RequestReader::start(&head.uri, &head.headers, recorder, &limits);
    let reader = run(started).expect("a form");
    let input = PreReadInput::insert(reader, &mut head);
    let replay = ReplayBody::new(input, recording.clone());
    let checked = recorded(&recording);
    assert!(checked > 0, "the check recorded the start");

    let taken = PreReadInput::take(&head, &limits).expect("within the limits");
    let (_, files) = run(taken.expect("the reader").finish()).expect("a form");
    assert_eq!(files.len(), 1);
    assert_eq!(recorded(&recording), 0, "the handler still has the body");
    drop(replay);
}
