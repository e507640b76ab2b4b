//! What there is to make tables on: schemas, names that are taken, and what the target refuses of a table's defaults.

use crate::catalog::{self, CatalogError, Scratch};
use crate::change::TableName;
use crate::ddl::{Given, Ground};
use crate::mapping::SourceShape;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::GenericClient;

/// Of all tables that are to be made.
pub(super) struct Grounds {
    there: BTreeSet<String>,
    /// By schema; grows with each table that is designed.
    taken: BTreeMap<String, BTreeSet<String>>,
}

impl Grounds {
    pub(super) async fn look(
        target: &impl GenericClient,
        tables: impl Iterator<Item = &TableName>,
    ) -> Result<Self, CatalogError> {
        let mut schemas: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for table in tables {
            schemas.entry(table.schema.clone()).or_default().insert(table.name.clone());
        }
        let found = catalog::taken_names(target, &schemas.keys().cloned().collect()).await?;
        let there = found.keys().cloned().collect();
        for (schema, names) in found {
            schemas.entry(schema).or_default().extend(names);
        }
        Ok(Self { there, taken: schemas })
    }

    /// What is under one table, and the names that are taken in its schema.
    pub(super) async fn under(
        &mut self,
        target: &mut impl GenericClient,
        table: &TableName,
        source: &SourceShape,
        given: &Given,
    ) -> Result<(Ground, &mut BTreeSet<String>), CatalogError> {
        let scratch = Scratch::open(target, &catalog::inputs(source)).await?;
        let refused = catalog::ground(&scratch, given).await?;
        scratch.close().await?;
        let ground = Ground { schema_there: self.there.contains(&table.schema), ..refused };
        Ok((ground, self.taken.entry(table.schema.clone()).or_default()))
    }
}
