//! Runs seeds: `sim --seeds 100`, `sim --seed 7 --trace`, `sim --seed 7 --bug <name>`.
//!
//! The last line on standard output is the trace hash of the last run. Exit status 1 when a
//! promise was broken, with the one command that repeats it; 2 for wrong arguments.

use std::process::ExitCode;

use bessemer_simulator::bugs::Bug;
use bessemer_simulator::log_lines::with_log;
use bessemer_simulator::run::{Plan, Report, run};
use bessemer_simulator::trace::TraceTo;
use tracing::Level;

const USAGE: &str =
    "usage: sim [--seed N] [--seeds COUNT] [--bug NAME] [--trace] [--log LEVEL] [--tail]
  --seed N       the first seed (default 0)
  --seeds COUNT  how many seeds, one after the other (default 1)
  --bug NAME     plants a bug that must be found: sync-before-durable, wrong-byte-in-state
  --trace        prints every line of the trace to standard error
  --log LEVEL    prints what the code under test logs, up to LEVEL (info, debug, trace)
  --tail         prints the newest lines of a failed run's trace";

struct Arguments {
    seed: u64,
    seeds: u64,
    bug: Option<Bug>,
    trace: TraceTo,
    log: Option<Level>,
    tail: bool,
}

fn parse(mut words: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut arguments =
        Arguments { seed: 0, seeds: 1, bug: None, trace: TraceTo::Hash, log: None, tail: false };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seed" => arguments.seed = words.next()?.parse().ok()?,
            "--seeds" => arguments.seeds = words.next()?.parse().ok()?,
            "--bug" => arguments.bug = Some(words.next()?.parse().ok()?),
            "--trace" => arguments.trace = TraceTo::Stderr,
            "--log" => arguments.log = Some(words.next()?.parse().ok()?),
            "--tail" => arguments.tail = true,
            _ => return None,
        }
    }
    Some(arguments)
}

fn plan(arguments: &Arguments, seed: u64) -> Plan {
    let plan = Plan::of(seed);
    match arguments.bug {
        Some(bug) => plan.with_bug(bug),
        None => plan,
    }
}

/// Says what broke and how to see it again.
fn explain(report: &Report, arguments: &Arguments) {
    for violation in &report.findings.violations {
        println!("  violation: {violation}");
    }
    if arguments.tail {
        report.tail.iter().for_each(|line| println!("  {line}"));
    }
    let bug = arguments.bug.map_or(String::new(), |bug| format!(" --bug {bug}"));
    println!(
        "  repeat: cargo run --release -p bessemer-simulator --bin sim -- --seed {}{bug} --trace",
        report.seed
    );
}

fn main() -> ExitCode {
    let Some(arguments) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let mut failed = 0;
    let mut hash = 0;
    for seed in arguments.seed..arguments.seed.saturating_add(arguments.seeds) {
        let plan = plan(&arguments, seed);
        let report = match arguments.log {
            Some(level) => with_log(level, || run(&plan, arguments.trace)),
            None => run(&plan, arguments.trace),
        };
        println!("{report} {:?}", report.faults);
        if !report.findings.violations.is_empty() {
            failed += 1;
            explain(&report, &arguments);
        } else if arguments.seeds == 1 {
            println!("  looked at: {:?}", report.findings.opportunities);
            println!("  happened: {:?}", report.proofs);
        }
        hash = report.hash;
    }
    println!("{} of {} seeds broke a promise", failed, arguments.seeds);
    println!("{hash:016x}");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
