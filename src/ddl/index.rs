//! Secondary indexes, and the UNIQUE constraints that stand on them: the source's own text, with the names of the target.

use super::{Design, Index, Kind, Step, left_out, name};
use crate::change::TableName;
use crate::finding::Finding;
use crate::pg::quote;
use std::collections::{BTreeMap, BTreeSet};

/// Adds an index to the design, or says why not. `key`: the source columns of the target's key.
pub(super) fn add(design: &mut Design, index: &Index, key: &[String], taken: &mut BTreeSet<String>) {
    let stands_for_key =
        (index.primary || index.identity) && index.unique && index.key_columns().eq(key.iter().map(String::as_str));
    if stands_for_key && design.key.is_some() {
        design.left_out.extend(overlaps(&design.target, index));
        return;
    }
    let body = match body(index, &design.plain) {
        Ok(body) => body,
        Err(why) => {
            design.left_out.push(left_out(&design.target, "index", &index.name, &why));
            return;
        }
    };
    let target = quote::table(&design.target);
    let name = name::free(taken, &index.name);
    let unique = if index.unique { "UNIQUE " } else { "" };
    let sql = format!("CREATE {unique}INDEX {} ON {target} USING {body}", quote::ident(&name));
    let columns = index.key_columns().filter_map(|column| design.plain.get(column).cloned()).collect();
    let step = Step { unique: index.unique.then_some(columns), ..Step::new(Kind::Index, &name, sql) };
    design.after_load.push(step);
    if let Some(rest) = &index.constraint {
        let name_sql = quote::ident(&name);
        let sql = format!("ALTER TABLE {target} ADD CONSTRAINT {name_sql} UNIQUE USING INDEX {name_sql}{rest}");
        design.after_load.push(Step::new(Kind::Unique, &name, sql));
    }
}

/// WITHOUT OVERLAPS, from 18 on: our key tells rows apart by equality, which holds for them too.
fn overlaps(target: &TableName, index: &Index) -> Option<Finding> {
    let range = index.key_columns().last().filter(|_| index.body.as_ref().is_some_and(|body| body.starts_with("gist ")))?;
    let what = format!("the key lets no `{range}` overlap on the source, and is made as an ordinary one");
    let hint = "where you want it there too, add an exclusion constraint (EXCLUDE USING gist) once the table is copied";
    Some(Finding::note("table.target_overlaps", target.to_string(), what).hint(hint))
}

/// What stands behind USING, with the target's column names; or why there can be no such index.
fn body(index: &Index, plain: &BTreeMap<String, String>) -> Result<String, String> {
    if !index.valid {
        return Err("it is not valid on the source".to_owned());
    }
    let body = index.body.as_ref().ok_or("its definition is not understood")?;
    if let Some(lost) = index.uses.iter().find(|column| !plain.contains_key(*column)) {
        return Err(format!("it reads column `{lost}`, which the target does not have as it is"));
    }
    let renamed = index.uses.iter().find(|column| plain.get(*column) != Some(column));
    match renamed {
        None => Ok(body.clone()),
        Some(column) if !index.simple => {
            Err(format!("it has an expression or a predicate, and column `{column}` has another name in the target"))
        }
        Some(_) => rename(index, body, plain).ok_or_else(|| "its definition is not understood".to_owned()),
    }
}

/// Walks over the body, part by part: each begins with its column's name, and what follows it (collation, operator class, order) stays.
fn rename(index: &Index, body: &str, plain: &BTreeMap<String, String>) -> Option<String> {
    let open = body.find('(')? + 1;
    let (mut out, mut rest) = (body[..open].to_owned(), &body[open..]);
    for (at, part) in index.parts.iter().enumerate() {
        if at == index.keys {
            let inner = rest.strip_prefix(") INCLUDE (")?;
            out.push_str(") INCLUDE (");
            rest = inner;
        } else if at > 0 {
            rest = rest.strip_prefix(", ")?;
            out.push_str(", ");
        }
        rest = rest.strip_prefix(part.text.as_str())?;
        out.push_str(&quote::ident(plain.get(part.column.as_ref()?)?));
        let end = end_of_part(rest)?;
        out.push_str(&rest[..end]);
        rest = &rest[end..];
    }
    out.push_str(rest);
    Some(out)
}

/// Where a part ends: at a comma or a closing parenthesis that is neither quoted nor inside parentheses of its own.
fn end_of_part(text: &str) -> Option<usize> {
    let (mut depth, mut quoted) = (0_u32, None);
    for (at, c) in text.char_indices() {
        match (quoted, c) {
            (Some(mark), _) if c == mark => quoted = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quoted = Some(c),
            (None, '(') => depth += 1,
            (None, ',' | ')') if depth == 0 => return Some(at),
            (None, ')') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::Part;
    use super::*;

    fn index(body: &str, keys: usize, columns: &[(&str, &str)]) -> Index {
        let parts = columns.iter().map(|(text, column)| Part { text: (*text).into(), column: Some((*column).into()) }).collect();
        let uses = columns.iter().map(|(_, column)| (*column).to_owned()).collect();
        Index { name: "i".into(), valid: true, simple: true, keys, parts, uses, body: Some(body.into()), ..Index::default() }
    }

    fn plain(columns: &[(&str, &str)]) -> BTreeMap<String, String> {
        columns.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect()
    }

    #[test]
    fn only_the_columns_get_other_names() {
        let found = index(
            "btree (a DESC NULLS LAST, \"b, )\" COLLATE \"de, DE\" text_pattern_ops, c) INCLUDE (d) WITH (fillfactor='70')",
            3,
            &[("a", "a"), ("\"b, )\"", "b, )"), ("c", "c"), ("d", "d")],
        );
        let names = plain(&[("a", "A x"), ("b, )", "b"), ("c", "c"), ("d", "e")]);
        assert_eq!(
            body(&found, &names).unwrap(),
            "btree (\"A x\" DESC NULLS LAST, \"b\" COLLATE \"de, DE\" text_pattern_ops, \"c\") INCLUDE (\"e\") WITH (fillfactor='70')"
        );
        let options = index("gist (a gist_trgm_ops (siglen='32'))", 1, &[("a", "a")]);
        assert_eq!(body(&options, &plain(&[("a", "z")])).unwrap(), "gist (\"z\" gist_trgm_ops (siglen='32'))");
    }

    #[test]
    fn what_cannot_come_along_is_said() {
        let mut found = index("btree (a) WHERE (a > 0)", 1, &[("a", "a")]);
        assert_eq!(body(&found, &plain(&[("a", "a")])).unwrap(), "btree (a) WHERE (a > 0)");
        assert!(body(&found, &plain(&[("b", "b")])).unwrap_err().contains("reads column `a`"));
        found.simple = false;
        assert!(body(&found, &plain(&[("a", "z")])).unwrap_err().contains("predicate"));
        found.valid = false;
        assert!(body(&found, &plain(&[("a", "a")])).unwrap_err().contains("not valid"));
    }
}
