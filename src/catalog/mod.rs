//! What PostgreSQL's catalogs say: shapes of tables, what a pattern can name, facts of a server, and what an SQL expression is.
//! Any PostgreSQL from 13 to 18, over an ordinary session.
//!
//! Promises: reads only; what has to be tried (an expression, a statement, a table to be made) is tried inside a transaction
//! that is rolled back. Many tables cost one query, not one each. Answers do not depend on the session's `search_path`.
//! Will not: judge. What is wrong with these facts is for `preflight`, what follows from them for `mapping`.

mod access;
mod blocker;
mod error;
mod estimate;
mod given;
mod ground;
mod inheritance;
mod inventory;
mod kind_of_type;
mod lock;
mod mute;
mod partition;
mod published;
mod relation;
mod rule;
mod scratch;
mod server;
mod source;
mod target;
mod tree;

pub use access::{Access, access, may_act_as};
pub use blocker::{Blocker, Holder, blockers};
pub use error::{CatalogError, SqlError};
pub use estimate::row_estimates;
pub use given::given;
pub use ground::{Standing, ground, standing_indexes, taken_names};
pub use inheritance::heirs;
pub use inventory::{Inventory, Sequence, inventory};
pub use kind_of_type::{TypeGround, given_types, given_types_in, type_grounds};
pub use lock::{LockHolder, backend_pid, lock_holders};
pub use mute::{mute, mute_in};
pub use partition::{Leaf, leaves, parts, roots};
pub use published::published;
pub use relation::{LeftOut, Relation, relations};
pub use rule::{Refused, inputs, rule_facts};
pub use scratch::{Answers, Declared, Scratch, expression_facts, run_in, verdict_on};
pub use server::{Limit, Platform, Server, Sessions, server};
pub use source::{HAS_DEFAULT, leaf_default, source_shapes};
pub use target::target_shapes;
pub use tree::partition_tree;

use crate::change::TableName;

/// SQL: the name of the type `t` (an alias of `pg_type`) with the modifier `modifier`, as SQL that can be used as it stands.
/// `format_type` leaves the schema away where the session's `search_path` finds the type; here only `pg_catalog`'s go without.
fn type_name(t: &str, modifier: &str) -> String {
    format!(
        "(SELECT CASE WHEN e.typnamespace <> 'pg_catalog'::regnamespace AND pg_type_is_visible(e.oid)
                      THEN e.typnamespace::regnamespace::text || '.' ELSE '' END || format_type({t}.oid, {modifier})
            FROM pg_type e
           WHERE e.oid = CASE WHEN {array} THEN {t}.typelem ELSE {t}.oid END)",
        array = is_array(t)
    )
}

/// SQL: whether the type `t` is an array. Up to 13 a domain over arrays has their `typelem` too.
fn is_array(t: &str) -> String {
    format!("({t}.typelem <> 0 AND {t}.typcategory = 'A' AND {t}.typtype = 'b')")
}

/// Under this path the server writes every name with its schema, but for what is built in.
const WHOLE_NAMES: &str = "BEGIN READ ONLY; SET LOCAL search_path = pg_catalog";

/// SQL: the key columns of the index `i` (an alias of `pg_index`) in its order, expressions and INCLUDE columns left out.
fn index_columns(i: &str) -> String {
    format!(
        "array(SELECT a.attname::text
                 FROM unnest({i}.indkey) WITH ORDINALITY AS k(attnum, at)
                 JOIN pg_attribute a ON a.attrelid = {i}.indrelid AND a.attnum = k.attnum
                WHERE k.at <= {i}.indnkeyatts ORDER BY k.at)"
    )
}

/// Names as two arrays, for `unnest($1::text[], $2::text[])`.
fn split(names: &[TableName]) -> (Vec<&str>, Vec<&str>) {
    names.iter().map(|name| (name.schema.as_str(), name.name.as_str())).unzip()
}

/// The catalog's one-letter codes come as text: `"char"` has no form that every driver agrees on.
fn letter(row: &tokio_postgres::Row, at: usize) -> Result<char, tokio_postgres::Error> {
    Ok(row.try_get::<_, &str>(at)?.chars().next().unwrap_or(' '))
}
