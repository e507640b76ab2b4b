//! The schema itself. Migrations only ever append.

use super::{StoreError, after_load, doing};
use tokio_postgres::Client;

const MIGRATIONS: [&str; 6] = [
    "
CREATE TABLE tablelift.connector (
    name            text PRIMARY KEY,
    source_system   text NOT NULL,
    source_database text NOT NULL,
    source_timeline integer NOT NULL,
    log_kind        text NOT NULL,
    topic_prefix    text,
    partitions      integer,
    slot            text NOT NULL,
    publication     text NOT NULL,
    incarnation     integer NOT NULL DEFAULT 1,
    made            jsonb NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL DEFAULT pg_catalog.now()
);
-- the local log is topic '' and partition 0; an epoch is drawn anew by each writer, and each of its transactions checks it
CREATE TABLE tablelift.checkpoint (
    connector     text NOT NULL REFERENCES tablelift.connector ON DELETE CASCADE,
    topic         text NOT NULL,
    partition     integer NOT NULL,
    epoch         bigint NOT NULL DEFAULT 0,
    capture_epoch bigint NOT NULL DEFAULT 0,
    position      text,
    end_lsn       pg_lsn,
    log_offset    bigint,
    committed_at  timestamptz,
    PRIMARY KEY (connector, topic, partition)
);
CREATE TABLE tablelift.table_state (
    connector      text NOT NULL REFERENCES tablelift.connector ON DELETE CASCADE,
    source_schema  text NOT NULL,
    source_name    text NOT NULL,
    target_schema  text NOT NULL,
    target_name    text NOT NULL,
    fingerprint    text NOT NULL,
    state          text NOT NULL,
    lacks_from     text,
    halted_because text,
    hint           text,
    halted_at      timestamptz,
    writes_missed  bigint,
    rows_copied    bigint NOT NULL DEFAULT 0,
    copied_at      timestamptz,
    PRIMARY KEY (connector, target_schema, target_name),
    CONSTRAINT one_owner UNIQUE (target_schema, target_name)
);
CREATE TABLE tablelift.watermark (
    connector text PRIMARY KEY REFERENCES tablelift.connector ON DELETE CASCADE,
    end_lsn   pg_lsn NOT NULL,
    ends      jsonb NOT NULL,
    written_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
-- partitions that stand before a marker which all of a topic's partitions must reach together
CREATE TABLE tablelift.barrier (
    connector  text NOT NULL REFERENCES tablelift.connector ON DELETE CASCADE,
    topic      text NOT NULL,
    marker     text NOT NULL,
    partition  integer NOT NULL,
    log_offset bigint NOT NULL,
    PRIMARY KEY (connector, topic, marker, partition)
);
",
    "ALTER TABLE tablelift.table_state ADD COLUMN structure text;",
    "
ALTER TABLE tablelift.connector ADD COLUMN copy_paused boolean NOT NULL DEFAULT false;
ALTER TABLE tablelift.table_state ADD COLUMN bytes_copied bigint NOT NULL DEFAULT 0, ADD COLUMN window_until pg_lsn,
    ADD COLUMN repeats boolean NOT NULL DEFAULT false;
-- the parts of a table that a copy reads, each with how far it is: moved in the transaction that brings the rows (local), or once they
-- are in the log (Kafka)
CREATE TABLE tablelift.copy_range (
    connector     text NOT NULL,
    target_schema text NOT NULL,
    target_name   text NOT NULL,
    nth           integer NOT NULL,
    range         text NOT NULL,
    done          boolean NOT NULL DEFAULT false,
    rows          bigint NOT NULL DEFAULT 0,
    bytes         bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (connector, target_schema, target_name, nth),
    FOREIGN KEY (connector, target_schema, target_name) REFERENCES tablelift.table_state ON DELETE CASCADE
);
CREATE TABLE tablelift.reread (
    connector     text NOT NULL,
    target_schema text NOT NULL,
    target_name   text NOT NULL,
    key           text[] NOT NULL,
    id            bigint GENERATED ALWAYS AS IDENTITY,
    asked_at      timestamptz NOT NULL DEFAULT pg_catalog.now(),
    tries         integer NOT NULL DEFAULT 0,
    PRIMARY KEY (connector, target_schema, target_name, key),
    FOREIGN KEY (connector, target_schema, target_name) REFERENCES tablelift.table_state ON DELETE CASCADE
);
CREATE UNIQUE INDEX ON tablelift.reread (connector, id);
",
    after_load::MIGRATION,
    "
-- a partitioned source table's partitions, as the copy found them; a copy of some of them only; and whether rows may be gone with them
ALTER TABLE tablelift.table_state ADD COLUMN leaves text, ADD COLUMN partial boolean NOT NULL DEFAULT false,
    ADD COLUMN sweeps boolean NOT NULL DEFAULT true;
",
    "
-- the target table, where several entries fill it: the names beside `connector` are then the entry's own
ALTER TABLE tablelift.table_state ADD COLUMN shared_schema text, ADD COLUMN shared_name text;
",
];

/// `CREATE SCHEMA IF NOT EXISTS` asks for CREATE on the database even where the schema is there. Whoever was given the schema alone
/// must not need that right, so it is looked for first (under our lock).
const MAKE_SCHEMA: &str = "DO $do$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'tablelift') THEN CREATE SCHEMA tablelift; END IF;
END $do$;";

/// Makes the schema, or brings it to this program's version. Idempotent, and safe against a second program that does the same.
///
/// # Errors
/// See [`StoreError`].
pub async fn ensure(client: &Client) -> Result<(), StoreError> {
    let known = i32::try_from(MIGRATIONS.len()).expect("few migrations");
    if exists(client).await? {
        let row =
            client.query_one("SELECT version FROM tablelift.schema_version", &[]).await.map_err(doing("read the version"))?;
        let found: i32 = row.get(0);
        if found > known {
            return Err(StoreError::Newer { found, known });
        }
        if found == known {
            return Ok(());
        }
    }
    let text = format!(
        "BEGIN; SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('tablelift schema'));
         {MAKE_SCHEMA}
         CREATE TABLE IF NOT EXISTS tablelift.schema_version (version integer NOT NULL);
         DO $do$ DECLARE have integer := (SELECT version FROM tablelift.schema_version); BEGIN
             IF have IS NULL THEN have := 0; INSERT INTO tablelift.schema_version VALUES (0); END IF;
             {}
             UPDATE tablelift.schema_version SET version = greatest({known}, version);
         END $do$; COMMIT",
        MIGRATIONS.iter().enumerate().map(|(at, sql)| format!("IF have <= {at} THEN {sql} END IF;")).collect::<String>(),
    );
    let made = client.batch_execute(&text).await;
    if made.is_err() {
        client.batch_execute("ROLLBACK").await.map_err(doing("roll back"))?;
    }
    made.map_err(doing("make the control tables"))
}

/// Whether the schema was ever made.
///
/// # Errors
/// See [`StoreError`].
pub async fn exists(client: &Client) -> Result<bool, StoreError> {
    let sql = "SELECT pg_catalog.to_regclass('tablelift.schema_version') IS NOT NULL";
    Ok(client.query_one(sql, &[]).await.map_err(doing("look for the control tables"))?.get(0))
}
