//! Publications: what the catalog has, and the SQL to make and change ours. The caller runs it, in the session of a role that owns
//! the tables.
//!
//! A connector has two: the main one, and `..._inserts` for keyless tables without a full replica identity, whose updates are
//! never published (the source would refuse them to its own applications).

use super::SourceError;
use crate::{
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
    /// Only these columns are sent (15 and later); `None`: all.
    pub columns: Option<Vec<String>>,
    /// Only these rows are sent (15 and later): SQL.
    pub row_filter: Option<String>,
}

/// Looks at a publication; `None`: there is none of that name.
///
/// # Errors
/// [`SourceError::Query`].
pub async fn publication(client: &Client, name: &str) -> Result<Option<Publication>, SourceError> {
    let failed = SourceError::query("read the publication");
    let sql = "SELECT pg_catalog.pg_get_userbyid(pubowner)::text, puballtables, pubviaroot, pubinsert, pubupdate, pubdelete, pubtruncate \
               FROM pg_catalog.pg_publication WHERE pubname = $1::text";
    let Some(row) = client.query_opt(sql, &[&name]).await.map_err(&failed)? else { return Ok(None) };
    // A cast to regclass would find no table that has got another name since the statement began.
    // Up to 14 there are neither lists of columns nor filters; and a list of all columns is none. 15 lists generated ones too, and sends none.
    let sql = "SELECT t.schemaname::text, t.tablename::text, t.j ->> 'rowfilter', \
                 CASE WHEN t.listed IS DISTINCT FROM t.present THEN t.listed END \
               FROM (SELECT p.schemaname, p.tablename, pg_catalog.to_jsonb(p) AS j, \
                 (SELECT pg_catalog.array_agg(c ORDER BY c) \
                    FROM pg_catalog.jsonb_array_elements_text(nullif(pg_catalog.to_jsonb(p) -> 'attnames', 'null')) c \
                    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attname::text = c AND a.attgenerated <> '' \
                      AND a.attrelid = p.oid)) AS listed, \
                 (SELECT pg_catalog.array_agg(a.attname::text ORDER BY a.attname::text COLLATE \"default\") FROM pg_catalog.pg_attribute a \
                    WHERE a.attrelid = p.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') AS present \
                 FROM (SELECT v.*, c.oid FROM pg_catalog.pg_publication_tables v \
                   JOIN pg_catalog.pg_namespace n ON n.nspname = v.schemaname \
                   JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = v.tablename \
                   WHERE v.pubname = $1::text) p) t ORDER BY 1, 2";
    let rows = client.query(sql, &[&name]).await.map_err(&failed)?;
    let tables = rows.iter().map(|row| PublishedTable {
        name: TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)),
        columns: row.get(3),
        row_filter: row.get(2),
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
