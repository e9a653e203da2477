//! Judges a made-up run of 10^6 operations, and prints how long that took.
//!
//! `million [OPERATIONS] [SEED]`. Not a test: nothing here is asserted but the verdict.

use std::time::Instant;

use bessemer_history::{Verdict, judge, synthetic};

fn main() {
    let number = |at, default| {
        std::env::args().nth(at).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (operations, seed) = (number(1, 1_000_000), number(2, 1));
    let began = Instant::now();
    let history = synthetic::run(seed, operations as usize);
    println!(
        "made {} operations, {} applied requests, {} sightings in {:?}",
        history.operations.len(),
        history.applied.len(),
        history.sightings.len(),
        began.elapsed()
    );
    let began = Instant::now();
    let report = judge(&history);
    let took = began.elapsed();
    println!("{report}judged in {took:?}");
    assert_eq!(report.verdict, Verdict::Valid);
}
