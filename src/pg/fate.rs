//! stub until merge
use crate::fate::Fate;
pub fn fate_of(_error: &tokio_postgres::Error) -> Fate {
    Fate::Halt
}
