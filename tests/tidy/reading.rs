//! Reading the project as text: which files there are, and what of a Rust file is code.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of the project: its path from the top, with `/`, and its text.
pub struct File {
    pub path: String,
    pub text: String,
}

/// Every text file below the top, but what is built, fetched or git's.
pub fn files() -> Vec<File> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![top.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder can be read").map(|e| e.expect("its entries too").path()) {
            let name = entry.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_string();
            if [".git", "target", ".tools"].contains(&name.as_str()) {
                continue;
            }
            if entry.is_dir() {
                folders.push(entry);
            } else if let Ok(text) = fs::read_to_string(&entry) {
                found.push(File { path: relative(top, &entry), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn relative(top: &Path, path: &Path) -> String {
    let parts: PathBuf = path.strip_prefix(top).expect("it lies below").components().collect();
    parts.to_string_lossy().replace('\\', "/")
}

impl File {
    /// The room of a file under `src/`: `source` for `src/source/slot.rs`, `fate` for `src/fate.rs`, `main` for `src/main.rs`.
    pub fn room(&self) -> Option<&str> {
        let inner = self.path.strip_prefix("src/")?;
        inner.split('/').next()?.strip_suffix(".rs").or_else(|| inner.split_once('/').map(|(room, _)| room))
    }

    /// Whether it holds nothing but tests.
    pub fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// The lines of code, with their numbers: comments, texts and tests taken out.
    pub fn code(&self) -> Vec<(usize, String)> {
        self.scrubbed().lines().enumerate().map(|(at, line)| (at + 1, line.to_string())).collect()
    }

    fn scrubbed(&self) -> String {
        scrub(self.text.find("#[cfg(test)]\nmod tests {").map_or(self.text.as_str(), |at| &self.text[..at]))
    }

    /// The rooms that the code names: line, room, and what of the room. `crate::room::Item`, `tablelift::room::Item`,
    /// `crate::{room::{Item, ...}, ...}` and `super::super::room::Item`.
    pub fn names(&self) -> Vec<(usize, String, String)> {
        let depth = self.path.matches('/').count() - usize::from(self.path.ends_with("/mod.rs"));
        let up = "super::".repeat(depth);
        let code = self.scrubbed();
        let mut names = Vec::new();
        for start in ["crate::", "tablelift::", &up] {
            for (found, _) in code.match_indices(start) {
                if code[..found].ends_with(|c: char| is_word(c) || c == ':') {
                    continue;
                }
                let line = code[..found].matches('\n').count() + 1;
                let mut paths = Vec::new();
                tree(&code[found + start.len()..], &[], &mut paths);
                names.extend(paths.into_iter().map(|p| (line, p[0].clone(), p.get(1).cloned().unwrap_or_default())));
            }
        }
        names.sort();
        names
    }
}

/// The paths of a use tree, `a::{b, c::{d, e}}` as `a::b`, `a::c::d`, `a::c::e`. Returns what follows it.
fn tree<'a>(text: &'a str, above: &[String], paths: &mut Vec<Vec<String>>) -> &'a str {
    let mut path = above.to_vec();
    let mut rest = text.trim_start();
    loop {
        if let Some(inner) = rest.strip_prefix('{') {
            rest = inner.trim_start();
            while !rest.is_empty() && !rest.starts_with('}') {
                let before = rest.len();
                rest = tree(rest, &path, paths).trim_start();
                // `as name`, a comma: on to the next branch.
                let next = rest.find([',', '}']).unwrap_or(rest.len());
                rest = rest[next..].trim_start_matches(',').trim_start();
                assert!(rest.len() < before, "a use tree ends");
            }
            return rest.strip_prefix('}').unwrap_or(rest);
        }
        let word = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        if word == 0 {
            break;
        }
        path.push(rest[..word].to_string());
        rest = &rest[word..];
        match rest.strip_prefix("::") {
            Some(next) => rest = next,
            None => break,
        }
    }
    if path.len() > above.len() {
        paths.push(path);
    }
    rest
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Takes comments and the insides of texts out, keeps the lines.
fn scrub(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if c == '"' {
            text_length(rest)
        } else if rest.starts_with("r\"") || rest.starts_with("r#") {
            raw_length(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\") {
            1 + rest[2..].find('\'').map_or(0, |at| at + 2)
        } else {
            0
        };
        if skipped > 0 {
            out.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
            rest = &rest[skipped..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

fn text_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    text.len()
}

fn raw_length(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    if !text[1 + hashes..].starts_with('"') {
        return 1; // a raw identifier
    }
    let end = format!("\"{}", "#".repeat(hashes));
    text[2 + hashes..].find(&end).map_or(text.len(), |at| 2 + hashes + at + end.len())
}

#[test]
fn code_is_told_from_text() {
    let text = "use crate::{change::Row, // crate::apply
    pg::{Host, quote::ident as id},
};
let a = \"crate::log\\\"\"; crate::source::x('\"', r#\"crate::b\"#);
super::super::log::y();
#[cfg(test)]
mod tests { crate::http::z }";
    let file = File { path: "src/target/rows.rs".into(), text: text.into() };
    let names: Vec<String> = file.names().iter().map(|(line, room, item)| format!("{line} {room} {item}")).collect();
    assert_eq!(names, ["1 change Row", "1 pg Host", "1 pg quote", "4 source x", "5 log y"]);
    assert_eq!((file.room(), File { path: "src/fate.rs".into(), text: String::new() }.room()), (Some("target"), Some("fate")));
}
