//! Text in so many columns of a terminal, whatever characters a name is made of.

use unicode_width::UnicodeWidthChar;

/// Columns that a text takes.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(of_char).sum()
}

fn of_char(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// What would move the cursor, or turn the direction of writing, becomes a space.
fn tame(text: &str) -> String {
    let wild =
        |c: char| c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.replace(wild, " ")
}

/// The text, or its beginning.
pub(super) fn cut(text: &str, columns: usize) -> String {
    let text = tame(text);
    if width(&text) <= columns {
        return text;
    }
    head(text.chars(), columns.saturating_sub(1)) + "…"
}

/// The text, or its beginning and its end: the ends of names tell them apart as often as their beginnings.
pub(super) fn middle(text: &str, columns: usize) -> String {
    let text = tame(text);
    if width(&text) <= columns {
        return text;
    }
    let room = columns.saturating_sub(1);
    let tail: String = head(text.chars().rev(), room / 2).chars().rev().collect();
    format!("{}…{tail}", head(text.chars(), room - room / 2))
}

fn head(chars: impl Iterator<Item = char>, columns: usize) -> String {
    let mut used = 0;
    let fits = |c: &char| {
        used += of_char(*c);
        used <= columns
    };
    chars.take_while(fits).collect()
}

/// Filled up with spaces on the right.
pub(super) fn pad(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// Filled up with spaces on the left.
pub(super) fn pad_left(text: &str, columns: usize) -> String {
    format!("{}{text}", " ".repeat(columns.saturating_sub(width(text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_shortened_by_columns_not_characters() {
        assert_eq!((cut("orders", 6).as_str(), cut("orders", 5).as_str()), ("orders", "orde…"));
        assert_eq!((middle("orders", 6).as_str(), middle("public.orders_2024", 9).as_str()), ("orders", "publ…2024"));
        assert_eq!((width("注文"), cut("注文明細", 6).as_str(), middle("注文明細", 6).as_str()), (4, "注文…", "注…細"));
        assert_eq!(pad(&middle("注文明細", 6), 6), "注…細 ", "half a character is a space");
        assert_eq!((width("e\u{301}"), pad("e\u{301}", 3).as_str(), pad_left("é", 3).as_str()), (1, "e\u{301}  ", "  é"));
        assert_eq!(cut("a\nb\x1b[2J\u{202e}c", 20), "a b [2J c");
        for columns in 0..12 {
            for text in ["", "public.orders_2024", "注文明細の表その二", "👩‍🚀 public.x"] {
                assert!(width(&cut(text, columns)) <= columns.max(1) && width(&middle(text, columns)) <= columns.max(1));
            }
        }
    }
}
