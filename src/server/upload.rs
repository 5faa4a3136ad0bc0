//! Upload: a request's body; over HTTP/1.1 it marks its connection until it is whole.
//!
//! What lies in the socket while it is not is of this body; behind it, it is the next request, and no sign of anything. So what its
//! call leaves of it, who is refused before a byte was read or has one message more than is wanted, is read and thrown away while
//! that is little: the connection then carries the next request. Closed instead, it would fail what the client has sent by then.
//!
//! Over HTTP/2 a stream whose body nobody holds is reset behind the answer's last frame. RFC 9113 §8.1 allows that, and clients of
//! libcurl before 8.0 that read both at once forget the answer: so there, too, the little that is left of a body is read first.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::EXPECT;
use http::{Request, Version};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

use super::activity::Activity;

/// So much of what nobody wants is read,
const REST: u64 = 256 * 1024;
/// and for so long.
const PATIENCE: Duration = Duration::from_secs(2);
/// Over HTTP/2 what is more is reset so long after that, when the answer was read.
const RESET_AFTER: Duration = Duration::from_millis(50);

/// A request's body.
#[derive(Debug)]
pub(super) struct Upload {
    /// There until it is dropped.
    body: Option<Incoming>,
    /// Of a connection that carries one request at a time; none when the body is whole.
    marks: Option<Arc<Activity>>,
    /// Of a stream of HTTP/2 that is not at its end.
    streams: bool,
    /// What is left of it may be read on.
    rests: bool,
}

impl Upload {
    /// A request whose body is one.
    pub(super) fn of(request: Request<Incoming>, activity: &Arc<Activity>) -> Request<Self> {
        // Who waits to be told to go on sends nothing; of who knows no other way the close is the end of the answer.
        let rests = request.version() >= Version::HTTP_11 && !request.headers().contains_key(EXPECT);
        request.map(|body| {
            let unfinished = !body.is_end_stream();
            let streams = unfinished && activity.is_shared();
            let marks = (unfinished && !streams).then(|| Arc::clone(activity));
            marks.iter().for_each(|activity| activity.uploads());
            Self { body: Some(body), marks, streams, rests }
        })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take() else { return };
        let runtime = Handle::try_current().ok();
        let Some(activity) = self.marks.take() else {
            if let Some(runtime) = runtime.filter(|_| self.streams) {
                runtime.spawn(async move {
                    if rest(&mut body).await.is_none() {
                        sleep(RESET_AFTER).await;
                    }
                });
            }
            return;
        };
        let little = body.size_hint().lower() <= REST;
        let rest = Rest { body, activity, whole: false };
        if let Some(runtime) = runtime.filter(|_| self.rests && little) {
            runtime.spawn(rest.read());
        }
    }
}

/// Reads what is left of a body, if that is little.
async fn rest(body: &mut Incoming) -> Option<()> {
    let mut left = REST;
    let whole = async {
        while let Some(frame) = body.frame().await {
            let bytes = frame.ok()?.into_data().map_or(0, |data| data.len());
            left = left.checked_sub(bytes as u64)?;
        }
        Some(())
    };
    timeout(PATIENCE, whole).await.ok().flatten()
}

/// What a call has left of a body. Dropped before it is whole, it ends its connection.
struct Rest {
    body: Incoming,
    activity: Arc<Activity>,
    whole: bool,
}

impl Rest {
    async fn read(mut self) {
        self.whole = rest(&mut self.body).await.is_some();
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        if !self.whole {
            self.activity.leaves();
        }
        self.activity.uploaded();
    }
}

impl http_body::Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = Pin::new(&mut *body).poll_frame(cx);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) || body.is_end_stream() {
            self.streams = false;
            if let Some(activity) = self.marks.take() {
                activity.uploaded();
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}
