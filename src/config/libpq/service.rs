//! Service files (PostgreSQL's manual, 34.17): `[name]`, then `parameter=value` lines, `#` for comments.

use super::parameters::Parameters;
use crate::config::mistake::Complaint;
use std::path::PathBuf;

/// The parameters of a service, from the first file that has it.
pub(super) fn read(name: &str, files: &[PathBuf], complaints: &mut Vec<Complaint>) -> Parameters {
    for file in files {
        let Ok(text) = std::fs::read_to_string(file) else { continue };
        if let Some(found) = parse(&text, name, &format!("`{}`", file.display()), complaints) {
            return found;
        }
    }
    let looked: Vec<_> = files.iter().map(|file| format!("`{}`", file.display())).collect();
    let complaint = Complaint::new("the url, or PGSERVICE, names a service that no service file has");
    complaints.push(complaint.hint(format!("looked in {}", looked.join(", "))));
    Parameters::default()
}

fn parse(text: &str, name: &str, origin: &str, complaints: &mut Vec<Complaint>) -> Option<Parameters> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let is_title = |line: &&str| line.starts_with('[');
    let mut ours = lines.skip_while(|line| line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) != Some(name));
    ours.next()?;
    let mut found = Parameters::default();
    for line in ours.take_while(|line| !is_title(line)) {
        match line.split_once('=') {
            Some((parameter, _)) if parameter.trim() == "service" => {
                complaints.push(Complaint::new(format!("{origin} names a service within a service")));
            }
            Some((parameter, value)) => found.set(parameter.trim(), value.trim(), origin, complaints),
            None => complaints.push(Complaint::new(format!("{origin} has a line without `=` in the service"))),
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_service_of_many() {
        let text = "# all\n[a]\nhost=one\n\n[b]\n host = two \n#port=1\nport=5433\n[c]\nhost=three";
        let mut complaints = Vec::new();
        let found = parse(text, "b", "`f`", &mut complaints).unwrap();
        assert_eq!((found.get("host"), found.get("port")), (Some("two"), Some("5433")));
        assert!(parse(text, "d", "`f`", &mut complaints).is_none() && complaints.is_empty());
        parse("[a]\nservice=b\nhosst=x\nword", "a", "`f`", &mut complaints);
        let hints: Vec<_> = complaints.iter().map(|complaint| complaint.hint.as_deref()).collect();
        assert_eq!(hints, [None, Some("did you mean `host`?"), None]);
    }
}
