//! Faults of a row in words that hold none of its values, as the server's own sentence would.

use tokio_postgres::error::{DbError, ErrorPosition};

/// Whether the server's sentence speaks of objects and statements only. What fails while rows are read may quote a value under any code, `regclass` or
/// `tsquery` under those of class 42; then it points at no place in the statement.
pub fn of_objects(error: &DbError) -> bool {
    let code = error.code().code();
    let placed = code.starts_with("42") && matches!(error.position(), Some(ErrorPosition::Original(_)));
    placed || ["42501", "428C9", "42P10", "25006"].contains(&code)
}

/// Row faults in words (PostgreSQL's manual, appendix A).
pub fn meaning(code: &str) -> Option<&'static str> {
    Some(match code {
        "22001" => "a value is too long for its column",
        "22003" => "a number is out of the column's range",
        "22007" | "22008" => "a date or time does not fit the column",
        "22021" | "22P05" => "a character does not exist in the target's encoding",
        "22P02" | "22P03" => "a value does not read as the column's type",
        "22012" => "an expression divides by zero",
        "23502" => "a value is null and the column is NOT NULL",
        "23503" => "a foreign key does not hold",
        "23505" => "another row has this key already",
        "23514" => "a check constraint does not hold",
        "23P01" => "an exclusion constraint does not hold",
        "P0001" => "a trigger raised an error",
        _ => return None,
    })
}
