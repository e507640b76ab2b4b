//! Sessions of a check: opened for it, driven beside it, closed in good order.

use crate::pg::Driver;
use futures_util::future::join_all;
use std::time::Duration;

/// How long the servers have to take our goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// Does `work`, whose sessions these drivers run. A session that breaks shows in the work's own queries.
pub(super) async fn beside<T>(drivers: Vec<Driver>, work: impl Future<Output = T>) -> T {
    let mut drivers = std::pin::pin!(join_all(drivers));
    let mut work = std::pin::pin!(work);
    tokio::select! {
        biased;
        done = &mut work => {
            // The work has dropped its clients; what the drivers still have to say is of no interest.
            tokio::time::timeout(GOODBYE, drivers).await.ok();
            done
        }
        _ = &mut drivers => work.await,
    }
}
