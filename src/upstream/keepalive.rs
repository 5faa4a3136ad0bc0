//! Keepalive: PINGs that find connections which are open and yet lead nowhere.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use h2::Ping;
use tokio::time::{Instant, sleep_until, timeout};

use super::pings::Pings;
use crate::config;

/// How often it is looked whether PINGs are wanted by now.
const LOOK: Duration = Duration::from_secs(30);

/// One connection's PINGs.
pub(super) struct Keepalive {
    rule: Arc<ArcSwapOption<config::Keepalive>>,
    last: Instant,
}

impl Keepalive {
    /// By its group's rule, whatever that becomes.
    pub(super) fn new(rule: &Arc<ArcSwapOption<config::Keepalive>>) -> Self {
        Self { rule: Arc::clone(rule), last: Instant::now() }
    }

    /// Until it is time for the next.
    pub(super) async fn due(&self) {
        let interval = self.rule.load().as_ref().map_or(LOOK, |rule| rule.interval);
        sleep_until(self.last + interval).await;
    }

    /// Asks the peer, if the rule says so; false if it does not answer.
    pub(super) async fn holds(&mut self, idle: bool, pings: &mut Pings) -> bool {
        let rule = self.rule.load_full();
        self.last = Instant::now();
        let Some(rule) = rule.filter(|rule| !idle || rule.idle) else { return true };
        let Some(ping) = pings.sender().await else { return true };
        // One that was sent before and is not answered yet says as much. What ends with an error is a connection that has
        // ended, which is found without us.
        let _ = ping.send_ping(Ping::opaque());
        timeout(rule.timeout, poll_fn(|cx| ping.poll_pong(cx))).await.is_ok()
    }
}
