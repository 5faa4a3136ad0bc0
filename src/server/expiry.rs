//! Expiry: certificates that end soon are told, day after day.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::gateway::State;

/// From one look to the next.
const LOOK: Duration = Duration::from_secs(24 * 3600);

/// Warns until `cancel`. At start and after a reload the snapshot's notes say the same.
pub(super) async fn watch(state: Arc<State>, cancel: CancellationToken) {
    let look = async {
        loop {
            sleep(LOOK).await;
            let now = Timestamp::now();
            for (place, expiry) in state.snapshot.load_full().expiries() {
                if let Some(warning) = expiry.warning(now) {
                    tracing::warn!(certificate = %place, "{warning}");
                }
            }
        }
    };
    cancel.run_until_cancelled(look).await;
}
