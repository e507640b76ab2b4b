//! A server, the database we are in, and the role we are. What only a source has (WAL, slots) `source` asks for.

use super::CatalogError;
use tokio_postgres::GenericClient;

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
    /// Made by initdb, kept by every physical copy.
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
    /// The replication origin's functions are granted.
    pub may_set_origin: bool,
    /// Off: nobody counts a table's updates and deletes.
    pub track_counts: bool,
    /// Slots that nobody reads now.
    pub idle_slots: Vec<String>,
}

impl Server {
    /// Such as 15.
    pub fn major(&self) -> i32 {
        self.version / 10_000
    }
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
           has_function_privilege('pg_replication_origin_create(text)', 'EXECUTE')
             AND has_function_privilege('pg_replication_origin_session_setup(text)', 'EXECUTE'),
           current_setting('track_counts')::bool,
           array(SELECT slot_name::text FROM pg_replication_slots WHERE NOT active ORDER BY slot_name)";

/// Asks a server about itself.
///
/// # Errors
/// The query failed.
pub async fn server(client: &impl GenericClient) -> Result<Server, CatalogError> {
    let row = client.query_one(SERVER, &[]).await?;
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
        may_set_origin: row.try_get(11)?,
        track_counts: row.try_get(12)?,
        idle_slots: row.try_get(13)?,
    })
}
