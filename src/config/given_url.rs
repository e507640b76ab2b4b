//! A database as a command line names it.

use super::libpq;
use super::substitute::substitute;

/// A url for a connector file. Not shown by `Debug`: it may hold a secret.
pub struct GivenUrl {
    /// For the file: `${variable}` stands where the password stood.
    pub written: String,
    pub database: String,
    pub user: String,
    /// The variable and what it is to hold, where the url came with a password.
    pub(super) secret: Option<(String, String)>,
}

impl GivenUrl {
    /// Reads what stands behind `--source` or `--target`, as in the file: `${VAR}` comes from the environment.
    ///
    /// # Errors
    /// All that is wrong with it, without any piece of it.
    pub fn read(text: &str, variable: &str) -> Result<Self, Vec<String>> {
        let env = |name: &str| std::env::var(name).ok();
        let mut complaints = Vec::new();
        let value = substitute(text, &env, &mut complaints);
        let endpoint = if complaints.is_empty() { libpq::endpoint(&value, &env) } else { Err(Vec::new()) };
        let endpoint = endpoint.map_err(|found| {
            let hint = |hint: Option<String>| hint.map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
            complaints.into_iter().chain(found).map(|one| format!("{}{}", one.what, hint(one.hint))).collect::<Vec<_>>()
        })?;
        let (written, secret) = libpq::hide(text, variable);
        Ok(Self {
            written,
            secret: secret.map(|text| (variable.to_owned(), text)),
            database: endpoint.database,
            user: endpoint.user,
        })
    }

    /// The variable that is to hold the password.
    pub fn variable(&self) -> Option<&str> {
        self.secret.as_ref().map(|(name, _)| name.as_str())
    }
}
