//! Placeholder until branch `pg` brings the loader.

use super::Connector;
use std::path::Path;

/// Everything that is wrong with a connector file.
#[derive(Debug, thiserror::Error)]
#[error("cannot load `{0}`: the loader is being written")]
pub struct ConfigErrors(String);

impl Connector {
    /// Reads and checks a connector file.
    ///
    /// # Errors
    /// All mistakes.
    pub fn load(file: &Path) -> Result<Self, ConfigErrors> {
        Err(ConfigErrors(file.display().to_string()))
    }
}
