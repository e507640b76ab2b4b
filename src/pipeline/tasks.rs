//! The one handle through which tasks start. Dropping it ends them all.

use std::sync::{Arc, Mutex};
use tokio::task::JoinSet;

/// Tasks that live no longer than this handle.
#[derive(Clone, Default)]
pub struct Tasks(Arc<Mutex<JoinSet<()>>>);

impl Tasks {
    /// Starts a task.
    pub fn start(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut set = self.0.lock().expect("nothing panics while it holds the lock");
        while set.try_join_next().is_some() {}
        set.spawn(task);
    }
}
