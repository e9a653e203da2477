//! Judges a made-up run of 10^6 operations, and prints how long that took.
//!
//! `million [OPERATIONS] [SEED]`. Not a test: nothing here is asserted but the verdict.

use std::time::{Duration, Instant};

use bessemer_history::{Verdict, judge, synthetic};

/// Processor time of this process, as Linux counts it: in hundredths of a second.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in parentheses may hold spaces; user and system time are the 12th and 13th after it.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    Duration::from_millis(ticks * 10)
}

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
    let (began, busy) = (Instant::now(), processor_time());
    let report = judge(&history);
    let (took, busy) = (began.elapsed(), processor_time() - busy);
    println!("{report}judged in {took:?}, {busy:?} of processor time");
    assert_eq!(report.verdict, Verdict::Valid);
}
