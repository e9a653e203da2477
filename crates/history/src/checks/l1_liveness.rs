//! L1, liveness: once every fault is over, writes succeed soon, and every queue can be emptied.
//!
//! Source: reliability 2, L1; openraft's simulation (faults stop, and the cluster must heal).
//! No false alarm: only in a run that says when it was healed. A write counts as a failure when it
//! was asked after the time allowed, was not done, and none had succeeded since the heal. A run
//! that says `healed_ns` has tried to drain until `drained_within_ns` after it, or longer.

use std::fmt;

use crate::arranged::Arranged;
use crate::event::{Answer, Op, Operation};
use crate::verdict::{Check, Findings};

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stuck {
    /// Asked long after the heal, and still no write succeeds.
    Write { healed_ns: u64, called_ns: u64, op: Op, answer: Answer },
    /// `drained_ns` is `None` when they never were.
    NotDrained { healed_ns: u64, drained_ns: Option<u64> },
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stuck::Write { healed_ns, called_ns, op, answer } => write!(
                f,
                "healed at {healed_ns} ns, and at {called_ns} ns {op:?} was {answer:?}; no write had \
                 succeeded"
            ),
            Stuck::NotDrained { healed_ns, drained_ns: None } => {
                write!(f, "healed at {healed_ns} ns, and the queues were never empty")
            }
            Stuck::NotDrained { healed_ns, drained_ns: Some(drained_ns) } => {
                write!(
                    f,
                    "healed at {healed_ns} ns, and the queues were empty at {drained_ns} ns only"
                )
            }
        }
    }
}

fn is_write(operation: &Operation) -> bool {
    match operation.op {
        Op::Post { .. } | Op::Reserve { .. } | Op::Ack(_) | Op::Touch { .. } => true,
        Op::Release { .. } | Op::Swap { .. } | Op::Mint { .. } | Op::Revoke { .. } => true,
        Op::Look { .. } => false,
    }
}

pub fn check(arranged: &Arranged<'_>, findings: &mut Findings) {
    let history = arranged.history;
    let Some(healed_ns) = history.healed_ns else { return };
    let failed = |answer: &Answer| matches!(answer, Answer::NotDone | Answer::Unknown);
    let since = history.operations.iter().filter(|each| each.called_ns >= healed_ns);
    let writes: Vec<&Operation> = since.filter(|each| is_write(each)).collect();
    let succeeded = writes.iter().filter(|each| !failed(&each.answer));
    let first = succeeded.map(|each| each.answered_ns).min().unwrap_or(u64::MAX);
    findings.looked(Check::Liveness, u64::from(!writes.is_empty()));
    let late = healed_ns.saturating_add(history.rules.writes_within_ns);
    let stuck = writes
        .iter()
        .find(|each| each.called_ns > late && failed(&each.answer) && each.answered_ns < first);
    if let Some(write) = stuck {
        let (op, answer) = (write.op.clone(), write.answer.clone());
        findings.blame(Stuck::Write { healed_ns, called_ns: write.called_ns, op, answer });
    }
    findings.looked(Check::Liveness, 1);
    let drained_ns = history.drained_ns;
    let late = healed_ns.saturating_add(history.rules.drained_within_ns);
    if drained_ns.is_none_or(|drained_ns| drained_ns > late) {
        findings.blame(Stuck::NotDrained { healed_ns, drained_ns });
    }
}

#[cfg(test)]
#[path = "l1_liveness_tests.rs"]
mod tests;
