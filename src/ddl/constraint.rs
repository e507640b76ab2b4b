//! CHECK constraints, by the source's own text: only where every column that they read has its name in the target, for the text is not
//! read. Exclusion constraints cannot be built beside writers, and are left to a person.

use super::{Constraint, Design, Given, Kind, Step, left_out};
use crate::pg::quote;

pub(super) fn add(design: &mut Design, given: &Given) {
    for check in &given.checks {
        if let Some(why) = unfit(design, check) {
            design.left_out.push(left_out(&design.target, "check", &check.name, &why));
            continue;
        }
        let (table, name) = (quote::table(&design.target), quote::ident(&check.name));
        let sql = format!("ALTER TABLE {table} ADD CONSTRAINT {name} {} NOT VALID", without_not_valid(&check.definition));
        design.after_load.push(Step::new(Kind::Check, &check.name, sql));
        if check.validated {
            design.after_load.push(Step::validate(&design.target, &check.name));
        }
    }
    for exclusion in &given.exclusions {
        let why = unfit(design, exclusion);
        let (table, name) = (quote::table(&design.target), quote::ident(&exclusion.name));
        let told = why.as_deref().unwrap_or("it would lock the table while it is built");
        let finding = left_out(&design.target, "exclusion constraint", &exclusion.name, told);
        design.left_out.push(match why {
            Some(_) => finding,
            None => finding.sql(format!("ALTER TABLE {table} ADD CONSTRAINT {name} {};", exclusion.definition)),
        });
    }
}

pub(super) fn without_not_valid(definition: &str) -> &str {
    definition.strip_suffix(" NOT VALID").unwrap_or(definition)
}

fn unfit(design: &Design, constraint: &Constraint) -> Option<String> {
    let column = constraint.uses.iter().find(|column| design.plain.get(*column) != Some(column))?;
    Some(match design.plain.get(column) {
        Some(name) => format!("it reads column `{column}`, which is `{name}` in the target"),
        None => format!("it reads column `{column}`, which the target does not have as it is"),
    })
}
