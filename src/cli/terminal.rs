//! Stderr, shared by the log and the progress lines: a log line goes above them, never through them.

use super::fit::width;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard};
use terminal_size::{Height, Width};

/// Columns and rows that a line, and the lines, may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub columns: usize,
    pub rows: usize,
}

/// The lines that stand at the bottom of the terminal now; `None`: none ever again.
static BOTTOM: Mutex<Option<Vec<String>>> = Mutex::new(Some(Vec::new()));

fn bottom() -> MutexGuard<'static, Option<Vec<String>>> {
    BOTTOM.lock().expect("nothing panics while it holds the lock")
}

/// Whether lines can stand at the bottom at all.
pub(super) fn is_there() -> bool {
    io::stderr().is_terminal()
}

/// The room that there is now: a column less than the terminal has, so that no line ever wraps, and a row less, for the cursor.
pub(super) fn size() -> Size {
    let (columns, rows) =
        terminal_size::terminal_size_of(io::stderr()).map_or((80, 24), |(Width(columns), Height(rows))| (columns, rows));
    Size { columns: usize::from(columns).saturating_sub(1), rows: usize::from(rows).saturating_sub(1) }
}

/// Replaces the lines at the bottom. Each must fit into the terminal's width.
pub(super) fn stand(lines: Vec<String>) {
    let mut bottom = bottom();
    let Some(old) = bottom.as_mut() else { return };
    if *old == lines {
        return;
    }
    let mut text = Vec::new();
    up(old, size().columns + 1, &mut text);
    draw(&lines, &mut text);
    *old = lines;
    io::stderr().lock().write_all(&text).ok();
}

/// Takes the lines away for good, whoever still wants to show some.
pub(super) fn end() {
    stand(Vec::new());
    *bottom() = None;
}

/// To where the lines begin. A terminal that became narrower has broken them.
fn up(lines: &[String], columns: usize, text: &mut Vec<u8>) {
    let rows: usize = lines.iter().map(|line| width(line).div_ceil(columns.max(1)).max(1)).sum();
    if rows > 0 {
        text.extend(format!("\x1b[{rows}A\r").into_bytes());
    }
}

/// Over what stood there, line by line, so that nothing flickers; and nothing stays below. Without wrapping: the terminal may take a character
/// for wider than we do.
fn draw(lines: &[String], text: &mut Vec<u8>) {
    text.extend(b"\x1b[?7l");
    for line in lines {
        text.extend(line.as_bytes());
        text.extend(b"\x1b[K\n");
    }
    text.extend(b"\x1b[J\x1b[?7h");
}

/// Where the log writes.
pub(super) struct Log;

impl Write for Log {
    /// One event of the log.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let bottom = bottom();
        let lines = bottom.as_deref().unwrap_or_default();
        let mut text = Vec::with_capacity(event.len() + 64);
        if lines.is_empty() {
            text.extend(event);
        } else {
            up(lines, size().columns + 1, &mut text);
            text.extend(b"\x1b[J");
            text.extend(event);
            draw(lines, &mut text);
        }
        io::stderr().lock().write_all(&text)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_replaced_where_they_stand() {
        let mut text = Vec::new();
        up(&[], 80, &mut text);
        draw(&["a".into(), "b".into()], &mut text);
        up(&["a".into(), "b".into()], 80, &mut text);
        assert_eq!(text, b"\x1b[?7la\x1b[K\nb\x1b[K\n\x1b[J\x1b[?7h\x1b[2A\r");
        text.clear();
        up(&["12345".into(), String::new(), "\u{6ce8}\u{6587}".into()], 2, &mut text);
        assert_eq!(text, b"\x1b[6A\r", "a narrower terminal has broken them");
    }
}
