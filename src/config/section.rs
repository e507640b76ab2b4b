//! Walks the parsed file. Each key that is asked for is known; what nobody asked for is a mistake, so the code that reads is the
//! list of keys. Nothing stops at the first mistake.

use super::mistake::{Complaint, Mistake, Place};
use super::nearest::nearest;
use super::substitute::{Environment, substitute};
use std::ops::RangeInclusive;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A string of the file, its variables replaced. `written` is as it stands in the file and may be shown, `value` may be secret.
pub(super) struct Text {
    pub value: String,
    pub written: String,
    pub place: Place,
}

pub(super) struct Reader<'a> {
    text: &'a str,
    env: Environment<'a>,
    /// What the parser could not make sense of. What is then missing, or wrong on the same line, is no mistake of its own.
    syntax: Vec<Mistake>,
    mistakes: Vec<Mistake>,
}

/// One table of the file.
pub(super) struct Section<'t> {
    /// As a person would write it: `[source]`. Empty at the top.
    title: String,
    pub place: Place,
    entries: Vec<Entry<'t>>,
    asked: Vec<&'static str>,
}

struct Entry<'t> {
    key: &'t str,
    place: Place,
    value: &'t Spanned<DeValue<'t>>,
    taken: bool,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str, env: Environment<'a>) -> Self {
        Self { text, env, syntax: Vec::new(), mistakes: Vec::new() }
    }

    pub fn parse(&mut self) -> DeTable<'a> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            let place = error.span().map_or(Place::START, |span| Place::of(self.text, span.start));
            self.syntax.push(Complaint::new(error.message()).at(place));
        }
        table.into_inner()
    }

    pub fn env(&self) -> Environment<'a> {
        self.env
    }

    pub fn complain(&mut self, place: Place, complaint: Complaint) {
        self.mistakes.push(complaint.at(place));
    }

    /// Takes the value, or notes the complaint.
    pub fn check<T>(&mut self, place: Place, result: Result<T, Complaint>) -> Option<T> {
        result.map_err(|complaint| self.complain(place, complaint)).ok()
    }

    pub fn missing(&mut self, place: Place, complaint: Complaint) {
        if self.syntax.is_empty() {
            self.complain(place, complaint);
        }
    }

    /// All mistakes in the order of the file.
    pub fn finish(self) -> Vec<Mistake> {
        let Self { syntax, mut mistakes, .. } = self;
        mistakes.retain(|mistake| !syntax.iter().any(|other| other.place.line == mistake.place.line));
        mistakes.extend(syntax);
        mistakes.sort_by(|a, b| (a.place, &a.what).cmp(&(b.place, &b.what)));
        mistakes.dedup();
        mistakes
    }

    pub fn top<'t>(&self, table: &'t DeTable<'t>) -> Section<'t> {
        self.section_of(table, String::new(), Place::START)
    }

    fn section_of<'t>(&self, table: &'t DeTable<'t>, title: String, place: Place) -> Section<'t> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let entries = entries.into_iter().map(|(key, value)| Entry {
            key: key.get_ref(),
            place: Place::of(self.text, key.span().start),
            value,
            taken: false,
        });
        Section { title, place, entries: entries.collect(), asked: Vec::new() }
    }

    fn place_of(&self, value: &Spanned<DeValue<'_>>) -> Place {
        Place::of(self.text, value.span().start)
    }

    fn wrong_type(&mut self, label: &str, value: &Spanned<DeValue<'_>>, expected: &str) {
        let what = format!("{label} is {}, and {expected} is meant", kind(value.get_ref()));
        self.complain(self.place_of(value), Complaint::new(what));
    }

    /// `label` names the value in a mistake.
    fn text_of(&mut self, label: &str, value: &Spanned<DeValue<'_>>) -> Option<Text> {
        let place = self.place_of(value);
        let DeValue::String(written) = value.get_ref() else {
            self.wrong_type(label, value, "a string");
            return None;
        };
        let mut complaints = Vec::new();
        let text = substitute(written, self.env, &mut complaints);
        let whole = complaints.is_empty();
        complaints.into_iter().for_each(|complaint| self.complain(place, complaint));
        whole.then(|| Text { value: text, written: written.clone().into_owned(), place })
    }

    pub fn text(&mut self, section: &mut Section<'_>, key: &'static str) -> Option<Text> {
        let (_, value) = section.take(key)?;
        self.text_of(&format!("`{key}`"), value)
    }

    pub fn required_text(&mut self, section: &mut Section<'_>, key: &'static str) -> Option<Text> {
        if !section.has(key) {
            let title = if section.title.is_empty() { "the file".into() } else { format!("`{}`", section.title) };
            self.missing(section.place, Complaint::new(format!("{title} lacks `{key}`")));
        }
        self.text(section, key)
    }

    pub fn boolean(&mut self, section: &mut Section<'_>, key: &'static str) -> Option<bool> {
        let (_, value) = section.take(key)?;
        let found = value.get_ref().as_bool();
        if found.is_none() {
            self.wrong_type(&format!("`{key}`"), value, "`true` or `false`");
        }
        found
    }

    pub fn integer(&mut self, section: &mut Section<'_>, key: &'static str, range: RangeInclusive<i32>) -> Option<i32> {
        let (_, value) = section.take(key)?;
        let DeValue::Integer(written) = value.get_ref() else {
            self.wrong_type(&format!("`{key}`"), value, "a whole number");
            return None;
        };
        let number = i32::from_str_radix(written.as_str(), written.radix()).ok().filter(|number| range.contains(number));
        if number.is_none() {
            let what = format!("`{key}` is out of range: it goes from {} to {}", range.start(), range.end());
            self.complain(self.place_of(value), Complaint::new(what));
        }
        number
    }

    /// A list of strings.
    pub fn texts(&mut self, section: &mut Section<'_>, key: &'static str) -> Option<Vec<Text>> {
        let (_, value) = section.take(key)?;
        let Some(items) = value.get_ref().as_array() else {
            self.wrong_type(&format!("`{key}`"), value, "a list of strings, as in [\"a\", \"b\"],");
            return None;
        };
        Some(items.iter().filter_map(|item| self.text_of(&format!("an entry of `{key}`"), item)).collect())
    }

    /// One of some words.
    pub fn word<T: Copy>(&mut self, section: &mut Section<'_>, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(section, key)?;
        let found = words.iter().find(|(word, _)| *word == text.value).map(|(_, meaning)| *meaning);
        if found.is_none() {
            let all: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            let complaint = Complaint::new(format!("`{key}` is \"{}\", and {} is meant", text.written, all.join(" or ")));
            let near = nearest(&text.value, words.iter().map(|(word, _)| *word));
            let complaint = Complaint { hint: near.map(|word| format!("did you mean \"{word}\"?")), ..complaint };
            self.complain(text.place, complaint);
        }
        found
    }

    /// A table within a table, such as `[source]`.
    pub fn section<'t>(&mut self, parent: &mut Section<'t>, key: &'static str) -> Option<Section<'t>> {
        let (place, value) = parent.take(key)?;
        let path = if parent.title.is_empty() { key.into() } else { format!("{}.{key}", parent.title.trim_matches(['[', ']'])) };
        match value.get_ref() {
            DeValue::Table(table) => Some(self.section_of(table, format!("[{path}]"), place)),
            _ => {
                self.wrong_type(&format!("`{key}`"), value, &format!("a section `[{path}]`"));
                None
            }
        }
    }

    /// All `[[key]]`.
    pub fn sections<'t>(&mut self, parent: &mut Section<'t>, key: &'static str) -> Vec<Section<'t>> {
        let Some((place, value)) = parent.take(key) else { return Vec::new() };
        let tables = match value.get_ref() {
            DeValue::Array(items) => {
                items.iter().filter_map(|item| Some((self.place_of(item), item.get_ref().as_table()?))).collect()
            }
            DeValue::Table(table) => {
                let what = format!("`[{key}]` is one section, and a list of them is meant");
                self.complain(place, Complaint::new(what).hint(format!("write `[[{key}]]`")));
                vec![(place, table)]
            }
            _ => Vec::new(),
        };
        if tables.is_empty() {
            self.wrong_type(&format!("`{key}`"), value, &format!("a list of sections `[[{key}]]`"));
        }
        tables.into_iter().map(|(place, table)| self.section_of(table, format!("[[{key}]]"), place)).collect()
    }

    /// All entries of a section whose keys are the user's own: key, its place, string.
    pub fn free_texts(&mut self, section: &mut Section<'_>) -> Vec<(String, Place, Text)> {
        let mut found = Vec::new();
        for entry in &mut section.entries {
            entry.taken = true;
            if let Some(text) = self.text_of(&format!("`{}`", entry.key), entry.value) {
                found.push((entry.key.to_owned(), entry.place, text));
            }
        }
        found
    }

    /// As `free_texts`, with numbers and booleans as their text.
    pub fn free_scalars(&mut self, section: &mut Section<'_>) -> Vec<(String, Place, String)> {
        let mut found = Vec::new();
        for entry in &mut section.entries {
            entry.taken = true;
            let value = match entry.value.get_ref() {
                DeValue::Integer(number) => Some(number.to_string()),
                DeValue::Float(number) => Some(number.to_string()),
                DeValue::Boolean(yes) => Some(yes.to_string()),
                DeValue::Table(_) => {
                    let what = format!("`{}` is a section, and a string, a number, `true` or `false` is meant", entry.key);
                    let hint = "a key with dots in it stands in quotes, as in \"security.protocol\" = \"SSL\"";
                    self.complain(entry.place, Complaint::new(what).hint(hint));
                    None
                }
                DeValue::String(_) => self.text_of(&format!("`{}`", entry.key), entry.value).map(|text| text.value),
                _ => {
                    self.wrong_type(&format!("`{}`", entry.key), entry.value, "a string, a number, `true` or `false`");
                    None
                }
            };
            found.extend(value.map(|value| (entry.key.to_owned(), entry.place, value)));
        }
        found
    }

    /// Whatever was not asked for is unknown.
    pub fn close(&mut self, section: &Section<'_>) {
        for entry in section.entries.iter().filter(|entry| !entry.taken) {
            let place =
                if section.title.is_empty() { "at the top of the file".into() } else { format!("in `{}`", section.title) };
            let complaint = Complaint::new(format!("unknown key `{}` {place}", entry.key));
            let near = nearest(entry.key, section.asked.iter().copied());
            let hint = match (near, super::home_of(entry.key)) {
                (Some(near), _) => format!("did you mean `{near}`?"),
                (None, Some(home)) => format!("it belongs in `{home}`"),
                (None, None) => format!("known here: {}", section.asked.join(", ")),
            };
            self.complain(entry.place, complaint.hint(hint));
        }
    }
}

impl<'t> Section<'t> {
    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// Where a key stands, if it is there.
    pub fn place_of(&self, key: &str) -> Option<Place> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| entry.place)
    }

    /// Takes a key out of the reading: it is known, and was judged already.
    pub fn take(&mut self, key: &'static str) -> Option<(Place, &'t Spanned<DeValue<'t>>)> {
        self.asked.push(key);
        let entry = self.entries.iter_mut().find(|entry| entry.key == key)?;
        entry.taken = true;
        Some((entry.place, entry.value))
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}
