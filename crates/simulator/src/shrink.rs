//! Makes a failing plan smaller: fewer kinds of faults, fewer faults, fewer operations, fewer
//! clients and nodes, as long as the same promise is broken.
//!
//! Not here: why it fails. A smaller plan is another run, which happens to fail alike.

use std::collections::BTreeSet;

use crate::run::{Plan, Report, run};
use crate::trace::TraceTo;

/// A plan that fails, and its report.
pub struct Shrunk {
    pub plan: Plan,
    pub report: Report,
    /// Runs it took.
    pub runs: u64,
}

struct Search {
    best: Shrunk,
    /// What the smaller plan shall break as well.
    broken: BTreeSet<String>,
    runs_max: u64,
}

impl Search {
    /// Runs `plan`; keeps it when it breaks the same promise.
    fn try_one(&mut self, plan: Plan) -> bool {
        if self.best.runs >= self.runs_max || plan == self.best.plan {
            return false;
        }
        self.best.runs += 1;
        let report = run(&plan, TraceTo::Hash);
        let same = !self.broken.is_disjoint(&report.broken());
        if same {
            self.best.plan = plan;
            self.best.report = report;
        }
        same
    }

    fn try_with(&mut self, change: impl FnOnce(&mut Plan)) -> bool {
        let mut plan = self.best.plan.clone();
        change(&mut plan);
        self.try_one(plan)
    }

    fn fewer_kinds(&mut self) {
        for kind in self.best.plan.kinds.clone() {
            if self.best.plan.kinds.len() > 1 {
                self.try_with(|plan| plan.kinds.retain(|other| *other != kind));
            }
        }
    }

    /// Leaves out faults in ever smaller pieces (delta debugging).
    fn fewer_faults(&mut self) {
        let begun: u64 = self.best.report.faults.values().sum();
        let total = begun + self.best.plan.skip.len() as u64;
        let mut piece = total.div_ceil(2);
        while piece > 0 {
            for from in (0..total).step_by(piece as usize) {
                let more: BTreeSet<u64> = (from..from + piece).collect();
                self.try_with(|plan| plan.skip.extend(more));
            }
            piece /= 2;
        }
    }

    fn fewer_operations(&mut self) {
        let mut known_to_pass = 0;
        let mut least = self.best.plan.operations_max.min(self.best.report.events);
        while least - known_to_pass > 1 {
            let middle = known_to_pass + (least - known_to_pass) / 2;
            if self.try_with(|plan| plan.operations_max = middle) {
                least = middle;
            } else {
                known_to_pass = middle;
            }
            if self.best.runs >= self.runs_max {
                return;
            }
        }
    }
}

/// Shrinks `plan`, which broke promises as `report` says, in at most `runs_max` runs.
/// `report` has a violation. The smaller plan breaks one of the same promises.
pub fn shrink(plan: Plan, report: Report, runs_max: u64) -> Shrunk {
    let broken = report.broken();
    let best = Shrunk { plan, report, runs: 0 };
    let mut search = Search { best, broken, runs_max };
    search.fewer_kinds();
    search.fewer_faults();
    search.try_with(|plan| plan.settings.nodes = 3);
    while search.best.plan.clients > 1 && search.try_with(|plan| plan.clients -= 1) {}
    search.fewer_operations();
    search.fewer_kinds();
    search.fewer_faults();
    search.best
}
