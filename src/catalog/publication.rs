//! Publications, and what they publish.

use super::CatalogError;
use crate::change::TableName;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::GenericClient;

/// A publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    pub name: String,
    pub owner: String,
    /// We are its owner, or may act as it.
    pub ours: bool,
    pub all_tables: bool,
    pub insert: bool,
    pub update: bool,
    pub delete: bool,
    pub truncate: bool,
    pub via_root: bool,
    pub members: BTreeMap<TableName, Member>,
}

/// How a table is published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// The only columns that are published; `None`: all.
    pub columns: Option<BTreeSet<String>>,
    /// A row filter (15 and later).
    pub filter: Option<String>,
}

const PUBLICATIONS: &str = "
    SELECT p.oid, p.pubname::text, p.pubowner::regrole::text, pg_has_role(p.pubowner, 'USAGE'), p.puballtables,
           p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot
      FROM pg_publication p WHERE p.pubname = ANY($1) ORDER BY p.pubname";

/// The view knows schemas and ALL TABLES; without `publish_via_partition_root` it names the leaves, so the tables that were named
/// are added. Filters and column lists came with 15: through JSON the columns may be missing.
const MEMBERS: &str = "
    SELECT t.pubname::text, t.schemaname::text, t.tablename::text, NULL::text[], to_jsonb(t) ->> 'rowfilter'
      FROM pg_publication_tables t WHERE t.pubname = ANY($1)
    UNION ALL
    SELECT p.pubname::text, n.nspname::text, c.relname::text,
           CASE WHEN to_jsonb(r) ->> 'prattrs' IS NOT NULL THEN array(
                SELECT a.attname::text FROM pg_attribute a
                 WHERE a.attrelid = c.oid
                   AND a.attnum::text = ANY(regexp_split_to_array(translate(to_jsonb(r) ->> 'prattrs', '[],', '   '), ' +'))) END,
           NULL
      FROM pg_publication p
      JOIN pg_publication_rel r ON r.prpubid = p.oid
      JOIN pg_class c ON c.oid = r.prrelid
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE p.pubname = ANY($1)";

/// Those of `names` that exist.
///
/// # Errors
/// A query failed.
pub async fn publications(client: &impl GenericClient, names: &[&str]) -> Result<BTreeMap<String, Publication>, CatalogError> {
    let mut found = BTreeMap::new();
    for row in client.query(PUBLICATIONS, &[&names]).await? {
        let publication = Publication {
            name: row.try_get(1)?,
            owner: row.try_get(2)?,
            ours: row.try_get(3)?,
            all_tables: row.try_get(4)?,
            insert: row.try_get(5)?,
            update: row.try_get(6)?,
            delete: row.try_get(7)?,
            truncate: row.try_get(8)?,
            via_root: row.try_get(9)?,
            members: BTreeMap::new(),
        };
        found.insert(publication.name.clone(), publication);
    }
    for row in client.query(MEMBERS, &[&names]).await? {
        let table = TableName::new(row.try_get::<_, String>(1)?, row.try_get::<_, String>(2)?);
        let columns: Option<Vec<String>> = row.try_get(3)?;
        let filter: Option<String> = row.try_get(4)?;
        if let Some(publication) = found.get_mut(row.try_get::<_, &str>(0)?) {
            let member = publication.members.entry(table).or_default();
            member.columns = columns.map(|names| names.into_iter().collect()).or(member.columns.take());
            member.filter = filter.or(member.filter.take());
        }
    }
    Ok(found)
}
