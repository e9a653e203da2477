//! Runs every planted bug until a check finds it: `mutants`, `mutants --only nats-lazy-fsync`.
//!
//! Needs the feature `mutants`. Exit status 0 when at least `FOUND_PERCENT_MIN` of the mutants that
//! were run were found, else 1; 2 for wrong arguments.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use bessemer_history::Verdict;
use bessemer_seam::mutants::{ALL, About, COMPILED, IN_LIBRARY, Mutant};
use bessemer_simulator::run::{Plan, Report, run};
use bessemer_simulator::trace::TraceTo;
use clap::Parser;

/// Share of mutants that must be found. Source: the project's own bar for its checks.
const FOUND_PERCENT_MIN: usize = 95;
/// Checks that see that the code under test gave up, not that it broke a promise.
const GAVE_UP: [&str; 2] = ["no panic", "no accident"];

/// Planted bugs, each run until a check finds it.
#[derive(Parser)]
struct Arguments {
    /// Only this one.
    #[arg(long)]
    only: Option<Mutant>,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Seeds per mutant, at most.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// Seconds of real time per mutant, at most.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Uses plans as they come, not those that bring a mutant to light sooner.
    #[arg(long)]
    undirected: bool,
    /// Only those that are patches of openraft, for a build with the patched copy: the environment
    /// names the one that has its way (`.ci/mutants.sh`).
    #[arg(long)]
    library: bool,
    /// Prints one JSON object per mutant, a line each, instead of the table.
    #[arg(long)]
    json: bool,
    /// Prints what exists and runs nothing.
    #[arg(long)]
    list: bool,
}

/// What became of one mutant.
#[derive(Default)]
struct Row {
    name: String,
    place: String,
    like: String,
    /// The check that found it, with its words.
    found: Option<(String, String)>,
    /// Checks beside that one that found it in the same run.
    others: u64,
    /// No check found it but those that see the code give up.
    gave_up_only: bool,
    seed: u64,
    runs: u64,
    /// Times it had its way in all runs.
    strikes: u64,
    virtual_s: f64,
    real_s: f64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        ALL.iter()
            .for_each(|about| println!("{:32} {:32} {}", about.name, about.place, about.what));
        return ExitCode::SUCCESS;
    }
    if !COMPILED {
        eprintln!("mutants: nothing is planted: build with --features mutants");
        return ExitCode::from(2);
    }
    // A panic inside a node is one of the ways to find a mutant; its place is in the report.
    std::panic::set_hook(Box::new(|_| {}));
    if !arguments.json {
        println!(
            "{:32} {:40} {:>5} {:>5} {:>8} {:>7} {:>9}",
            "mutant", "found by", "seed", "runs", "virtual", "real", "strikes"
        );
    }
    let rows: Vec<Row> = chosen(&arguments).map(|about| hunt(&arguments, about)).collect();
    let survivors: Vec<&Row> = rows.iter().filter(|row| row.found.is_none()).collect();
    let found = rows.len() - survivors.len();
    if !arguments.json {
        println!("{found} of {} found", rows.len());
        survivors.iter().for_each(|row| println!("survived: {} ({})", row.name, row.place));
    }
    if found * 100 >= rows.len() * FOUND_PERCENT_MIN {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn chosen(arguments: &Arguments) -> impl Iterator<Item = &'static About> {
    let Arguments { only, library, .. } = *arguments;
    ALL.iter()
        .filter(move |about| about.place.starts_with(IN_LIBRARY) == library)
        .filter(move |about| only.is_none_or(|only| about.mutant == only))
}

fn row_of(about: &About) -> Row {
    let About { name, place, like, .. } = about;
    Row { name: (*name).into(), place: (*place).into(), like: (*like).into(), ..Row::default() }
}

/// Runs seeds until a promise is broken that is kept when nothing is planted; a check of promises is
/// preferred to one that sees the code give up, in the same run.
fn hunt(arguments: &Arguments, about: &About) -> Row {
    let mut row = row_of(about);
    let began = Instant::now();
    for seed in arguments.seed..arguments.seed.saturating_add(arguments.seeds) {
        if began.elapsed().as_secs() >= arguments.seconds {
            break;
        }
        let plan = plan(arguments, seed, about.mutant);
        let report = catch_unwind(AssertUnwindSafe(|| run(&plan, TraceTo::Hash)));
        row.runs += 1;
        row.seed = seed;
        match &report {
            Ok(report) => {
                row.strikes += report.strikes;
                row.virtual_s += report.virtual_time.as_secs_f64();
                judge(report, &mut row);
                let innocent = Plan { mutant: None, ..plan };
                if !arguments.library
                    && row.found.is_some()
                    && run(&innocent, TraceTo::Hash).verdict() == Verdict::Violation
                {
                    eprintln!("seed {seed} breaks a promise without {}, too", row.name);
                    row.found = None;
                }
            }
            Err(_) => row.found = Some(("no panic".into(), "the harness itself panicked".into())),
        }
        if row.found.is_some() {
            break;
        }
    }
    row.gave_up_only =
        row.found.as_ref().is_some_and(|(check, _)| GAVE_UP.contains(&check.as_str()));
    row.real_s = began.elapsed().as_secs_f64();
    if arguments.json {
        print_json(&row)
    } else {
        print(&row)
    }
    row
}

fn plan(arguments: &Arguments, seed: u64, mutant: Mutant) -> Plan {
    let plan = Plan::of(seed);
    if arguments.undirected {
        return Plan { mutant: Some(mutant), ..plan };
    }
    plan.with_mutant(mutant)
}

fn judge(report: &Report, row: &mut Row) {
    // What was broken says more than that nothing went on, and that more than that it gave up.
    let rank = |check: &&String| match check.as_str() {
        check if GAVE_UP.contains(&check) => 2,
        check if check.starts_with("L1") || check == "repaired" => 1,
        _ => 0,
    };
    let broken = report.broken();
    let Some(check) = broken.iter().min_by_key(rank) else { return };
    let words = report.complaints().into_iter().find(|words| words.contains(check.as_str()));
    row.others = broken.len() as u64 - 1;
    row.found = Some((check.clone(), words.unwrap_or_default()));
}

fn print(row: &Row) {
    let by = match &row.found {
        Some((check, _)) if row.gave_up_only => format!("{check} (only)"),
        Some((check, _)) if row.others > 0 => format!("{check}, {} more", row.others),
        Some((check, _)) => check.clone(),
        None => "-".into(),
    };
    let seed = row.found.as_ref().map_or("-".into(), |_| row.seed.to_string());
    println!(
        "{:32} {by:40} {seed:>5} {:>5} {:>7.0}s {:>6.1}s {:>9}",
        row.name, row.runs, row.virtual_s, row.real_s, row.strikes
    );
}

fn print_json(row: &Row) {
    let (check, text) = match &row.found {
        Some((check, text)) => (quoted(check), quoted(text)),
        None => ("null".into(), "null".into()),
    };
    let seed = row.found.as_ref().map_or("null".into(), |_| row.seed.to_string());
    println!(
        "{{\"name\":{},\"place\":{},\"like\":{},\"found_by\":{check},\"gave_up_only\":{},\
         \"seed\":{seed},\"runs\":{},\"strikes\":{},\"virtual_s\":{:.1},\"real_s\":{:.1},\
         \"text\":{text}}}",
        quoted(&row.name),
        quoted(&row.place),
        quoted(&row.like),
        row.gave_up_only,
        row.runs,
        row.strikes,
        row.virtual_s,
        row.real_s,
    );
}

/// `text` as a JSON string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => quoted.push(' '),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
