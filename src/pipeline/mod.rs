//! The only place that starts tasks and joins the rooms.
//!
//! Promises: each life starts from what is durable in the databases and the log, and from nothing else.
//! Will not: hold a rule of its own about changes; those are in the rooms that it joins.

mod after_load;
mod board;
mod copy;
mod create;
mod entries;
mod gate;
mod gather;
mod headway;
mod held;
mod holdup;
pub mod kafka;
mod leaves;
mod left_to_build;
mod live;
mod lives;
mod local;
mod observe;
mod past;
mod prepare;
mod publish;
mod recheck;
mod remove;
mod report;
mod resync;
mod run;
mod session;
mod sizes;
mod start_error;
mod structure;
mod take_on;
mod tasks;
mod trend;
mod turn;
mod window;

pub use after_load::{Finished, SESSIONS, Traffic, finish, finish_all, keep};
pub use board::{Board, HaltedTable, Progress, Stream};
pub use create::create;
pub use headway::Headways;
pub use held::{Held, held, same_source};
pub use holdup::Watch;
#[cfg(test)]
pub(crate) use holdup::{Busy, Side};
pub use leaves::unknown_partitions;
pub use live::Live;
pub use lives::{Course, End, run, stopped};
pub use observe::{Answer, Observer};
pub use prepare::{FirstCopy, Prepared, prepare};
pub use remove::{Removal, plan as plan_removal, remove};
pub use report::Reporter;
pub use resync::{Asked, CopyOrder, ResyncError, Wish, order as order_copies, resync};
#[cfg(test)]
pub(crate) use run::stands_by;
pub use run::{Life, RunOptions};
pub use session::open as open_session;
pub use start_error::PipelineError;
pub use tasks::Tasks;

use crate::store::table_state::Halted;

/// An error with its causes, on one line, without a row's values: the server's own sentence only where it speaks of objects.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let (cause_text, last) = match cause.downcast_ref::<tokio_postgres::error::DbError>() {
            Some(server) => (server_words(server), true),
            None => match cause.downcast_ref::<tokio_postgres::Error>().and_then(|error| error.as_db_error()) {
                Some(server) => (server_words(server), true),
                None => (cause.to_string(), false),
            },
        };
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = if last { None } else { cause.source() };
    }
    text
}

/// Why a table stands still. `hint`: where the error has none of its own.
fn halted_by(error: &PipelineError, hint: &str) -> Halted {
    match error {
        PipelineError::Session(error) => Halted::saying(&error.without_values(), hint),
        PipelineError::Belief { what, hint } => Halted { because: what.clone(), hint: hint.clone() },
        other => Halted::saying(&chain(other), hint),
    }
}

fn server_words(error: &tokio_postgres::error::DbError) -> String {
    let code = error.code().code();
    if code.starts_with("22") || code.starts_with("23") {
        format!("SQLSTATE {code}")
    } else {
        format!("{} (SQLSTATE {code})", error.message())
    }
}
