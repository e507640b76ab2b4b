//! The only place that starts tasks and joins the rooms.
mod board;
mod gate;
mod gather;
mod local;
mod session;
mod tasks;
pub use tasks::Tasks;
