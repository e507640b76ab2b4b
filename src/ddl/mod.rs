//! The DDL of a target table that is to be made: a rule, its source table and its expressions' facts in, SQL out.
//!
//! Promises: pure; the same table always gives the same text. What of the source's table does not come along is said, each with the
//! reason. Every statement by itself, in the order in which they can run, so that a crash between any two leaves the rest.
//! Will not: make anything, or decide when. A sequence of its own, a trigger and a grant are none of its business.
//!
//! To add a kind of object: what the source has of it in `given`, its query in `catalog::given`, its SQL beside `index` and
//! `constraint`, a [`Kind`] with its phase in `step`, and how to see that it is there in `pipeline::after_load`.

mod column;
mod constraint;
mod design;
mod foreign_key;
mod given;
#[cfg(test)]
mod golden;
mod index;
mod inheritance;
mod kind_of_type;
mod name;
mod offer;
mod refusal;
mod step;
mod type_difference;

pub use column::Column;
pub use design::{Design, Ground, KeyTime, TypeToMake, design};
pub use foreign_key::{Lifted, Pace, foreign_keys};
pub use given::{Constraint, ForeignKey, Generated, Given, GivenColumn, Identity, Index, Part};
pub use inheritance::inheritance;
pub use kind_of_type::{Attribute, DomainCheck, GivenType, TypeForm, needed};
pub use offer::{Rebuild, rebuild};
pub use refusal::{because, left_out};
pub use step::{Kind, Step, UnknownKind};
pub use type_difference::differences;

/// Taken by whoever makes schemas, types or tables, or tries to, until its transaction ends: what two make at once would fail in one.
pub const ALONE: &str = "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('tablelift create'))";
