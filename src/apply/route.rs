//! Which plans a source table's changes belong to, and where their inputs stand in its rows.

use crate::change::{Change, Table};
use crate::mapping::{Binding, Misfit, TablePlan};
use hashbrown::HashMap;
use std::sync::Arc;

/// One change for one plan.
#[derive(Clone, Debug)]
pub struct Item {
    /// The plan's number.
    pub plan: usize,
    pub change: Change,
    /// Or why the stream's table does not fit the plan any more.
    pub binding: Result<Arc<Binding>, Arc<Vec<Misfit>>>,
    pub base: Base,
}

/// What is known of the target's rows where a change comes upon them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Base {
    /// They are those of the source just before the change.
    #[default]
    Exact,
    /// Its own row is; another of the table may be of a later moment, and in its way.
    Beside,
    /// Some may be of a later moment, or still missing: they are being copied, or read again.
    Mixed,
    /// Nobody vouches for what is there: the table is copied once more, and that may be why. What a change leaves out is not taken from it.
    Doubtful,
}

type Bound = (usize, Result<Arc<Binding>, Arc<Vec<Misfit>>>);

/// Routes by relation id, renewed with each shape that the stream announces.
#[derive(Default)]
pub struct Routes {
    by_relation: HashMap<u32, Vec<Bound>>,
}

impl Routes {
    /// Takes note of a table's shape.
    pub fn shape(&mut self, plans: &[TablePlan], table: &Table) {
        let known = plans.iter().any(|plan| plan.source_oid == table.relation_id);
        let is_its = |plan: &TablePlan| if known { plan.source_oid == table.relation_id } else { plan.source == table.name };
        let mine = plans.iter().enumerate().filter(|(_, plan)| is_its(plan));
        let bound = mine.map(|(number, plan)| (number, plan.bind(table).map(Arc::new).map_err(Arc::new))).collect();
        self.by_relation.insert(table.relation_id, bound);
    }

    /// Adds the change to `out`, once per plan. A table that no plan names adds nothing.
    pub fn route(&self, change: Change, out: &mut Vec<Item>) {
        let Some(bound) = self.by_relation.get(&change.table.relation_id) else { return };
        if let Some(((plan, binding), others)) = bound.split_last() {
            let held = |binding: &Result<Arc<Binding>, Arc<Vec<Misfit>>>| match binding {
                Ok(bound) => {
                    bound.lacks(change.position.commit).map_or_else(|| binding.clone(), |misfit| Err(Arc::new(vec![misfit])))
                }
                Err(_) => binding.clone(),
            };
            out.extend(others.iter().map(|(plan, binding)| Item {
                plan: *plan,
                change: change.clone(),
                binding: held(binding),
                base: Base::Exact,
            }));
            let binding = held(binding);
            out.push(Item { plan: *plan, change, binding, base: Base::Exact });
        }
    }
}
