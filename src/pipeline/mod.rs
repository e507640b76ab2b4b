//! The only place that starts tasks and joins the rooms.
mod gate;
