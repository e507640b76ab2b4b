//! The connector file's entries on a later start, held against what was recorded of their tables. What is wrong with one of them stops its own
//! table; only what makes the file itself ambiguous stops the connector.

use super::{PipelineError, publish, structure};
use crate::catalog::{self, LeftOut, Relation};
use crate::change::TableName;
use crate::config::{Connector, Kafka};
use crate::event::{TopicError, table_topic, table_topics};
use crate::finding::Finding;
use crate::log::kafka::{Admin, BROKER_LIMIT, TopicState};
use crate::mapping::Rule;
use crate::pg::quote;
use crate::preflight::{self, Compiled};
use crate::store::table_state::{self, TableState};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;

/// What the file asks for.
pub struct Entries {
    /// An entry that does not fit has the reasons in the place of its plan.
    pub compiled: Vec<Compiled>,
    /// Of the file as a whole.
    pub findings: Vec<Finding>,
    /// Tables that a pattern takes and that are left alone, by the source's name, with the reason.
    pub left_out: BTreeMap<TableName, String>,
    /// Recorded tables that nothing asks for any more.
    pub leaving: Vec<TableName>,
    /// Source tables that nothing asks for, and that are none of ours under another name.
    pub strangers: BTreeSet<TableName>,
}

/// So often they are looked at where tables come and go meanwhile; then what is outdated is for the next life.
const LOOKS: u32 = 3;

/// Looks at all entries that are `wanted`.
///
/// # Errors
/// A database could not be asked.
pub async fn compile(
    connector: &Connector,
    source: &Client,
    target: &mut Client,
    wanted: impl Fn(&Rule) -> bool,
) -> Result<Entries, PipelineError> {
    let states = table_state::read(target, &connector.name).await?;
    let mut relations = catalog::relations(source).await?;
    let mut sorted = Found::new(connector, &relations, &states).sort();
    let mut compiled = Vec::new();
    for _ in 0..LOOKS {
        compiled = preflight::compile(source, target, &sorted.rules, &wanted).await?;
        // one may have come, gone or got another name in between
        relations = catalog::relations(source).await?;
        let before = std::mem::replace(&mut sorted, Found::new(connector, &relations, &states).sort());
        if before.rules == sorted.rules {
            break;
        }
    }
    let found = Found::new(connector, &relations, &states);
    let recorded = states.iter().filter(|state| state.was_taken_on()).map(|state| state.target.clone()).collect();
    let told = preflight::design_missing(connector, source, target, &mut compiled, &recorded).await?;
    // errors are of types that tables lack, and stand with each of these
    let notes = told.into_iter().filter(|finding| !finding.is_error());
    for one in &mut compiled {
        let lacking = one.design.as_ref().map_or(&[][..], |design| &design.lacking);
        if !lacking.is_empty() {
            one.plan = Err(one.plan.as_ref().err().into_iter().flatten().chain(lacking).cloned().collect());
        }
    }
    let Sorted { mut left_out, mut findings, .. } = sorted;
    findings.extend(notes);
    for one in &mut compiled {
        if let Some(finding) = found.changed(one).or_else(|| found.lost(one)) {
            one.plan = Err(vec![finding]);
        }
    }
    found.claims(target, &mut compiled, (&mut left_out, &mut findings)).await?;
    found.newcomers(source, &mut compiled).await?;
    twice(source, &mut compiled).await?;
    compiled.extend(found.gone());
    let asked_for = |state: &&TableState| compiled.iter().any(|one| one.rule.target == state.target);
    let leaving = states.iter().filter(|state| !asked_for(state)).map(|state| state.target.clone()).collect();
    let names: BTreeSet<&TableName> = compiled.iter().map(|one| &one.rule.source).collect();
    let is_ours = |relation: &Relation| {
        let recorded = found.oids.get(&relation.oid);
        names.contains(&relation.name) || recorded.is_some_and(|source| names.contains(source))
    };
    let strangers = relations.iter().filter(|one| !is_ours(one)).map(|one| one.name.clone()).collect();
    Ok(Entries { compiled, findings, left_out, leaving, strangers })
}

/// A table that became a partition of another one of ours comes with that.
async fn twice(source: &Client, compiled: &mut [Compiled]) -> Result<(), PipelineError> {
    let names: Vec<TableName> = compiled.iter().map(|one| one.rule.source.clone()).collect();
    let roots = catalog::roots(source, &names).await?;
    for one in compiled {
        let root = roots.get(&one.rule.source).into_iter().flatten().find(|root| names.contains(root));
        if let Some(root) = root {
            one.plan = Err(vec![preflight::partition_twice(&one.rule.source, root)]);
        }
    }
    Ok(())
}

/// Whether a pattern takes a table that nobody knows of yet. `known`: those that were looked at already, by the source's name.
///
/// # Errors
/// A database could not be asked.
pub async fn one_came(
    connector: &Connector,
    source: &Client,
    target: &Client,
    known: &BTreeSet<TableName>,
) -> Result<bool, PipelineError> {
    if connector.patterns.is_empty() {
        return Ok(false);
    }
    let states = table_state::read(target, &connector.name).await?;
    // what is copied whole would begin anew
    if states.iter().any(|state| state.was_taken_on() && !state.copied && !state.copying && state.halted.is_none()) {
        return Ok(false);
    }
    let relations = catalog::relations(source).await?;
    let found = Found::new(connector, &relations, &states);
    let is_new = |rule: &Rule| !known.contains(&rule.source) && found.state(rule).is_none();
    Ok(found.sort().rules.iter().any(is_new))
}

struct Found<'a> {
    connector: &'a Connector,
    relations: &'a [Relation],
    states: &'a [TableState],
    /// Of source tables, each with the name that it had.
    oids: BTreeMap<u32, TableName>,
}

struct Sorted {
    rules: Vec<Rule>,
    left_out: BTreeMap<TableName, String>,
    findings: Vec<Finding>,
}

impl<'a> Found<'a> {
    fn new(connector: &'a Connector, relations: &'a [Relation], states: &'a [TableState]) -> Self {
        Self { connector, relations, states, oids: structure::oids(states) }
    }

    fn state(&self, rule: &Rule) -> Option<&TableState> {
        self.states.iter().find(|state| state.target == rule.target)
    }

    fn is_there(&self, name: &TableName) -> bool {
        let is_table = |relation: &&Relation| matches!(relation.left_out, None | Some(LeftOut::Partition { .. }));
        self.relations.iter().filter(is_table).any(|relation| &relation.name == name)
    }

    /// A table of ours that has this name now.
    fn once(&self, relation: &Relation) -> Option<&TableName> {
        self.oids.get(&relation.oid).filter(|was| **was != relation.name && !self.is_there(was))
    }

    /// Two entries must not mean one target table, nor an entry another source table than before. Where a pattern takes a table that nobody
    /// named, that one is left alone.
    fn sort(&self) -> Sorted {
        let (all, mut findings) = preflight::expand(self.connector, self.relations);
        // a pattern whose tables all went: each of them tells so
        findings.retain(|finding| !finding.is_error());
        let mut sorted = Sorted { rules: Vec::new(), left_out: BTreeMap::new(), findings };
        let owner: BTreeMap<&TableName, &TableName> = self.states.iter().map(|state| (&state.target, &state.source)).collect();
        let mut taken: BTreeSet<TableName> = BTreeSet::new();
        let (ours, others): (Vec<Rule>, Vec<Rule>) = all
            .into_iter()
            .partition(|rule| self.connector.names(&rule.source) || owner.get(&rule.target) == Some(&&rule.source));
        for rule in ours.into_iter().chain(others) {
            let (name, table) = (rule.target.to_string(), rule.table().clone());
            let twice = !taken.insert(rule.target.clone());
            let was = owner.get(&rule.target).filter(|was| ***was != rule.source);
            let once = self.relations.iter().find(|relation| relation.name == rule.source).and_then(|found| self.once(found));
            let once = once.filter(|_| !owner.contains_key(&rule.target));
            if self.connector.names(&rule.source) {
                if twice {
                    let what = "two entries write to this table";
                    let finding = Finding::error("table.target_twice", table.to_string(), what);
                    sorted.findings.push(finding.hint("give one of them another target"));
                } else if let Some(was) = was {
                    sorted
                        .findings
                        .push(changed(&name, &format!("its entry names another source table than when it was copied (`{was}`)")));
                }
                sorted.rules.push(rule);
            } else if twice || was.is_some() {
                sorted.left_out.insert(rule.source, format!("the target table `{table}` is another one's"));
            } else if let Some(once) = once {
                sorted.left_out.insert(rule.source, format!("it is `{once}` under another name"));
            } else {
                sorted.rules.push(rule);
            }
        }
        sorted
    }

    /// The entry says something else than when its table was taken on.
    fn changed(&self, one: &Compiled) -> Option<Finding> {
        let state = self.state(&one.rule).filter(|state| state.was_taken_on())?;
        let plan = one.plan.as_ref().ok().filter(|plan| plan.fingerprint != state.fingerprint)?;
        Some(changed(&plan.target.to_string(), "its entry says other rows or values than when it was copied"))
    }

    /// The entry's table was there once.
    fn lost(&self, one: &Compiled) -> Option<Finding> {
        self.state(&one.rule).filter(|state| state.was_taken_on() && state.source == one.rule.source)?;
        let is_missing = one.plan.as_ref().err()?.iter().any(|finding| finding.code == preflight::MISSING);
        is_missing.then(|| self.missing(&one.rule.source))
    }

    /// Tables that a pattern took, and takes no more, since they are not there.
    fn gone(&self) -> Vec<Compiled> {
        let is_gone =
            |state: &&TableState| state.was_taken_on() && !self.connector.names(&state.source) && !self.is_there(&state.source);
        let rule = |state: &TableState| {
            let rules = self.connector.patterns.iter().filter_map(|pattern| pattern.rule_of(&state.source));
            Some((state.source.clone(), rules.into_iter().find(|rule| rule.target == state.target)?))
        };
        let gone = self.states.iter().filter(is_gone).filter_map(rule);
        gone.map(|(name, rule)| Compiled { plan: Err(vec![self.missing(&name)]), rule, source: None, target: None, design: None })
            .collect()
    }

    /// Through Kafka a table's rows are in its topic once: whoever applies it has passed them when another entry for it comes.
    fn second(&self, rule: &Rule) -> Option<Finding> {
        let followed = |state: &&TableState| state.source == rule.source && state.target != rule.target && state.has_begun();
        let other = self.states.iter().find(followed)?;
        let what = format!(
            "its source is followed already, into `{}`, and through Kafka it is not copied for one more entry",
            other.target
        );
        Some(Finding::error("table.second_entry", rule.target.to_string(), what).hint(
            "remove all entries of that source, SIGHUP, empty their target tables, and add all of them together: they are copied anew",
        ))
    }

    fn missing(&self, name: &TableName) -> Finding {
        let now = self.relations.iter().find(|relation| self.once(relation) == Some(name));
        let (what, cure) = match now {
            Some(now) => {
                let schema = (now.name.schema != name.schema)
                    .then(|| format!("ALTER TABLE {} SET SCHEMA {}; ", quote::table(&now.name), quote::ident(&name.schema)));
                let moved = TableName::new(name.schema.clone(), now.name.name.clone());
                let rename = (now.name.name != name.name)
                    .then(|| format!("ALTER TABLE {} RENAME TO {}; ", quote::table(&moved), quote::ident(&name.name)));
                let back = format!("give it its name back ({}{})", schema.unwrap_or_default(), rename.unwrap_or_default());
                (format!("the source table is called `{}` now", now.name), back.replace("; )", ")"))
            }
            None => ("the source has no such table any more".to_owned(), "make it again".to_owned()),
        };
        let let_go = if self.connector.names(name) { "remove its entry" } else { "`exclude` it in the pattern's entry" };
        let hint = format!("{cure}; or {let_go}, which leaves its rows in the target as they are");
        Finding::error(preflight::MISSING, name.to_string(), what).hint(hint)
    }

    /// New tables whose target is somebody else's: a pattern leaves them alone, an entry is wrong.
    async fn claims(
        &self,
        target: &Client,
        compiled: &mut Vec<Compiled>,
        (left_out, findings): (&mut BTreeMap<TableName, String>, &mut Vec<Finding>),
    ) -> Result<(), PipelineError> {
        for one in compiled.iter().filter(|one| self.state(&one.rule).is_none()) {
            let (name, by_name) = (one.rule.table(), self.connector.names(&one.rule.source));
            let owner = table_state::owner(target, name).await?.filter(|owner| owner != &self.connector.name);
            let overlaps = one.plan.as_ref().err().and_then(|found| found.iter().find(|one| one.code == preflight::OVERLAP));
            let why = match (owner, overlaps) {
                (Some(owner), _) if by_name => {
                    findings.push(preflight::owned(name, &owner));
                    continue;
                }
                (Some(owner), _) => format!("the connector `{owner}` writes to `{name}`"),
                // it was a partition, and in the target its rows still are the partitioned table's
                (None, Some(finding)) if !by_name => format!("{}\n  hint: {}", finding.what, finding.remedy_text()),
                _ => continue,
            };
            left_out.insert(one.rule.source.clone(), why);
        }
        compiled.retain(|one| !left_out.contains_key(&one.rule.source) || self.state(&one.rule).is_some());
        Ok(())
    }

    fn is_new(&self, rule: &Rule) -> bool {
        self.state(rule).is_none_or(|state| !state.was_taken_on())
    }

    /// New tables can be published, read, and named in the log.
    async fn newcomers(&self, source: &Client, compiled: &mut [Compiled]) -> Result<(), PipelineError> {
        let new: Vec<&Compiled> = compiled.iter().filter(|one| one.plan.is_ok() && self.is_new(&one.rule)).collect();
        let rules: Vec<&Rule> = new.iter().map(|one| &one.rule).collect();
        let mut hidden = publish::hidden(self.connector, source, &rules).await?;
        let names: Vec<TableName> = rules.iter().map(|rule| rule.source.clone()).collect();
        let leaves = catalog::leaves(source, &names).await?;
        let mut named: Vec<&TableName> =
            self.states.iter().filter(|state| state.was_taken_on()).map(|state| &state.source).collect();
        named.dedup();
        let spread = match self.connector.kafka() {
            Some(kafka) => spread(kafka, &new).await?,
            None => BTreeMap::new(),
        };
        for one in new {
            let (name, mut findings) = (&one.rule.source, Vec::new());
            if let (Some(shape), Some(leaves)) = (&one.source, leaves.get(name)) {
                let unfit = preflight::unfit_leaves(shape, leaves, one.rule.insert_only);
                findings.extend(unfit.into_iter().filter(Finding::is_error));
            }
            let acting = one.target.iter().flat_map(|shape| preflight::actions(self.connector, shape));
            findings.extend(acting.filter(Finding::is_error));
            if let Some(kafka) = self.connector.kafka() {
                findings.extend(self.second(&one.rule));
                findings.extend(spread.get(name).cloned());
                let others = named.iter().copied().filter(|other| *other != name);
                match table_topics(&kafka.topic_prefix, others.chain([name])) {
                    Ok(_) => named.push(name),
                    Err(errors) => {
                        let finding = |error: &TopicError| Finding::error("log.topic_name", name.to_string(), error.to_string());
                        findings.extend(errors.iter().map(finding));
                    }
                }
            }
            if !findings.is_empty() {
                hidden.entry(name.clone()).or_default().extend(findings);
            }
        }
        for one in compiled.iter_mut().filter(|one| one.plan.is_ok() && self.is_new(&one.rule)) {
            if let Some(findings) = hidden.get(&one.rule.source) {
                one.plan = Err(findings.clone());
            }
        }
        Ok(())
    }
}

/// Tables whose changes have to be in one partition, and whose topic is there, of an earlier life, with more.
async fn spread(kafka: &Kafka, new: &[&Compiled]) -> Result<BTreeMap<TableName, Finding>, PipelineError> {
    let needs_one = |one: &&&Compiled| one.plan.as_ref().is_ok_and(preflight::needs_one_partition);
    let tables: BTreeSet<&TableName> = new.iter().filter(needs_one).map(|one| &one.rule.source).collect();
    // one that can have no topic is told of by itself
    let topic_of = |table| Some((table, table_topic(&kafka.topic_prefix, table).ok()?));
    let (tables, topics): (Vec<&TableName>, Vec<String>) = tables.into_iter().filter_map(topic_of).unzip();
    if topics.is_empty() {
        return Ok(BTreeMap::new());
    }
    let there = Admin::new(kafka)?.describe(&topics, BROKER_LIMIT).await?;
    let found = |(table, state): (&TableName, Option<TopicState>)| Some((table.clone(), preflight::spread(&state?)?));
    Ok(tables.into_iter().zip(there).filter_map(found).collect())
}

fn changed(table: &str, what: &str) -> Finding {
    Finding::error("table.changed", table, what)
        .hint("put the entry back; or remove it, run once, empty the target table, and add it again: it is then copied anew")
}
