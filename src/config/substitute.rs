//! `${VAR}` in the values of a connector file.

use super::mistake::Complaint;

/// The environment, or a test's stand-in for it.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Replaces each `${VAR}` by the variable's value; `$${` stands for `${`; any other `$` for itself, as SQL's `$1` and `$$` want.
pub(super) fn substitute(written: &str, env: Environment<'_>, complaints: &mut Vec<Complaint>) -> String {
    let mut value = String::with_capacity(written.len());
    let mut rest = written;
    while let Some(at) = rest.find("${") {
        let (before, after) = (&rest[..at], &rest[at + 2..]);
        if let Some(before) = before.strip_suffix('$') {
            value.push_str(before);
            value.push_str("${");
            rest = after;
            continue;
        }
        value.push_str(before);
        let name_length = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
        let (name, behind) = after.split_at(name_length);
        let closed = behind.strip_prefix('}').filter(|_| name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic()));
        let Some(behind) = closed else {
            complaints.push(
                Complaint::new("`${` starts the name of an environment variable, and there is none that `}` ends")
                    .hint("`${NAME}`, letters, digits and `_` only; `$${` where `${` itself is meant"),
            );
            rest = after;
            continue;
        };
        match env(name) {
            Some(text) => value.push_str(&text),
            None => complaints.push(
                Complaint::new(format!("the environment variable `{name}` is not set"))
                    .hint(format!("set it, or write `$${{{name}}}` where this text itself is meant")),
            ),
        }
        rest = behind;
    }
    value.push_str(rest);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_and_nothing_else() {
        let env = |name: &str| (name == "A_1").then(|| "${B}x".to_owned());
        for (written, expected, mistakes) in [
            ("plain", "plain", 0),
            ("${A_1}/${A_1}", "${B}x/${B}x", 0),
            ("$${A_1} $1 $$x$$ $", "${A_1} $1 $$x$$ $", 0),
            ("a${B}b", "ab", 1),
            ("${", "", 1),
            ("${1}", "1}", 1),
            ("${A 1}", "A 1}", 1),
            ("é${A_1}é", "é${B}xé", 0),
        ] {
            let mut complaints = Vec::new();
            assert_eq!(substitute(written, &env, &mut complaints), expected, "{written}");
            assert_eq!(complaints.len(), mistakes, "{written}");
        }
    }
}
