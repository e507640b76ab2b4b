//! A server, the database we are in, and the role we are.

use super::CatalogError;
use tokio_postgres::{GenericClient, Row};

/// Whose server it is, as far as that changes what can be granted and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    Plain,
    /// Amazon RDS and Aurora.
    Rds,
    /// Google Cloud SQL.
    CloudSql,
    /// Azure Database for PostgreSQL.
    Azure,
}

/// One server, seen from one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// `server_version_num`, such as 150009.
    pub version: i32,
    pub version_text: String,
    pub system_id: String,
    pub in_recovery: bool,
    pub platform: Platform,
    pub database: String,
    pub encoding: String,
    pub role: String,
    pub superuser: bool,
    /// CREATE on the database: schemas, publications.
    pub may_create: bool,
    /// TEMPORARY on the database.
    pub may_make_temporary: bool,
    pub wal_level: String,
    pub max_replication_slots: i64,
    pub max_wal_senders: i64,
    pub wal_senders: i64,
    /// Off: nobody counts a table's updates and deletes.
    pub track_counts: bool,
    pub slots: Vec<Slot>,
}

impl Server {
    /// Such as 15.
    pub fn major(&self) -> i32 {
        self.version / 10_000
    }
}

/// A replication slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    pub name: String,
    /// `None`: physical.
    pub plugin: Option<String>,
    pub database: Option<String>,
    pub temporary: bool,
    pub active_pid: Option<i32>,
    /// `pg_replication_slots.wal_status`: `reserved`, `extended`, `unreserved`, `lost`.
    pub wal_status: Option<String>,
}

const SERVER: &str = "
    SELECT current_setting('server_version_num')::int, current_setting('server_version'),
           (SELECT system_identifier::text FROM pg_control_system()), pg_is_in_recovery(),
           CASE WHEN to_regrole('rds_superuser') IS NOT NULL THEN 'rds'
                WHEN to_regrole('cloudsqlsuperuser') IS NOT NULL THEN 'cloudsql'
                WHEN to_regrole('azure_pg_admin') IS NOT NULL THEN 'azure' ELSE 'plain' END,
           current_database()::text, current_setting('server_encoding'), current_user::text,
           coalesce((SELECT rolsuper FROM pg_roles WHERE rolname = current_user), false),
           has_database_privilege(current_database(), 'CREATE'), has_database_privilege(current_database(), 'TEMPORARY'),
           current_setting('wal_level'), current_setting('max_replication_slots')::int8,
           current_setting('max_wal_senders')::int8, (SELECT count(*) FROM pg_stat_replication),
           current_setting('track_counts')::bool";

const SLOTS: &str = "
    SELECT slot_name::text, plugin::text, database::text, temporary, active_pid, wal_status
      FROM pg_replication_slots ORDER BY slot_name";

/// Asks a server about itself.
///
/// # Errors
/// A query failed.
pub async fn server(client: &impl GenericClient) -> Result<Server, CatalogError> {
    let row = client.query_one(SERVER, &[]).await?;
    let slots = client.query(SLOTS, &[]).await?;
    Ok(Server {
        version: row.try_get(0)?,
        version_text: row.try_get(1)?,
        system_id: row.try_get(2)?,
        in_recovery: row.try_get(3)?,
        platform: match row.try_get(4)? {
            "rds" => Platform::Rds,
            "cloudsql" => Platform::CloudSql,
            "azure" => Platform::Azure,
            _ => Platform::Plain,
        },
        database: row.try_get(5)?,
        encoding: row.try_get(6)?,
        role: row.try_get(7)?,
        superuser: row.try_get(8)?,
        may_create: row.try_get(9)?,
        may_make_temporary: row.try_get(10)?,
        wal_level: row.try_get(11)?,
        max_replication_slots: row.try_get(12)?,
        max_wal_senders: row.try_get(13)?,
        wal_senders: row.try_get(14)?,
        track_counts: row.try_get(15)?,
        slots: slots.iter().map(slot).collect::<Result<_, _>>()?,
    })
}

fn slot(row: &Row) -> Result<Slot, tokio_postgres::Error> {
    Ok(Slot {
        name: row.try_get(0)?,
        plugin: row.try_get(1)?,
        database: row.try_get(2)?,
        temporary: row.try_get(3)?,
        active_pid: row.try_get(4)?,
        wal_status: row.try_get(5)?,
    })
}
