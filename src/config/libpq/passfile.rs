//! The password file (PostgreSQL's manual, 34.16): `host:port:database:user:password` a line, `*` for any, `\` before `:` and `\`.

use std::path::{Path, PathBuf};

/// The lines of a password file. `Debug` is left out on purpose.
#[derive(Default)]
pub(super) struct Passfile(Vec<[String; 5]>);

impl Passfile {
    /// A file that is not there has no passwords; one that others can read is refused, as libpq does, and we say so.
    pub fn read(path: Option<PathBuf>) -> Self {
        let Some((path, text)) = path.and_then(|path| Some((path.clone(), std::fs::read_to_string(path).ok()?))) else {
            return Self::default();
        };
        if open_to_others(&path) {
            tracing::warn!(
                file = %path.display(),
                "the password file is not used, for group or others have access to it; hint: chmod 0600"
            );
            return Self::default();
        }
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(fields).collect())
    }

    /// The first line that fits. An empty password is none.
    pub fn password(&self, host: &str, port: u16, database: &str, user: &str) -> Option<String> {
        let port = port.to_string();
        let wanted = [host, &port, database, user];
        let fits = |line: &&[String; 5]| line.iter().zip(wanted).all(|(field, wanted)| field == "*" || field == wanted);
        self.0.iter().find(fits).map(|line| line[4].clone()).filter(|password| !password.is_empty())
    }
}

fn fields(line: &str) -> Option<[String; 5]> {
    let mut found = [const { String::new() }; 5];
    let mut at = 0;
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => found[at].extend(characters.next()),
            // The password is the rest of the line.
            ':' if at < 4 => at += 1,
            _ => found[at].push(c),
        }
    }
    (at == 4).then_some(found)
}

#[cfg(unix)]
fn open_to_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn open_to_others(_path: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_fits() {
        let file = Passfile::parse(
            "# comment:5432:*:*:no\nshort:line\nh:5433:*:app:one\n*:5432:d\\:b:*:t\\\\w\\:o\nlocalhost:*:*:*:unix\nempty:*:*:*:\n*:*:*:super:star",
        );
        for (host, port, database, user, expected) in [
            ("h", 5433, "x", "app", Some("one")),
            ("h", 5432, "d:b", "any", Some("t\\w:o")),
            ("localhost", 1, "x", "y", Some("unix")),
            ("empty", 1, "x", "super", None),
            ("other", 1, "x", "super", Some("star")),
            ("other", 1, "x", "nobody", None),
        ] {
            assert_eq!(file.password(host, port, database, user).as_deref(), expected, "{host} {user}");
        }
    }
}
