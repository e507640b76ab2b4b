//! A server, the database we are in, and the role we are. What only a source has (WAL, slots) `source` asks for.

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
    pub sessions: Sessions,
}

/// A limit on sessions, and how many of them there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub most: i64,
    pub used: i64,
}

/// What limits our sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// `max_connections`, without what is reserved for others than our role.
    pub server: Limit,
    pub database: Option<Limit>,
    pub role: Option<Limit>,
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
           array(SELECT slot_name::text FROM pg_replication_slots WHERE NOT active ORDER BY slot_name),
           most.server, used.server, most.of_database, used.of_database, most.of_role, used.of_role
    FROM (SELECT count(*) AS server, count(*) FILTER (WHERE datname = current_database()) AS of_database,
                 count(*) FILTER (WHERE usename = current_user) AS of_role
          FROM pg_stat_activity WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend') AS used,
         (SELECT current_setting('max_connections')::bigint - CASE WHEN rolsuper THEN 0
                     ELSE current_setting('superuser_reserved_connections')::bigint
                          + coalesce(current_setting('reserved_connections', true)::bigint, 0) END AS server,
                 CASE WHEN datconnlimit >= 0 AND NOT rolsuper THEN datconnlimit::bigint END AS of_database,
                 CASE WHEN rolconnlimit >= 0 AND NOT rolsuper THEN rolconnlimit::bigint END AS of_role
          FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database()) AS most";

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
        sessions: Sessions {
            server: Limit { most: row.try_get(14)?, used: row.try_get(15)? },
            database: limit(&row, 16)?,
            role: limit(&row, 18)?,
        },
    })
}

fn limit(row: &Row, at: usize) -> Result<Option<Limit>, CatalogError> {
    let (most, used) = (row.try_get::<_, Option<i64>>(at)?, row.try_get(at + 1)?);
    Ok(most.map(|most| Limit { most, used }))
}
