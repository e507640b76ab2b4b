//! Types that are not built in, as SQL that makes them: for the finding that the target lacks one.

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
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TypeForm {
    /// Its labels, in their order.
    Enum(Vec<String>),
    Domain {
        base: String,
        not_null: bool,
        default: Option<String>,
        checks: Vec<String>,
    },
    Composite(Vec<Attribute>),
    Range {
        of: String,
    },
    /// It came with an extension.
    Extension(String),
    /// A base type somebody made.
    Other,
}

impl GivenType {
    /// What makes it; `None`: no plain statement does.
    pub fn sql(&self) -> Option<String> {
        let name = &self.name;
        Some(match &self.form {
            TypeForm::Enum(labels) => {
                let labels: Vec<String> = labels.iter().map(|label| quote::literal(label).trim().to_owned()).collect();
                format!("CREATE TYPE {name} AS ENUM ({});", labels.join(", "))
            }
            TypeForm::Domain { base, not_null, default, checks } => {
                let default = default.as_ref().map(|sql| format!(" DEFAULT {sql}")).unwrap_or_default();
                let not_null = if *not_null { " NOT NULL" } else { "" };
                let checks: String = checks.iter().map(|check| format!(" {check}")).collect();
                format!("CREATE DOMAIN {name} AS {base}{default}{not_null}{checks};")
            }
            TypeForm::Composite(attributes) => {
                let attribute = |a: &Attribute| format!("{} {}", quote::ident(&a.name), a.type_name);
                let attributes: Vec<String> = attributes.iter().map(attribute).collect();
                format!("CREATE TYPE {name} AS ({});", attributes.join(", "))
            }
            TypeForm::Range { of } => format!("CREATE TYPE {name} AS RANGE (subtype = {of});"),
            TypeForm::Extension(extension) => format!("CREATE EXTENSION IF NOT EXISTS {};", quote::ident(extension)),
            TypeForm::Other => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_has_its_sql() {
        let sql = |form| GivenType { name: "public.\"T\"".into(), schema: "public".into(), form }.sql().unwrap_or_default();
        assert_eq!(sql(TypeForm::Enum(vec!["it's".into(), "b".into()])), "CREATE TYPE public.\"T\" AS ENUM ('it''s', 'b');");
        let checks = vec!["CONSTRAINT p CHECK ((VALUE > 0))".to_owned()];
        let domain = TypeForm::Domain { base: "integer".into(), not_null: true, default: Some("1".into()), checks };
        assert_eq!(sql(domain), "CREATE DOMAIN public.\"T\" AS integer DEFAULT 1 NOT NULL CONSTRAINT p CHECK ((VALUE > 0));");
        let attribute = Attribute { name: "a b".into(), type_name: "text".into() };
        assert_eq!(sql(TypeForm::Composite(vec![attribute])), "CREATE TYPE public.\"T\" AS (\"a b\" text);");
        assert_eq!(sql(TypeForm::Range { of: "time".into() }), "CREATE TYPE public.\"T\" AS RANGE (subtype = time);");
        assert_eq!(sql(TypeForm::Extension("citext".into())), "CREATE EXTENSION IF NOT EXISTS \"citext\";");
        assert_eq!(sql(TypeForm::Other), "");
    }
}
