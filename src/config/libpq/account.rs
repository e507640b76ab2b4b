//! The operating system's account we run as: libpq's default role, and the home of its files.

use crate::config::substitute::Environment;
use std::path::PathBuf;

/// The user's name: what the environment says, else what /etc/passwd has for our user id.
pub(super) fn user(env: Environment<'_>) -> Option<String> {
    let named = |variable| env(variable).filter(|name| !name.is_empty());
    named("USER").or_else(|| named("LOGNAME")).or_else(|| passwd_field(0))
}

pub(super) fn home(env: Environment<'_>) -> Option<PathBuf> {
    env("HOME").filter(|home| !home.is_empty()).or_else(|| passwd_field(5)).map(PathBuf::from)
}

/// A field of our line in /etc/passwd: name:password:uid:gid:comment:home:shell.
#[cfg(unix)]
fn passwd_field(field: usize) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let uid = std::fs::metadata("/proc/self").ok()?.uid().to_string();
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    let ours = accounts.lines().find(|line| line.split(':').nth(2) == Some(&uid))?;
    ours.split(':').nth(field).map(str::to_owned)
}

#[cfg(not(unix))]
fn passwd_field(_field: usize) -> Option<String> {
    None
}
