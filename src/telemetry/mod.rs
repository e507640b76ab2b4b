//! Named events: one call counts, and feeds what `status` shows. The names are an interface (`tablelift_*`).
//!
//! Promises: cheap enough for hot paths; never a row's value.
//! Will not: decide anything, or keep state that outlives the process.
//!
//! To add a metric: its handle and its description in `series`, the call in `meter` (or the gauge in `Vitals`), a line in the
//! test `metrics_are_the_interface` of `tests/it/status.rs`.

mod exporter;
mod meter;
mod series;
mod waiting;
mod window;

pub use exporter::Exporter;
pub use meter::{Meter, Stage, TableMeter, now, since};
pub use series::{Vitals, retried};
pub use window::Spread;
