//! INHERITS between lifted tables: each is made for itself.

use super::{Design, Given, Lifted};
use crate::finding::Finding;
use crate::pg::quote;

/// Says of a table that is made without INHERITS how it gets it.
pub fn inheritance(design: &mut Design, given: &Given, lifted: &[Lifted]) {
    for parent in &given.parents {
        let what = format!(
            "`{}` inherits from `{parent}`, and the target table is made without that: a SELECT from the parent shows its own rows only",
            design.source
        );
        let finding = Finding::note("table.target_uninherited", design.target.to_string(), what);
        let found = lifted.iter().find(|one| one.source == *parent);
        design.left_out.push(match found {
            Some(parent) => finding.sql(format!(
                "-- once all is copied and built; also while we follow:\nALTER TABLE {} INHERIT {};",
                quote::table(&design.target),
                quote::table(&parent.target)
            )),
            None => finding.hint("give the parent an entry too, if its table is wanted there"),
        });
    }
}
