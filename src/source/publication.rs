//! Publications: what the catalog has, and the SQL to make and change ours. The caller runs it, in the session of a role that owns
//! the tables.
//!
//! A connector has two: the main one, and `..._inserts` for keyless tables without a full replica identity, whose updates are
//! never published (the source would refuse them to its own applications).

use super::SourceError;
use crate::{
    catalog::published,
    change::TableName,
    pg::quote::{ident, literal, table},
};
use tokio_postgres::Client;

/// What a publication carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    pub insert: bool,
    pub update: bool,
    pub delete: bool,
    pub truncate: bool,
}

impl Published {
    /// The main publication.
    pub const ALL: Self = Self { insert: true, update: true, delete: true, truncate: true };
    /// The one for tables whose rows are only added.
    pub const INSERTS: Self = Self { insert: true, update: false, delete: false, truncate: true };

    /// Publishes at least what `other` does.
    pub fn has_all_of(self, other: Self) -> bool {
        let each = |published: Self| [published.insert, published.update, published.delete, published.truncate];
        each(self).into_iter().zip(each(other)).all(|(has, wants)| has || !wants)
    }

    /// UPDATEs or DELETEs, for which an old row has to be told.
    pub fn old_rows(self) -> bool {
        self.update || self.delete
    }

    fn list(self) -> String {
        let all = [(self.insert, "insert"), (self.update, "update"), (self.delete, "delete"), (self.truncate, "truncate")];
        all.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
    }
}

/// A publication as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    pub name: String,
    pub owner: String,
    /// `FOR ALL TABLES`: its list of tables cannot be changed.
    pub all_tables: bool,
    pub via_root: bool,
    pub published: Published,
    /// Every table it carries, those of whole schemas too; of a partition tree its root or its leaves, as `via_root` says.
    pub tables: Vec<PublishedTable>,
}

impl Publication {
    pub fn carries(&self, table: &TableName) -> bool {
        self.all_tables || self.tables.iter().any(|carried| &carried.name == table)
    }

    /// Those that it does not carry.
    pub fn missing(&self, tables: &[TableName]) -> Vec<TableName> {
        tables.iter().filter(|table| !self.carries(table)).cloned().collect()
    }
}

/// A table of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedTable {
    pub name: TableName,
    /// Not all rows are sent (15 and later).
    pub filtered: bool,
    /// Not all columns are sent (15 and later). A list of all columns is none.
    pub partial: bool,
}

/// Looks at a publication; `None`: there is none of that name.
///
/// # Errors
/// [`SourceError::Query`].
pub async fn publication(client: &Client, name: &str) -> Result<Option<Publication>, SourceError> {
    let failed = SourceError::query("read the publication");
    let sql = "SELECT pg_catalog.pg_get_userbyid(pubowner)::text, puballtables, pubviaroot, pubinsert, pubupdate, pubdelete, pubtruncate, \
                 pg_catalog.current_setting('server_version_num')::integer FROM pg_catalog.pg_publication WHERE pubname = $1::text";
    let Some(row) = client.query_opt(sql, &[&name]).await.map_err(&failed)? else { return Ok(None) };
    let carried = published("ARRAY[$1::text]", row.get(7));
    let sql = format!(
        "SELECT n.nspname::text, c.relname::text, q.filtered, q.partial FROM {carried} AS q \
         JOIN pg_catalog.pg_class c ON c.oid = q.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY 1, 2"
    );
    let rows = client.query(&sql, &[&name]).await.map_err(&failed)?;
    let tables = rows.iter().map(|row| PublishedTable {
        name: TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
        filtered: row.get(2),
        partial: row.get(3),
    });
    Ok(Some(Publication {
        name: name.to_owned(),
        owner: row.get(0),
        all_tables: row.get(1),
        via_root: row.get(2),
        published: Published { insert: row.get(3), update: row.get(4), delete: row.get(5), truncate: row.get(6) },
        tables: tables.collect(),
    }))
}

impl super::Connection {
    /// The first of these publications that does not exist.
    ///
    /// # Errors
    /// See [`SourceError`].
    pub async fn missing_publication(&mut self, names: &[String]) -> Result<Option<String>, SourceError> {
        for name in names {
            let sql = format!("SELECT 1 FROM pg_catalog.pg_publication WHERE pubname = {}", literal(name));
            if self.query("tell of the publication", &sql).await?.is_empty() {
                return Ok(Some(name.clone()));
            }
        }
        Ok(None)
    }
}

/// `CREATE PUBLICATION` for these tables, or for none yet. Changes of partitions are published as their root's.
pub fn create_sql(name: &str, tables: &[TableName], published: Published) -> String {
    let tables = if tables.is_empty() { String::new() } else { format!(" FOR TABLE {}", list(tables)) };
    let with = format!("publish = '{}', publish_via_partition_root = true", published.list());
    format!("CREATE PUBLICATION {}{tables} WITH ({with})", ident(name))
}

/// `ALTER PUBLICATION ... ADD TABLE`. At least one table.
pub fn add_sql(name: &str, tables: &[TableName]) -> String {
    format!("ALTER PUBLICATION {} ADD TABLE {}", ident(name), list(tables))
}

/// From this `server_version_num` on the stream notices by itself that a table becomes a partition, or ceases to be one; before, once a publication is
/// altered (`rel_sync_cache_relation_cb` in PostgreSQL's pgoutput.c).
pub const NOTICES_PARTITIONS: i32 = 150_000;

/// An `ALTER PUBLICATION` that changes nothing.
pub fn again_sql(found: &Publication) -> String {
    format!("ALTER PUBLICATION {} SET (publish_via_partition_root = {})", ident(&found.name), found.via_root)
}

/// `ALTER PUBLICATION ... DROP TABLE`. At least one table.
pub fn remove_sql(name: &str, tables: &[TableName]) -> String {
    format!("ALTER PUBLICATION {} DROP TABLE {}", ident(name), list(tables))
}

/// `DROP PUBLICATION`, if it is there.
pub fn drop_sql(name: &str) -> String {
    format!("DROP PUBLICATION IF EXISTS {}", ident(name))
}

/// `ONLY`, for what inherits from a table is published under its own name, which nobody asked for; and without a key its UPDATEs would
/// begin to fail. A partitioned table brings its leaves anyway.
fn list(tables: &[TableName]) -> String {
    tables.iter().map(|name| format!("ONLY {}", table(name))).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_quote_names() {
        let tables = [TableName::new("public", "Orders"), TableName::new("a b", "t\"x")];
        assert_eq!(
            create_sql("p\"1", &tables, Published::INSERTS),
            "CREATE PUBLICATION \"p\"\"1\" FOR TABLE ONLY \"public\".\"Orders\", ONLY \"a b\".\"t\"\"x\" \
             WITH (publish = 'insert, truncate', publish_via_partition_root = true)"
        );
        assert_eq!(
            create_sql("p", &[], Published::ALL),
            "CREATE PUBLICATION \"p\" WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)"
        );
        assert_eq!(add_sql("p", &tables[..1]), "ALTER PUBLICATION \"p\" ADD TABLE ONLY \"public\".\"Orders\"");
        assert_eq!(remove_sql("p", &tables[..1]), "ALTER PUBLICATION \"p\" DROP TABLE ONLY \"public\".\"Orders\"");
        assert_eq!(drop_sql("p"), "DROP PUBLICATION IF EXISTS \"p\"");
    }
}
