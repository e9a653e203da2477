//! The checks, one invariant a file: source, no-false-alarm condition, typed violation, rule.
//!
//! Not here: the verdict over all of them (`verdict.rs`); the oracle (`oracle.rs`).
//! Each is one pass over sorted lists: n log n at most.

pub mod a1_revoked;
pub mod a2_tenants;
pub mod dead_letters;
pub mod fresh_reads;
pub mod honest_answers;
pub mod key_order;
pub mod l1_liveness;
pub mod q10_linearizable;
pub mod q1_no_loss;
pub mod q2_no_ghost;
pub mod q3_no_copy;
pub mod q4_one_holder;
pub mod q5_ack_final;
pub mod q6_ack_once;
pub mod q7_fifo;
pub mod q8_place;
pub mod q9_delay;
pub mod r1_same_state;
pub mod r2_agreement;
pub mod whole_transactions;

use crate::arranged::Arranged;
use crate::verdict::Findings;

/// Runs every check over what clients heard and nodes said.
pub(crate) fn all(arranged: &Arranged<'_>, findings: &mut Findings) {
    q1_no_loss::check(arranged, findings);
    q2_no_ghost::check(arranged, findings);
    q3_no_copy::check(arranged, findings);
    q4_one_holder::check(arranged, findings);
    q5_ack_final::check(arranged, findings);
    q6_ack_once::check(arranged, findings);
    q7_fifo::check(arranged, findings);
    q8_place::check(arranged, findings);
    q9_delay::check(arranged, findings);
    q10_linearizable::check(arranged, findings);
    a1_revoked::check(arranged, findings);
    a2_tenants::check(arranged, findings);
    r1_same_state::check(arranged, findings);
    r2_agreement::check(arranged, findings);
    l1_liveness::check(arranged, findings);
    key_order::check(arranged, findings);
    dead_letters::check(arranged, findings);
    whole_transactions::check(arranged, findings);
    fresh_reads::check(arranged, findings);
    honest_answers::check(arranged, findings);
}
