//! The verdict: what was broken, what was looked at, and whether that is enough to call it valid.
//!
//! Not here: the rules (`checks`).
//! Invariants: a broken promise is a violation whatever else is unknown; `Valid` says that every
//! required check had an opportunity and that at most 5 % of the operations are indeterminate.
//! Source: reliability 2, "indeterminate results" and "vacuity guard".

use std::collections::BTreeMap;
use std::fmt;

use crate::checks;

/// Violations kept of one check: the first tells the story.
pub const VIOLATIONS_MAX: usize = 20;
/// Above this share of indeterminate operations a run shows nothing. Source: reliability 2.
pub const INFO_SHARE_MAX_PPM: u64 = 50_000;

macro_rules! checks {
    ($($check:ident($kind:ty), $id:literal, $title:literal;)*) => {
        /// A promise that is checked.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Check {
            $($check,)*
        }

        impl Check {
            pub const ALL: &'static [Check] = &[$(Check::$check,)*];

            /// As in reliability 2; K, D, X, F, H and M are our own.
            pub fn id(self) -> &'static str {
                match self { $(Check::$check => $id,)* }
            }

            pub fn title(self) -> &'static str {
                match self { $(Check::$check => $title,)* }
            }
        }

        /// A broken promise, with what shows it.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub enum Violation {
            $($check($kind),)*
        }

        impl Violation {
            pub fn check(&self) -> Check {
                match self { $(Violation::$check(_) => Check::$check,)* }
            }
        }

        impl fmt::Display for Violation {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}: ", self.check())?;
                match self { $(Violation::$check(what) => what.fmt(f),)* }
            }
        }

        $(impl From<$kind> for Violation {
            fn from(what: $kind) -> Violation {
                Violation::$check(what)
            }
        })*
    };
}

checks! {
    NoLoss(checks::q1_no_loss::Lost), "Q1", "no loss";
    NoGhost(checks::q2_no_ghost::Ghost), "Q2", "no ghost";
    NoCopy(checks::q3_no_copy::Copied), "Q3", "no copy";
    OneHolder(checks::q4_one_holder::TwoHolders), "Q4", "one holder";
    AckFinal(checks::q5_ack_final::Returned), "Q5", "ack final";
    AckOnce(checks::q6_ack_once::NotFenced), "Q6", "one ack, fenced";
    Order(checks::q7_fifo::Overtaken), "Q7", "first deliveries in order";
    Place(checks::q8_place::OutOfPlace), "Q8", "place kept";
    Delay(checks::q9_delay::Early), "Q9", "delay kept";
    Linear(checks::q10_linearizable::NotLinear), "Q10", "linearizable";
    Revoked(checks::a1_revoked::StillAccepted), "A1", "revoked tokens refused";
    Tenants(checks::a2_tenants::Leaked), "A2", "tenants apart";
    SameState(checks::r1_same_state::Differ), "R1", "same state at the same index";
    Agreement(checks::r2_agreement::WentBack), "R2", "terms and logs only grow";
    Liveness(checks::l1_liveness::Stuck), "L1", "works after the heal";
    KeyOrder(checks::key_order::KeyOvertaken), "K1", "the next of a key waits";
    DeadLetters(checks::dead_letters::Undying), "D1", "dead letters move in time";
    WholeTransactions(checks::whole_transactions::Half), "X1", "whole transactions";
    FreshReads(checks::fresh_reads::Stale), "F1", "fresh reads";
    HonestAnswers(checks::honest_answers::Dishonest), "H1", "honest answers";
    Oracle(crate::oracle::Differs), "M1", "answers of the oracle";
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id(), self.title())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Valid,
    Violation,
    /// Nothing was found, and too little was seen to say that nothing is there.
    Unknown,
}

/// What checks find while they look.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    violations: Vec<Violation>,
    broken: BTreeMap<Check, u64>,
    opportunities: BTreeMap<Check, u64>,
    unsure: Vec<String>,
}

impl Findings {
    pub fn blame(&mut self, violation: impl Into<Violation>) {
        let violation = violation.into();
        let count = self.broken.entry(violation.check()).or_default();
        *count += 1;
        if *count <= VIOLATIONS_MAX as u64 {
            self.violations.push(violation);
        }
    }

    /// Counts `times` cases in which the check could have found something.
    pub fn looked(&mut self, check: Check, times: u64) {
        *self.opportunities.entry(check).or_default() += times;
    }

    /// Something that could not be judged, and makes a run without violations unknown.
    pub(crate) fn unsure(&mut self, why: String) {
        self.unsure.push(why);
    }
}

/// The verdict on one run.
#[derive(Clone, Debug)]
pub struct Report {
    pub verdict: Verdict,
    /// At most `VIOLATIONS_MAX` of each check, in the order of the checks.
    pub violations: Vec<Violation>,
    /// How often each check was broken, with those that are not kept.
    pub broken: BTreeMap<Check, u64>,
    /// How often each check could have found something. Checks without any are not in it.
    pub opportunities: BTreeMap<Check, u64>,
    pub operations: u64,
    /// Operations that are indeterminate, after those that the log settles.
    pub info: u64,
    pub why_unknown: Vec<String>,
    unsure: Vec<String>,
    required: Vec<Check>,
}

impl Report {
    pub(crate) fn new(findings: Findings, operations: u64, info: u64) -> Report {
        let Findings { mut violations, broken, mut opportunities, unsure } = findings;
        violations.sort_by_key(Violation::check);
        opportunities.retain(|_, count| *count > 0);
        let (verdict, why_unknown, required) = (Verdict::Unknown, Vec::new(), Vec::new());
        let mut report = Report {
            verdict,
            violations,
            broken,
            opportunities,
            operations,
            info,
            why_unknown,
            unsure,
            required,
        };
        report.decide();
        report
    }

    /// Share of indeterminate operations, in millionths.
    pub fn info_share_ppm(&self) -> u64 {
        self.info.saturating_mul(1_000_000) / self.operations.max(1)
    }

    /// Demands that each of `checks` had an opportunity: without, a run that broke nothing is
    /// `Unknown`. One short run cannot exercise every check; a campaign must (`Summary`).
    #[must_use]
    pub fn require(mut self, checks: &[Check]) -> Report {
        self.required.extend(checks);
        self.decide();
        self
    }

    /// Violations of one check that are kept.
    pub fn of(&self, check: Check) -> impl Iterator<Item = &Violation> {
        self.violations.iter().filter(move |violation| violation.check() == check)
    }

    fn decide(&mut self) {
        self.why_unknown = self.unsure.clone();
        if self.operations == 0 {
            self.why_unknown.push("nothing was asked".into());
        }
        let (share, max) = (self.info_share_ppm(), INFO_SHARE_MAX_PPM);
        if share > max {
            self.why_unknown.push(format!(
                "{} of {} operations are indeterminate: {share} in a million, {max} are allowed",
                self.info, self.operations
            ));
        }
        for check in &self.required {
            if !self.opportunities.contains_key(check) {
                self.why_unknown.push(format!("{check} had no opportunity"));
            }
        }
        self.verdict = match (self.broken.is_empty(), self.why_unknown.is_empty()) {
            (false, _) => Verdict::Violation,
            (true, true) => Verdict::Valid,
            (true, false) => Verdict::Unknown,
        };
    }
}

/// One line a check, then what was found.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (share, operations) = (self.info_share_ppm(), self.operations);
        writeln!(f, "{:?}: {operations} operations, {share} ppm indeterminate", self.verdict)?;
        for check in Check::ALL {
            let count = |of: &BTreeMap<Check, u64>| of.get(check).copied().unwrap_or_default();
            let (looked, broken) = (count(&self.opportunities), count(&self.broken));
            writeln!(f, "  {check}: {looked} opportunities, {broken} broken")?;
        }
        self.why_unknown.iter().try_for_each(|why| writeln!(f, "  {why}"))?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "  {violation}"))
    }
}

/// Reports of many runs, as one: a campaign.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub runs: u64,
    /// Runs by themselves: with a violation, and without one but unknown.
    pub violated: u64,
    pub unknown: u64,
    findings: Findings,
    operations: u64,
    info: u64,
}

impl Summary {
    /// Adds one run. An unknown run counts for nothing: not for opportunities, not for operations.
    pub fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.violated += u64::from(report.verdict == Verdict::Violation);
        if report.verdict == Verdict::Unknown {
            self.unknown += 1;
            return;
        }
        for violation in &report.violations {
            self.findings.blame(violation.clone());
        }
        for (check, times) in &report.opportunities {
            self.findings.looked(*check, *times);
        }
        self.operations += report.operations;
        self.info += report.info;
    }

    /// The verdict over all runs. `Unknown` when no run told anything, or one of `checks` had no
    /// opportunity in any.
    pub fn report(&self, checks: &[Check]) -> Report {
        Report::new(self.findings.clone(), self.operations, self.info).require(checks)
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
