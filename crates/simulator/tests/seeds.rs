//! Whole clusters: seeds keep every promise, repeat exactly, and find planted bugs.
//!
//! `SIM_SEED` and `SIM_SEEDS` choose other seeds than the few of every build.

use std::collections::BTreeMap;

use bessemer_history::{Check, Summary, Verdict};
use bessemer_seam::mutants::{self, Mutant};
use bessemer_simulator::run::{Plan, run};
use bessemer_simulator::trace::TraceTo;

/// Seeds of every build; the nightly run takes more, with the `sim` program.
const SEEDS: u64 = 40;
/// A planted bug must be found in this many seeds.
const MUTANT_SEEDS_MAX: u64 = 20;

fn variable(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().expect("a seed is a number"))
}

#[test]
fn seeds_keep_every_promise() {
    let first = variable("SIM_SEED", 0);
    let (mut summary, mut proofs) = (Summary::default(), BTreeMap::<&str, u64>::new());
    for seed in first..first + variable("SIM_SEEDS", SEEDS) {
        let report = run(&Plan::of(seed), TraceTo::Hash);
        println!("{report}");
        let complaints = report.complaints();
        assert!(complaints.is_empty(), "{complaints:#?}\nrepeat: ./dev sim --seed {seed} --trace");
        summary.add(&report.judged);
        for (name, times) in report.proofs {
            *proofs.entry(name).or_default() += times;
        }
    }
    // Every check examined something, and faults struck.
    let all = summary.report(Check::ALL);
    println!("{all}{proofs:#?}");
    assert_eq!(all.verdict, Verdict::Valid, "{all}");
    for name in [
        "power lost in a call",
        "syncs failed",
        "messages stalled",
        "streams reset",
        "snapshots installed",
    ] {
        assert!(proofs.get(name).is_some_and(|times| *times > 0), "{name} never happened");
    }
}

/// Seed 131: a leader was deposed while its last commit came in, and openraft held those entries
/// back for ever; the snapshot waited for them, and they for an entry after the snapshot.
#[test]
fn seeds_that_once_broke_a_promise_keep_it() {
    let report = run(&Plan::of(131), TraceTo::Hash);
    assert!(report.complaints().is_empty(), "{:#?}", report.complaints());
}

#[test]
fn a_seed_repeats_exactly_and_another_differs() {
    let hash = |seed| {
        let report = run(&Plan::of(seed), TraceTo::Hash);
        (report.hash, report.trace_lines, report.polls)
    };
    let first = hash(3);
    assert_eq!(first, hash(3));
    assert_ne!(first, hash(4));
}

/// The sim's own two mutants; `./dev mutants` runs all of them.
#[test]
fn planted_bugs_are_found() {
    if !mutants::COMPILED {
        return;
    }
    for mutant in [Mutant::SyncBeforeDurable, Mutant::WrongByteInState] {
        let found = (0..MUTANT_SEEDS_MAX).any(|seed| {
            let report = run(&Plan::of(seed).with_mutant(mutant), TraceTo::Hash);
            report.verdict() == Verdict::Violation
        });
        assert!(found, "{mutant} is not found in {MUTANT_SEEDS_MAX} seeds");
    }
}
