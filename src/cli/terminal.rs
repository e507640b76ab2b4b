//! Stderr, shared by the log and the progress lines: a log line goes above them, never through them.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard};

/// The lines that stand at the bottom of the terminal now; `None`: none ever again.
static BOTTOM: Mutex<Option<Vec<String>>> = Mutex::new(Some(Vec::new()));

fn bottom() -> MutexGuard<'static, Option<Vec<String>>> {
    BOTTOM.lock().expect("nothing panics while it holds the lock")
}

/// Whether lines can stand at the bottom at all.
pub(super) fn is_there() -> bool {
    io::stderr().is_terminal()
}

/// Replaces the lines at the bottom. Each must fit into the terminal's width.
pub(super) fn stand(lines: Vec<String>) {
    let mut bottom = bottom();
    let Some(old) = bottom.as_mut() else { return };
    let mut text = Vec::new();
    wipe(old, &mut text);
    draw(&lines, &mut text);
    *old = lines;
    io::stderr().lock().write_all(&text).ok();
}

/// Takes the lines away for good, whoever still wants to show some.
pub(super) fn end() {
    stand(Vec::new());
    *bottom() = None;
}

/// Removes the lines, the cursor then stands where they began.
fn wipe(lines: &[String], text: &mut Vec<u8>) {
    if !lines.is_empty() {
        text.extend(format!("\x1b[{}A\r\x1b[J", lines.len()).into_bytes());
    }
}

fn draw(lines: &[String], text: &mut Vec<u8>) {
    for line in lines {
        text.extend(line.as_bytes());
        text.push(b'\n');
    }
}

/// Where the log writes.
pub(super) struct Log;

impl Write for Log {
    /// One event of the log.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let bottom = bottom();
        let lines = bottom.as_deref().unwrap_or_default();
        let mut text = Vec::with_capacity(event.len() + 64);
        wipe(lines, &mut text);
        text.extend(event);
        draw(lines, &mut text);
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
    fn lines_are_wiped_as_they_were_drawn() {
        let mut text = Vec::new();
        wipe(&[], &mut text);
        draw(&["a".into(), "b".into()], &mut text);
        wipe(&["a".into(), "b".into()], &mut text);
        assert_eq!(text, b"a\nb\n\x1b[2A\r\x1b[J");
    }
}
