//! What stands beside a pipeline for as long as its daemon lives: HTTP, metrics, progress.

use super::progress;
use crate::config::Connector;
use crate::http::{self, Answers};
use crate::pipeline::{Answer, Live, Observer, Tasks, Watch};
use crate::status::Status;
use crate::telemetry::Exporter;
use std::sync::Arc;
use tokio::sync::watch;

/// A daemon's company. Dropped, it ends.
pub(super) struct Attendance {
    pub live: Arc<Live>,
    _tasks: Tasks,
    _tidy: Option<progress::Tidy>,
}

/// Whether progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Shown,
    Quiet,
}

/// Starts it. Before the pipeline: what it counts from then on is seen.
pub(super) fn attend(connector: &Arc<Connector>, progress: Progress) -> Attendance {
    let exporter = connector.http.and_then(|_| Exporter::install());
    let live = Arc::new(Live::new(Arc::clone(connector)));
    let answer = Answer::new(Arc::clone(&live), exporter);
    let tasks = Tasks::default();
    let (seen, look) = watch::channel(Status::default());
    tasks.start(Watch { live: Arc::clone(&live) }.run());
    tasks.start(Observer { answer: answer.clone(), seen }.run());
    if let Some(listen) = connector.http {
        let metrics = answer.clone();
        let answers = Answers {
            status: Arc::new(move || {
                let answer = answer.clone();
                Box::pin(async move { answer.status().await })
            }),
            metrics: Arc::new(move || metrics.metrics()),
        };
        tasks.start(http::serve(listen, answers));
    }
    let tidy = (progress == Progress::Shown).then(|| {
        tasks.start(progress::show(look));
        progress::Tidy
    });
    Attendance { live, _tasks: tasks, _tidy: tidy }
}
