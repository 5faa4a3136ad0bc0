//! A request's body out of its base64.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use transom_transcode::frame::web::FromText;

use crate::body::Broken;
use crate::envelope::stream::Stop;
use crate::error::Error;

/// A body that is base64, as the bytes that it says.
pub struct Text<B> {
    body: B,
    text: FromText,
    stop: Stop,
    over: bool,
}

impl<B> Text<B> {
    /// What `body` says; what is wrong with it is left in `stop`.
    pub fn new(body: B, stop: Stop) -> Self {
        Self { body, text: FromText::default(), stop, over: false }
    }

    fn wrong(&mut self) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.over = true;
        self.stop.with(Error::bad_request("the body is not base64"));
        Poll::Ready(Some(Err(Broken)))
    }
}

impl<B> Body for Text<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        while !this.over {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    let mut bytes = Vec::with_capacity(data.len() / 4 * 3 + 3);
                    if this.text.push(&data, &mut bytes).is_err() {
                        return this.wrong();
                    }
                    if !bytes.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(bytes.into()))));
                    }
                }
                Some(Err(_)) => {
                    this.over = true;
                    return Poll::Ready(Some(Err(Broken)));
                }
                None if this.text.is_empty() => this.over = true,
                None => return this.wrong(),
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }
}
