//! How large the tables are in the source, as far as that is known without counting.

use crate::catalog;
use crate::change::TableName;
use crate::chunk::Part;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// So long they are good.
const AGE: Duration = Duration::from_secs(30);
/// A courtesy is not waited for longer.
const PATIENCE: Duration = Duration::from_secs(3);

/// By source table. What could not be asked stays as it was.
#[derive(Default)]
pub struct Sizes {
    rows: BTreeMap<TableName, i64>,
    files: BTreeMap<TableName, Vec<Part>>,
    asked: Option<Instant>,
}

impl Sizes {
    /// Asks again, if it is time to. `copying`: the files of all are wanted too.
    pub async fn refresh(&mut self, source: Option<&Client>, names: &[TableName], copying: bool) {
        let known = |name| self.rows.contains_key(name) && (!copying || self.files.contains_key(name));
        let fresh = self.asked.is_some_and(|at| at.elapsed() < AGE) && names.iter().all(known);
        let Some(source) = source.filter(|_| !fresh && !names.is_empty()) else { return };
        let asking = async {
            let rows = catalog::row_estimates(source, names).await?;
            let files = if copying { catalog::parts(source, names).await? } else { BTreeMap::new() };
            Ok::<_, catalog::CatalogError>((rows, files))
        };
        if let Ok(Ok((rows, files))) = tokio::time::timeout(PATIENCE, asking).await {
            (self.rows, self.files) = (rows, files);
            self.asked = Some(Instant::now());
        }
    }

    /// Rows, estimated. `None`: not known.
    pub fn rows(&self, name: &TableName) -> Option<u64> {
        self.rows.get(name).and_then(|&rows| u64::try_from(rows).ok())
    }

    /// Its files, partition by partition. Empty: not known.
    pub fn files(&self, name: &TableName) -> &[Part] {
        self.files.get(name).map_or(&[], Vec::as_slice)
    }
}
