//! Waiting for a condition. Tests never sleep for a while and hope.

use std::time::{Duration, Instant};

/// Long enough for a loaded box; a test that fails takes it, a test that passes does not.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until the answer is yes. Panics with `what` at the time limit.
pub async fn eventually<F: Future<Output = bool>>(what: &str, limit: Duration, mut ask: impl FnMut() -> F) {
    let start = Instant::now();
    let mut pause = Duration::from_millis(5);
    loop {
        let asked = Instant::now();
        if ask().await {
            return;
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        // a question that is a process and two sessions is not what a loaded box should be busy with
        tokio::time::sleep(pause.max(asked.elapsed() * 2)).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Asks again and again for the whole time: the answer stays yes.
pub async fn steadily<F: Future<Output = bool>>(what: &str, time: Duration, mut ask: impl FnMut() -> F) {
    let start = Instant::now();
    while start.elapsed() < time {
        assert!(ask().await, "no longer after {:?}: {what}", start.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
