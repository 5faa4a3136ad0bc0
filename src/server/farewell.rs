//! Farewell: how a connection closes so that what was said last arrives.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use hyper::rt::Write as _;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{sleep, timeout};

use super::phase::{Phase, Phases, reached};
use super::preface::Rewound;

/// A connection that came at the last moment may still say what it came for, and calls whose time is over may say that.
pub(super) const LAST_WORD: Duration = Duration::from_millis(500);
/// A client that has been told everything may be silent for so long before it closes,
const SILENCE: Duration = Duration::from_secs(2);
/// and speak for so long.
const FAREWELL: Duration = Duration::from_secs(30);

/// Says that no more will come.
pub(super) async fn part(io: &mut Rewound) {
    let _ = timeout(LAST_WORD, poll_fn(|cx| Pin::new(&mut *io).poll_shutdown(cx))).await;
}

/// Reads on until the client has closed too. It speaks as it reads, of its windows if of nothing else, or of a body that nobody wants;
/// a socket that is closed under that is reset, and what of an answer is still on its way is lost.
pub(super) async fn linger(mut socket: impl AsyncRead + Unpin, mut phases: Phases) {
    let mut ignored = vec![0; 1024];
    let closed = async { while let Ok(Ok(1..)) = timeout(SILENCE, socket.read(&mut ignored)).await {} };
    tokio::select! {
        _ = timeout(FAREWELL, closed) => {}
        () = async {
            reached(&mut phases, Phase::Gone).await;
            sleep(LAST_WORD).await;
        } => {}
    }
}
