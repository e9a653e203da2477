//! Runs whole clusters from seeds: `sim --seeds 100`, `sim --seed 7 --trace`, `sim --seed 7 --shrink`.
//!
//! The last line on standard output is the trace hash of the last run. Exit status 0 only when every
//! run was valid, 1 when a promise was broken or a seed did not repeat, 2 for wrong arguments.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use bessemer_history::{Check, Summary, Verdict};
use bessemer_seam::mutants::Mutant;
use bessemer_simulator::faults::Fault;
use bessemer_simulator::log_lines::with_log;
use bessemer_simulator::run::{Plan, Report, run};
use bessemer_simulator::shrink::shrink;
use bessemer_simulator::trace::TraceTo;
use clap::Parser;
use tracing::Level;

/// Runs that a search for a smaller failure may take.
const SHRINK_RUNS_MAX: u64 = 300;

/// From so many runs on, every check must have had something to look at.
const CAMPAIGN_RUNS_MIN: u64 = 100;

/// Whole clusters in one thread, each from a seed, judged.
#[derive(Parser)]
#[command(args_override_self = true)]
struct Arguments {
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many seeds, one after the other.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Only every N-th of them, beginning with the K-th: K/N.
    #[arg(long, value_parser = share, default_value = "1/1")]
    share: (u64, u64),
    /// A file of seeds that were run: those that were valid are left out, new ones are added.
    #[arg(long)]
    resume: Option<PathBuf>,
    /// Runs them in this many processes at once; their lines come in any order.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=64))]
    jobs: Option<u64>,
    /// Runs each seed twice and compares the hashes.
    #[arg(long)]
    twice: bool,
    /// Looks for a smaller plan that breaks the same promise.
    #[arg(long)]
    shrink: bool,
    /// Prints every line of the trace to standard error.
    #[arg(long)]
    trace: bool,
    /// Prints what the code under test logs, up to this level, to standard error.
    #[arg(long)]
    log: Option<Level>,
    /// Prints the newest lines of a failed run's trace.
    #[arg(long)]
    tail: bool,
    /// Lets a planted bug have its way, which must be found; needs the feature `mutants`.
    #[arg(long)]
    mutant: Option<Mutant>,
    /// Only these kinds of faults, with commas; `none` for none.
    #[arg(long, value_delimiter = ',', value_parser = kind)]
    faults: Option<Vec<Option<Fault>>>,
    /// Leaves out the faults with these numbers.
    #[arg(long, value_delimiter = ',')]
    skip: Vec<u64>,
    /// Clients stop after this many operations in all.
    #[arg(long)]
    operations: Option<u64>,
    /// Clients.
    #[arg(long)]
    clients: Option<u64>,
    /// Nodes at the start: 3 to 5.
    #[arg(long, value_parser = clap::value_parser!(u64).range(3..=5))]
    nodes: Option<u64>,
    /// How long clients work while faults happen, in seconds of virtual time.
    #[arg(long)]
    work: Option<u64>,
}

fn share(text: &str) -> Result<(u64, u64), String> {
    let parts = text.split_once('/').and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
    parts.filter(|(k, n)| (1..=*n).contains(k)).ok_or_else(|| "1 <= K <= N in K/N".into())
}

fn kind(text: &str) -> Result<Option<Fault>, String> {
    match text {
        "none" => Ok(None),
        name => Fault::named(name).map(Some).ok_or_else(|| format!("one of {:?}", Fault::ALL)),
    }
}

impl Arguments {
    fn plan(&self, seed: u64) -> Plan {
        let mut plan = Plan::of(seed);
        if let Some(mutant) = self.mutant {
            plan = plan.with_mutant(mutant);
        }
        if let Some(kinds) = &self.faults {
            plan.kinds = kinds.iter().copied().flatten().collect();
        }
        plan.skip = self.skip.iter().copied().collect();
        plan.operations_max = self.operations.unwrap_or(plan.operations_max);
        plan.clients = self.clients.unwrap_or(plan.clients);
        plan.settings.nodes = self.nodes.unwrap_or(plan.settings.nodes);
        plan.work = self.work.map_or(plan.work, std::time::Duration::from_secs);
        plan
    }

    fn run(&self, plan: &Plan) -> Report {
        let trace = if self.trace { TraceTo::Stderr } else { TraceTo::Hash };
        match self.log {
            Some(level) => with_log(level, || run(plan, trace)),
            None => run(plan, trace),
        }
    }
}

/// The one command that repeats `plan`.
fn command(plan: &Plan) -> String {
    let usual = match plan.mutant {
        Some(mutant) => Plan::of(plan.seed).with_mutant(mutant),
        None => Plan::of(plan.seed),
    };
    let mut words = vec![format!("./dev sim --seed {}", plan.seed)];
    let mut option = |name: &str, value: String| words.push(format!("--{name} {value}"));
    if let Some(mutant) = plan.mutant {
        option("mutant", mutant.to_string());
    }
    if plan.kinds != usual.kinds {
        let names: Vec<String> = plan.kinds.iter().map(|kind| format!("{kind:?}")).collect();
        option("faults", if names.is_empty() { "none".into() } else { names.join(",") });
    }
    if !plan.skip.is_empty() {
        let numbers: Vec<String> = plan.skip.iter().map(u64::to_string).collect();
        option("skip", numbers.join(","));
    }
    if plan.operations_max != usual.operations_max {
        option("operations", plan.operations_max.to_string());
    }
    if plan.clients != usual.clients {
        option("clients", plan.clients.to_string());
    }
    if plan.settings.nodes != usual.settings.nodes {
        option("nodes", plan.settings.nodes.to_string());
    }
    if plan.work != usual.work {
        option("work", plan.work.as_secs().to_string());
    }
    words.join(" ")
}

/// Says what broke and how to see it again.
fn explain(plan: &Plan, report: &Report, tail: bool) {
    report.complaints().iter().for_each(|complaint| println!("  {complaint}"));
    if tail {
        report.tail.iter().for_each(|line| println!("  {line}"));
    }
    println!("  repeat: {} --trace", command(plan));
}

/// Seeds that were valid before, and where new ones are written down.
fn resumed(path: Option<&PathBuf>) -> io::Result<(BTreeSet<u64>, Option<File>)> {
    let Some(path) = path else { return Ok((BTreeSet::new(), None)) };
    let file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    let mut known = BTreeSet::new();
    for line in BufReader::new(file.try_clone()?).lines() {
        let line = line?;
        let seed = line.strip_suffix(" valid").and_then(|line| line.split(' ').next());
        known.extend(seed.and_then(|seed| seed.parse::<u64>().ok()));
    }
    Ok((known, Some(file)))
}

/// Runs this program once per job, each with its share of the seeds; tells how many failed.
fn in_jobs(jobs: u64) -> io::Result<u64> {
    let program = std::env::current_exe()?;
    let start = |job: u64| {
        let mut child = Command::new(&program);
        child.args(std::env::args_os().skip(1));
        child.args(["--jobs", "1", "--share", &format!("{job}/{jobs}")]).spawn()
    };
    let mut children = (1..=jobs).map(start).collect::<io::Result<Vec<_>>>()?;
    let mut failed = 0;
    for child in &mut children {
        failed += u64::from(!child.wait()?.success());
    }
    Ok(failed)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.jobs {
        Some(jobs) if jobs > 1 => in_jobs(jobs),
        Some(_) | None => all(&arguments),
    };
    match done {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sim: {error}; look at --resume");
            ExitCode::from(2)
        }
    }
}

/// Runs all seeds; tells how many failed.
fn all(arguments: &Arguments) -> io::Result<u64> {
    let (known, mut file) = resumed(arguments.resume.as_ref())?;
    let (part, parts) = arguments.share;
    let began = Instant::now();
    let mut summary = Summary::default();
    let (mut ran, mut failed, mut hash) = (0, 0, 0);
    let mut virtual_s = 0.0;
    for seed in arguments.seed..arguments.seed.saturating_add(arguments.seeds) {
        if seed % parts != part - 1 || known.contains(&seed) {
            continue;
        }
        let plan = arguments.plan(seed);
        let report = arguments.run(&plan);
        println!("{report} {:?}", report.faults);
        ran += 1;
        virtual_s += report.virtual_time.as_secs_f64();
        hash = report.hash;
        let repeats = !arguments.twice || arguments.run(&plan).hash == hash;
        if !repeats {
            println!("  another hash the second time: {}", command(&plan));
        }
        let valid = report.verdict() == Verdict::Valid;
        summary.add(&report.judged);
        failed += u64::from(!valid || !repeats);
        if !valid {
            explain(&plan, &report, arguments.tail);
            if arguments.shrink && report.verdict() == Verdict::Violation {
                let shrunk = shrink(plan, report, SHRINK_RUNS_MAX);
                println!("shrunk in {} runs: {}", shrunk.runs, shrunk.report);
                explain(&shrunk.plan, &shrunk.report, arguments.tail);
            }
        } else if arguments.seeds == 1 {
            println!("  happened: {:?}", report.proofs);
        }
        if let Some(file) = &mut file {
            let word = if valid && repeats { "valid" } else { "failed" };
            writeln!(file, "{seed} {hash:016x} {word}")?;
        }
    }
    // So many runs show something of everything; a few need not.
    let required = if ran >= CAMPAIGN_RUNS_MIN { Check::ALL } else { &[] };
    let all = summary.report(required);
    print!("{all}");
    failed += u64::from(all.verdict == Verdict::Unknown && failed == 0 && ran > 0);
    let spent_s = began.elapsed().as_secs_f64();
    println!(
        "{failed} of {ran} seeds failed; {:.2} cluster-hours in {spent_s:.0} s, {:.0} times as fast",
        virtual_s / 3600.0,
        virtual_s / spent_s.max(0.001),
    );
    println!("{hash:016x}");
    Ok(failed)
}
