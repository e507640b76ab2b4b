//! Named events: one call counts, and feeds what `status` shows. The names are an interface (`tablelift_*`).
//!
//! Promises: cheap enough for hot paths; never a row's value.
//! Will not: decide anything, or keep state that outlives the process.

mod meter;

pub use meter::{Meter, Stage, TableMeter, now, since};
