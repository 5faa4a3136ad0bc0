//! Keepalive: PINGs that find connections which are open and yet lead nowhere.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use h2::Ping;
use tokio::time::{Instant, sleep_until, timeout};

use super::endpoint::Endpoint;
use super::pings::Pings;

/// How often it is looked whether PINGs are wanted by now.
const LOOK: Duration = Duration::from_secs(30);

/// One connection's PINGs.
pub(super) struct Keepalive {
    endpoint: Arc<Endpoint>,
    last: Instant,
}

impl Keepalive {
    /// By the rule of the endpoint's group, whatever that becomes.
    pub(super) fn new(endpoint: &Arc<Endpoint>) -> Self {
        Self { endpoint: Arc::clone(endpoint), last: Instant::now() }
    }

    /// Until it is time for the next.
    pub(super) async fn due(&self) {
        let rule = self.endpoint.keepalive.load();
        let interval = rule.as_ref().map_or(LOOK, |rule| self.endpoint.spaced(rule.interval));
        sleep_until(self.last + interval).await;
    }

    /// Asks the peer, if the rule says so; false if it does not answer.
    pub(super) async fn holds(&mut self, idle: bool, pings: &mut Pings) -> bool {
        let rule = self.endpoint.keepalive.load_full();
        self.last = Instant::now();
        let Some(rule) = rule.filter(|rule| !idle || rule.idle) else { return true };
        let Some(ping) = pings.sender().await else { return true };
        // One that was sent before and is not answered yet says as much. What ends with an error is a connection that has
        // ended, which is found without us.
        let _ = ping.send_ping(Ping::opaque());
        timeout(rule.timeout, poll_fn(|cx| ping.poll_pong(cx))).await.is_ok()
    }
}
