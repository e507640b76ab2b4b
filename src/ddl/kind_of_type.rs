//! Types that are not built in, as SQL that makes them. What a type is made of is made before it.

use crate::pg::quote;

/// A type of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenType {
    /// `schema.name`, as SQL.
    pub name: String,
    /// Its schema, as SQL.
    pub schema: String,
    pub form: TypeForm,
}

/// A column of a composite type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    pub name: String,
    pub type_name: String,
    /// As SQL, where it is not its type's own.
    pub collation: Option<String>,
}

/// A domain's CHECK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainCheck {
    /// As SQL.
    pub name: String,
    /// `CHECK (...)`.
    pub definition: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeForm {
    /// Its labels, in their order.
    Enum(Vec<String>),
    Domain {
        base: String,
        collation: Option<String>,
        not_null: bool,
        default: Option<String>,
        /// Those that its values were held against.
        checks: Vec<DomainCheck>,
    },
    Composite(Vec<Attribute>),
    /// The row type of a table.
    Row(Vec<Attribute>),
    Range {
        of: String,
        collation: Option<String>,
        /// Its multirange type, from 14 on.
        multirange: Option<String>,
        /// That has not the name which PostgreSQL would give it.
        renamed: bool,
    },
    /// It came with an extension.
    Extension(String),
    /// A base type somebody made, or a range with functions of its own.
    Other,
}

impl GivenType {
    /// What makes it; `None`: no plain statement does.
    pub fn sql(&self) -> Option<String> {
        let name = &self.name;
        Some(match &self.form {
            TypeForm::Enum(labels) => {
                let labels: Vec<String> = labels.iter().map(|label| quote::literal(label).trim().to_owned()).collect();
                format!("CREATE TYPE {name} AS ENUM ({})", labels.join(", "))
            }
            TypeForm::Domain { base, collation, not_null, default, checks } => {
                let collation = collate(collation.as_ref());
                let default = default.as_ref().map(|sql| format!(" DEFAULT {sql}")).unwrap_or_default();
                let not_null = if *not_null { " NOT NULL" } else { "" };
                let checks: String =
                    checks.iter().map(|check| format!(" CONSTRAINT {} {}", check.name, check.definition)).collect();
                format!("CREATE DOMAIN {name} AS {base}{collation}{default}{not_null}{checks}")
            }
            TypeForm::Composite(attributes) => {
                let attribute =
                    |a: &Attribute| format!("{} {}{}", quote::ident(&a.name), a.type_name, collate(a.collation.as_ref()));
                let attributes: Vec<String> = attributes.iter().map(attribute).collect();
                format!("CREATE TYPE {name} AS ({})", attributes.join(", "))
            }
            TypeForm::Range { of, collation, multirange, renamed } => {
                let collation = collation.as_ref().map(|name| format!(", collation = {name}")).unwrap_or_default();
                let multirange = multirange.as_ref().filter(|_| *renamed);
                let multirange = multirange.map(|name| format!(", multirange_type_name = {name}")).unwrap_or_default();
                format!("CREATE TYPE {name} AS RANGE (subtype = {of}{collation}{multirange})")
            }
            TypeForm::Extension(extension) => {
                format!("CREATE EXTENSION IF NOT EXISTS {} WITH SCHEMA {}", quote::ident(extension), self.schema)
            }
            TypeForm::Row(_) | TypeForm::Other => return None,
        })
    }

    /// Whether we make it. An extension is a person's to install.
    pub fn makeable(&self) -> bool {
        !matches!(self.form, TypeForm::Extension(_) | TypeForm::Row(_) | TypeForm::Other)
    }

    /// Whether `type_name`, of a column or of a part of another type, is this type or an array of it.
    pub fn is(&self, type_name: &str) -> bool {
        element(type_name) == self.name || self.multirange() == Some(element(type_name))
    }

    fn multirange(&self) -> Option<&str> {
        match &self.form {
            TypeForm::Range { multirange, .. } => multirange.as_deref(),
            _ => None,
        }
    }

    /// The types that it is made of, by name.
    pub fn parts(&self) -> Vec<&str> {
        match &self.form {
            TypeForm::Domain { base, .. } => vec![base],
            TypeForm::Composite(attributes) | TypeForm::Row(attributes) => {
                attributes.iter().map(|a| a.type_name.as_str()).collect()
            }
            TypeForm::Range { of, .. } => vec![of],
            TypeForm::Enum(_) | TypeForm::Extension(_) | TypeForm::Other => Vec::new(),
        }
    }
}

/// Those of `types` that `names` (of columns, arrays too) and what they are made of need, in the order of `types`: parts first.
pub fn needed<'a>(types: &'a [GivenType], names: &[&str]) -> Vec<&'a GivenType> {
    let mut wanted: Vec<&str> = names.to_vec();
    let mut found: Vec<&GivenType> = types
        .iter()
        .rev()
        .filter(|one| {
            let needed = wanted.iter().any(|name| one.is(name));
            if needed {
                wanted.extend(one.parts());
            }
            needed
        })
        .collect();
    found.reverse();
    found
}

/// Without what makes it an array.
fn element(type_name: &str) -> &str {
    type_name.strip_suffix("[]").unwrap_or(type_name)
}

fn collate(name: Option<&String>) -> String {
    name.map(|name| format!(" COLLATE {name}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(name: &str, form: TypeForm) -> GivenType {
        GivenType { name: name.to_owned(), schema: "public".to_owned(), form }
    }

    fn domain(base: &str) -> TypeForm {
        TypeForm::Domain { base: base.to_owned(), collation: None, not_null: false, default: None, checks: Vec::new() }
    }

    fn attribute(name: &str, type_name: &str) -> Attribute {
        Attribute { name: name.to_owned(), type_name: type_name.to_owned(), collation: Some("\"C\"".to_owned()) }
    }

    #[test]
    fn each_form_has_its_sql() {
        let sql = |form| given("public.\"T\"", form).sql().unwrap_or_default();
        assert_eq!(sql(TypeForm::Enum(vec!["it's".into(), "b".into()])), "CREATE TYPE public.\"T\" AS ENUM ('it''s', 'b')");
        let checks = vec![DomainCheck { name: "p".into(), definition: "CHECK ((VALUE > 0))".into() }];
        let domain = TypeForm::Domain {
            base: "text".into(),
            collation: Some("\"C\"".into()),
            not_null: true,
            default: Some("1".into()),
            checks,
        };
        let text = "CREATE DOMAIN public.\"T\" AS text COLLATE \"C\" DEFAULT 1 NOT NULL CONSTRAINT p CHECK ((VALUE > 0))";
        assert_eq!(sql(domain), text);
        assert_eq!(
            sql(TypeForm::Composite(vec![attribute("a b", "text")])),
            "CREATE TYPE public.\"T\" AS (\"a b\" text COLLATE \"C\")"
        );
        let range =
            |renamed| TypeForm::Range { of: "time".into(), collation: None, multirange: Some("public.m".into()), renamed };
        assert_eq!(sql(range(false)), "CREATE TYPE public.\"T\" AS RANGE (subtype = time)");
        assert_eq!(sql(range(true)), "CREATE TYPE public.\"T\" AS RANGE (subtype = time, multirange_type_name = public.m)");
        assert_eq!(sql(TypeForm::Extension("citext".into())), "CREATE EXTENSION IF NOT EXISTS \"citext\" WITH SCHEMA public");
        assert_eq!(sql(TypeForm::Other) + &sql(TypeForm::Row(Vec::new())), "");
    }

    #[test]
    fn parts_come_first_and_strangers_not_at_all() {
        let range = TypeForm::Range { of: "d".into(), collation: None, multirange: Some("m".into()), renamed: false };
        let types = [
            given("e", TypeForm::Enum(Vec::new())),
            given("x", TypeForm::Enum(Vec::new())),
            given("d", domain("e[]")),
            given("c", TypeForm::Composite(vec![attribute("a", "d")])),
            given("r", range),
        ];
        let names = |wanted: &[&str]| needed(&types, wanted).iter().map(|one| one.name.clone()).collect::<Vec<_>>().concat();
        assert_eq!(names(&["c[]"]), "edc");
        assert_eq!(names(&["m", "integer"]), "edr");
        assert_eq!(names(&["text"]), "");
    }
}
