//! A type that both sides have, and that is another one there. It is never altered by us: others may use it.

use super::kind_of_type::{Attribute, DomainCheck, GivenType, TypeForm};
use crate::finding::{Finding, Level};
use crate::pg::quote;

/// What of the target's type would refuse or change the source's values, with the SQL that makes it fit. More labels, another order of
/// labels, and another default are no harm.
pub fn differences(source: &GivenType, target: &GivenType) -> Vec<Finding> {
    match (&source.form, &target.form) {
        (TypeForm::Extension(_) | TypeForm::Other, _) => Vec::new(),
        (TypeForm::Enum(from), TypeForm::Enum(to)) => labels(source, from, to).into_iter().collect(),
        (TypeForm::Domain { .. }, TypeForm::Domain { .. }) => domain(source, target),
        (TypeForm::Composite(from) | TypeForm::Row(from), TypeForm::Composite(to) | TypeForm::Row(to)) => {
            attributes(source, from, to).into_iter().collect()
        }
        (TypeForm::Range { of: from, .. }, TypeForm::Range { of: to, .. }) if from == to => Vec::new(),
        (TypeForm::Range { of: from, .. }, TypeForm::Range { of: to, .. }) => {
            vec![replaced(source, &format!("is a range of {to} in the target, of {from} in the source"))]
        }
        _ => vec![replaced(source, "is a type of another kind in the target")],
    }
}

fn differs(given: &GivenType, what: &str) -> Finding {
    Finding::error("target.type_differs", "target", format!("its type {} {what}", given.name))
}

/// Nothing less than another type would do.
fn replaced(given: &GivenType, what: &str) -> Finding {
    let finding = differs(given, what);
    match given.sql() {
        Some(sql) => {
            let kind = if matches!(given.form, TypeForm::Domain { .. }) { "DOMAIN" } else { "TYPE" };
            finding.sql(format!("-- where nothing there uses it:\nDROP {kind} {};\n{sql};", given.name))
        }
        None => finding.hint("give the columns of this type an expression, such as a cast to text"),
    }
}

/// Each label that is lacking goes behind the one that stands before it on the source.
fn labels(given: &GivenType, from: &[String], to: &[String]) -> Option<Finding> {
    let mut sql = Vec::new();
    let mut lacking = Vec::new();
    for (at, label) in from.iter().enumerate().filter(|(_, label)| !to.contains(label)) {
        let text = |label: &String| quote::literal(label).trim().to_owned();
        let place = match at.checked_sub(1).map(|before| &from[before]) {
            Some(before) => format!(" AFTER {}", text(before)),
            None => to.first().map(|first| format!(" BEFORE {}", text(first))).unwrap_or_default(),
        };
        sql.push(format!("ALTER TYPE {} ADD VALUE {}{place};", given.name, text(label)));
        lacking.push(format!("`{label}`"));
    }
    let what = format!("lacks the label {}, and a row that has it would halt its table", lacking.join(", "));
    (!sql.is_empty()).then(|| differs(given, &what).sql(sql.join("\n")))
}

fn domain(source: &GivenType, target: &GivenType) -> Vec<Finding> {
    let (
        TypeForm::Domain { base, not_null, checks, .. },
        TypeForm::Domain { base: to_base, not_null: to_not_null, checks: to_checks, .. },
    ) = (&source.form, &target.form)
    else {
        return Vec::new();
    };
    if base != to_base {
        return vec![replaced(source, &format!("is over {to_base} in the target, over {base} in the source"))];
    }
    let lacks = |checks: &[DomainCheck], one: &DomainCheck| !checks.iter().any(|check| check.definition == one.definition);
    let mut sql = Vec::new();
    if *to_not_null && !not_null {
        sql.push(format!("ALTER DOMAIN {} DROP NOT NULL;", source.name));
    }
    for check in to_checks.iter().filter(|check| lacks(checks, check)) {
        sql.push(format!("ALTER DOMAIN {} DROP CONSTRAINT {};", source.name, check.name));
    }
    let mut findings = Vec::new();
    if !sql.is_empty() {
        let what = "may refuse values of the source: it has constraints that the source's has not";
        findings.push(differs(source, what).sql(sql.join("\n")));
    }
    let mut sql = Vec::new();
    if *not_null && !to_not_null {
        sql.push(format!("ALTER DOMAIN {} SET NOT NULL;", source.name));
    }
    for check in checks.iter().filter(|check| lacks(to_checks, check)) {
        sql.push(format!("ALTER DOMAIN {} ADD CONSTRAINT {} {};", source.name, check.name, check.definition));
    }
    if !sql.is_empty() {
        let finding = differs(source, "takes more than the source's: it lacks constraints of that").sql(sql.join("\n"));
        findings.push(Finding { level: Level::Warning, ..finding });
    }
    findings
}

/// A composite value's text has no names in it: they go by their place.
fn attributes(given: &GivenType, from: &[Attribute], to: &[Attribute]) -> Option<Finding> {
    let names = |list: &[Attribute]| list.iter().map(|a| a.name.clone()).collect::<Vec<_>>();
    if from == to || names(from) == names(to) && from.iter().zip(to).all(|(from, to)| from.type_name == to.type_name) {
        return None;
    }
    let describe = |list: &[Attribute]| list.iter().map(|a| format!("{} {}", a.name, a.type_name)).collect::<Vec<_>>().join(", ");
    if names(from) == names(to) {
        let sql: Vec<String> = from
            .iter()
            .zip(to)
            .filter(|(from, to)| from.type_name != to.type_name)
            .map(|(a, _)| format!("ALTER TYPE {} ALTER ATTRIBUTE {} TYPE {};", given.name, quote::ident(&a.name), a.type_name))
            .collect();
        let what = format!("has ({}) in the target, ({}) in the source", describe(to), describe(from));
        return Some(differs(given, &what).sql(sql.join("\n")));
    }
    if from.len() > to.len() && names(&from[..to.len()]) == names(to) {
        let added = &from[to.len()..];
        let sql =
            added.iter().map(|a| format!("ALTER TYPE {} ADD ATTRIBUTE {} {};", given.name, quote::ident(&a.name), a.type_name));
        let lacking: Vec<String> = added.iter().map(|a| format!("`{}`", a.name)).collect();
        return Some(differs(given, &format!("lacks {}", lacking.join(", "))).sql(sql.collect::<Vec<_>>().join("\n")));
    }
    Some(replaced(given, &format!("has ({}) in the target, ({}) in the source", describe(to), describe(from))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(form: TypeForm) -> GivenType {
        GivenType { name: "public.t".to_owned(), schema: "public".to_owned(), form }
    }

    fn told(from: TypeForm, to: TypeForm) -> String {
        let found = differences(&given(from), &given(to));
        found.iter().map(|one| format!("{:?}: {} => {}\n", one.level, one.what, one.remedy_text())).collect()
    }

    fn labels(labels: &[&str]) -> TypeForm {
        TypeForm::Enum(labels.iter().map(|&label| label.to_owned()).collect())
    }

    fn composite(list: &[(&str, &str)]) -> TypeForm {
        let one =
            |&(name, type_name): &(&str, &str)| Attribute { name: name.into(), type_name: type_name.into(), collation: None };
        TypeForm::Composite(list.iter().map(one).collect())
    }

    fn domain(base: &str, not_null: bool, checks: &[&str]) -> TypeForm {
        let check = |definition: &&str| DomainCheck { name: "c".into(), definition: (*definition).to_owned() };
        let checks = checks.iter().map(check).collect();
        TypeForm::Domain { base: base.to_owned(), collation: None, not_null, default: None, checks }
    }

    #[test]
    fn labels_that_are_lacking_have_their_place() {
        assert_eq!(told(labels(&["a", "b"]), labels(&["b", "x", "a"])), "");
        let all = told(labels(&["it's", "b", "c", "d"]), labels(&["b"]));
        assert!(
            all.ends_with(
                "=> ALTER TYPE public.t ADD VALUE 'it''s' BEFORE 'b';\nALTER TYPE public.t ADD VALUE 'c' AFTER 'b';\n\
             ALTER TYPE public.t ADD VALUE 'd' AFTER 'c';\n"
            ),
            "{all}"
        );
        assert!(told(labels(&["a"]), labels(&[])).ends_with("ADD VALUE 'a';\n"));
    }

    #[test]
    fn what_a_domain_refuses_weighs_more_than_what_it_lets_in() {
        let found = differences(&given(domain("integer", true, &["A"])), &given(domain("integer", false, &["B"])));
        assert_eq!(found.iter().map(|one| one.level).collect::<Vec<_>>(), [Level::Error, Level::Warning]);
        assert_eq!(found[0].remedy_text(), "ALTER DOMAIN public.t DROP CONSTRAINT c;");
        assert_eq!(found[1].remedy_text(), "ALTER DOMAIN public.t SET NOT NULL;\nALTER DOMAIN public.t ADD CONSTRAINT c A;");
        assert!(told(domain("integer", false, &[]), domain("integer", true, &[])).contains("DROP NOT NULL"));
        assert!(told(domain("integer", false, &[]), domain("text", false, &[])).contains("DROP DOMAIN public.t;\nCREATE DOMAIN"));
        assert_eq!(told(domain("integer", true, &["A"]), domain("integer", true, &["A"])), "");
    }

    #[test]
    fn attributes_go_by_their_place() {
        let (a, ab) = (composite(&[("a", "integer")]), composite(&[("a", "integer"), ("b", "text")]));
        assert_eq!(told(ab.clone(), ab.clone()), "");
        assert!(told(ab.clone(), a.clone()).ends_with("lacks `b` => ALTER TYPE public.t ADD ATTRIBUTE \"b\" text;\n"));
        assert!(
            told(a.clone(), composite(&[("a", "bigint")])).ends_with("ALTER TYPE public.t ALTER ATTRIBUTE \"a\" TYPE integer;\n")
        );
        assert!(told(a.clone(), ab).contains("DROP TYPE public.t;\nCREATE TYPE public.t AS (\"a\" integer);"));
        assert!(told(a, labels(&["a"])).contains("another kind"));
    }
}
