//! The judge: recorded operations in, one verdict out.
//!
//! Not here: recording (`simulator`), any code that is judged.

pub mod applied;
pub mod arranged;
pub mod checks;
pub mod event;
#[cfg(test)]
mod fixtures;
pub mod model;
pub mod oracle;
pub mod synthetic;
pub mod verdict;

pub use event::History;
pub use verdict::{Check, Report, Summary, Verdict, Violation};

use applied::content_of;
use arranged::Arranged;
use event::{Answer, Op, Operation};
use verdict::Findings;

/// Judges one run.
///
/// `Report::verdict` is `Violation` when a promise was broken, `Unknown` when nothing was asked, or
/// more than 5 % of the operations are indeterminate, else `Valid`: the caller demands with
/// `Report::require` that checks had something to look at. A check that has nothing recorded to
/// judge by (no log, no sightings, no heal) has no opportunity.
///
/// Indeterminate is an operation whose answer is `Unknown`, but for: reads, which change nothing;
/// where the log was recorded, operations on messages, for they stand in it or were never done; and
/// in a run that was drained, posts, swaps and acks, since each message was seen or is not there.
/// Cost: n log n.
pub fn judge(history: &History) -> Report {
    let arranged = Arranged::new(history);
    let mut findings = Findings::default();
    checks::all(&arranged, &mut findings);
    oracle::check(&history.applied, &mut findings);
    let info = history.operations.iter().filter(|each| is_info(&arranged, each)).count();
    Report::new(findings, history.operations.len() as u64, info as u64)
}

/// Whether it stays unknown whether the operation was done.
fn is_info(arranged: &Arranged<'_>, operation: &Operation) -> bool {
    let (logged, drained) =
        (!arranged.history.applied.is_empty(), arranged.history.drained_ns.is_some());
    let settled = match operation.op {
        Op::Look { .. } => true,
        Op::Post { .. } | Op::Swap { .. } | Op::Ack(_) => logged || drained,
        Op::Reserve { .. } | Op::Touch { .. } | Op::Release { .. } => logged,
        // Found only where the run writes the numbers of tokens into their names.
        Op::Mint { .. } | Op::Revoke { .. } => {
            content_of(operation).is_some_and(|name| arranged.applied.find(name).next().is_some())
        }
    };
    operation.answer == Answer::Unknown && !settled
}
