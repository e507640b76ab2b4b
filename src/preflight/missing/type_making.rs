//! Types that the tables to be made need. Those that the target lacks are made in the transaction in which the tables are tried; what
//! cannot be made, and what is another type there, is a finding.

use crate::catalog::{self, CatalogError, SqlError, TypeGround, run_in};
use crate::ddl::{self, Design, GivenType, TypeForm, TypeToMake};
use crate::finding::Finding;
use crate::pg::quote;
use crate::preflight::listed;
use crate::preflight::rules::Compiled;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::{Client, Transaction};

/// What there is of the types on both sides.
pub(super) struct TypeMaking {
    /// Of the source, what they are made of first.
    given: Vec<GivenType>,
    /// One for each of them.
    ground: Vec<TypeGround>,
    /// The target's own, by name.
    standing: BTreeMap<String, GivenType>,
    made: BTreeSet<String>,
    refused: BTreeMap<String, SqlError>,
}

impl TypeMaking {
    /// Looks at the types of all columns of the tables `wanted`.
    pub(super) async fn look(
        source: &Client,
        target: &mut Transaction<'_>,
        wanted: impl Iterator<Item = &Compiled>,
    ) -> Result<Self, CatalogError> {
        let columns = wanted.filter_map(|one| one.source.as_ref()).flat_map(|shape| &shape.columns);
        let oids: BTreeSet<u32> = columns.map(|column| column.type_oid).collect();
        let given = catalog::given_types(source, &Vec::from_iter(oids)).await?;
        let ground = catalog::type_grounds(&*target, &given).await?;
        let there: Vec<u32> = ground.iter().filter_map(|ground| ground.there).collect();
        let standing = catalog::given_types_in(target, &there).await?;
        let standing = standing.into_iter().map(|one| (one.name.clone(), one)).collect();
        Ok(Self { given, ground, standing, made: BTreeSet::new(), refused: BTreeMap::new() })
    }

    /// Makes those that are missing, in a transaction that is to be rolled back.
    pub(super) async fn rehearse(&mut self, transaction: &Transaction<'_>) -> Result<(), CatalogError> {
        for (one, ground) in self.given.iter().zip(&self.ground) {
            let blocked = self.lacks_part(one);
            let Some(sql) = one.sql().filter(|_| ground.there.is_none() && one.makeable() && !blocked) else { continue };
            let schema = format!("CREATE SCHEMA IF NOT EXISTS {}", one.schema);
            let mut done = Ok(());
            for sql in [(!ground.schema_there).then_some(schema), Some(sql)].into_iter().flatten() {
                if done.is_ok() {
                    done = run_in(transaction, &sql).await?;
                }
            }
            match done {
                Ok(()) => _ = self.made.insert(one.name.clone()),
                Err(refused) => _ = self.refused.insert(one.name.clone(), refused),
            }
        }
        Ok(())
    }

    /// Something that it is made of is neither there nor made: that has a finding of its own.
    fn lacks_part(&self, one: &GivenType) -> bool {
        let lacking = |(part, ground): (&GivenType, &TypeGround)| {
            ground.there.is_none() && !self.made.contains(&part.name) && one.parts().iter().any(|name| part.is(name))
        };
        self.given.iter().zip(&self.ground).any(lacking)
    }

    /// The types that are to be made for a table.
    pub(super) fn of(&self, design: &Design) -> Vec<TypeToMake> {
        let needed = ddl::needed(&self.given, &design.type_names());
        let made = needed.into_iter().filter(|one| self.made.contains(&one.name));
        made.map(|one| TypeToMake { given: one.clone(), schema: self.ground_of(one).is_some_and(|ground| !ground.schema_there) })
            .collect()
    }

    /// What stands in the way of those that the tables need.
    pub(super) fn findings<'a>(&self, designs: impl Iterator<Item = &'a Design>, role: &str) -> Vec<Finding> {
        let mut users: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for design in designs {
            for (column, type_name) in design.columns.iter().zip(design.type_names()) {
                for one in ddl::needed(&self.given, &[type_name]) {
                    users.entry(&one.name).or_default().push(format!("{}.{}", design.target, column.name));
                }
            }
        }
        let needed = self.given.iter().filter_map(|one| Some((one, users.get(one.name.as_str())?)));
        let mut told = BTreeSet::new();
        let findings = needed.flat_map(|(one, columns)| self.findings_of(one, columns, role));
        // one extension brings many types
        findings.filter(|finding| told.insert((finding.code, finding.remedy_text().to_owned()))).collect()
    }

    fn findings_of(&self, one: &GivenType, columns: &[String], role: &str) -> Vec<Finding> {
        if let Some(standing) = self.standing.get(&one.name) {
            return ddl::differences(one, standing);
        }
        let Some(ground) = self.ground_of(one).filter(|ground| ground.there.is_none()) else { return Vec::new() };
        if self.made.contains(&one.name) {
            return Vec::new();
        }
        let what = format!("it has no type {}, which is needed for {}", one.name, listed(columns));
        match self.refused.get(&one.name) {
            Some(refused) => vec![not_makeable(one, ground, role, &what, refused)],
            None if one.makeable() => Vec::new(),
            None => vec![missing(one, ground, what)],
        }
    }

    fn ground_of(&self, one: &GivenType) -> Option<&TypeGround> {
        self.given.iter().position(|given| given.name == one.name).map(|at| &self.ground[at])
    }
}

/// What is a person's to make.
fn missing(one: &GivenType, ground: &TypeGround, what: String) -> Finding {
    let finding = Finding::error("target.type_missing", "target", what);
    match (&one.form, &ground.extension_in, one.sql()) {
        (TypeForm::Extension(name), Some(elsewhere), _) => {
            let name = quote::ident(name);
            finding.sql(format!("-- it is there, in the schema {elsewhere}\nALTER EXTENSION {name} SET SCHEMA {};", one.schema))
        }
        (_, _, Some(sql)) => finding.sql(with_schema(one, ground, &sql)),
        (TypeForm::Row(_), ..) => {
            finding.hint("it is the row type of a table: make that table there, or cast the column to text")
        }
        _ => finding.hint("make it there, or give the column an expression, such as a cast to text"),
    }
}

fn with_schema(one: &GivenType, ground: &TypeGround, sql: &str) -> String {
    if ground.schema_there { format!("{sql};") } else { format!("CREATE SCHEMA IF NOT EXISTS {};\n{sql};", one.schema) }
}

/// The target was asked to make it.
fn not_makeable(one: &GivenType, ground: &TypeGround, role: &str, what: &str, refused: &SqlError) -> Finding {
    let finding = Finding::error("target.type_missing", "target", format!("{what}, and it cannot be made: {refused}"));
    let role = quote::ident(role);
    match (refused.code.as_str(), ground.schema_there) {
        ("42501", true) => finding.sql(format!("GRANT USAGE, CREATE ON SCHEMA {} TO {role};", one.schema)),
        ("42501", false) => finding.sql(format!("CREATE SCHEMA {} AUTHORIZATION {role};", one.schema)),
        _ => {
            let sql = with_schema(one, ground, &one.sql().unwrap_or_default());
            finding.sql(format!("-- make what it needs first, or leave that out:\n{sql}"))
        }
    }
}
