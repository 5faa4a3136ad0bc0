//! Upload: a request's body over HTTP/1.1, which marks its connection until it is whole.
//!
//! What lies in the socket while it is not is of this body; behind it, it is the next request, and no sign of anything.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use super::activity::Activity;

/// A request's body.
#[derive(Debug)]
pub(super) struct Upload {
    body: Incoming,
    /// Of a connection that carries one request at a time; none when the body is whole.
    marks: Option<Arc<Activity>>,
}

impl Upload {
    pub(super) fn new(body: Incoming, activity: &Arc<Activity>) -> Self {
        let unfinished = !activity.is_shared() && !http_body::Body::is_end_stream(&body);
        let marks = unfinished.then(|| Arc::clone(activity));
        marks.iter().for_each(|activity| activity.uploads(true));
        Self { body, marks }
    }

    fn finished(&mut self) {
        if let Some(activity) = self.marks.take() {
            activity.uploads(false);
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.marks.iter().for_each(|activity| activity.leaves());
        self.finished();
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) || self.body.is_end_stream() {
            self.finished();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
