//! Figures of a bench run: counted by each client, added up, shown.
//!
//! Not here: what is measured (`client.rs`). Times are kept in microseconds.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::QueueArgs;

/// Longest time a histogram tells apart from longer ones: a minute.
const TIME_US_MAX: u64 = 60_000_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Post,
    Reserve,
    Delete,
}

const STEPS: [(Step, &str); 3] =
    [(Step::Post, "post"), (Step::Reserve, "reserve"), (Step::Delete, "delete")];

/// What one client counted, or all together.
pub struct Figures {
    cycles: u64,
    messages: u64,
    /// Cycles whose reserve gave fewer messages than were asked for.
    short: u64,
    errors: BTreeMap<&'static str, u64>,
    times_us: [Histogram<u64>; 3],
}

impl Figures {
    pub fn new() -> Figures {
        let empty = || {
            let mut histogram =
                Histogram::new_with_max(TIME_US_MAX, 3).expect("the bounds are valid");
            histogram.auto(false);
            histogram
        };
        let times_us = [empty(), empty(), empty()];
        Figures { cycles: 0, messages: 0, short: 0, errors: BTreeMap::new(), times_us }
    }

    pub fn cycle(&mut self, messages: usize, short: bool) {
        self.cycles += 1;
        self.messages += messages as u64;
        self.short += u64::from(short);
    }

    pub fn error(&mut self, class: &'static str) {
        *self.errors.entry(class).or_default() += 1;
    }

    pub fn step(&mut self, step: Step, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(TIME_US_MAX);
        self.times_us[step as usize].saturating_record(us);
    }

    pub fn add(&mut self, other: &Figures) {
        self.cycles += other.cycles;
        self.messages += other.messages;
        self.short += other.short;
        for (class, count) in &other.errors {
            *self.errors.entry(class).or_default() += count;
        }
        for (mine, theirs) in self.times_us.iter_mut().zip(&other.times_us) {
            mine.add(theirs).expect("all histograms have the same bounds");
        }
    }
}

/// The result, as JSON shows it.
#[derive(Debug, Serialize)]
pub struct Report {
    pub clients: usize,
    pub batch: usize,
    pub body_bytes: usize,
    pub queues: usize,
    pub nodes: usize,
    pub secs: f64,
    /// Loops of post, reserve and delete, each of up to `batch` messages.
    pub cycles: u64,
    pub cycles_per_s: f64,
    pub messages_per_s: f64,
    pub short_reserves: u64,
    pub errors: BTreeMap<&'static str, u64>,
    pub steps: BTreeMap<&'static str, Times>,
}

/// Milliseconds an answer took.
#[derive(Debug, Serialize)]
pub struct Times {
    pub count: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

impl Report {
    pub fn new(args: &QueueArgs, nodes: usize, took: Duration, figures: &Figures) -> Report {
        let secs = took.as_secs_f64();
        let steps = STEPS.iter().map(|(step, name)| {
            let times = &figures.times_us[*step as usize];
            let ms = |us: u64| us as f64 / 1000.0;
            let times = Times {
                count: times.len(),
                p50_ms: ms(times.value_at_quantile(0.50)),
                p99_ms: ms(times.value_at_quantile(0.99)),
                p999_ms: ms(times.value_at_quantile(0.999)),
                max_ms: ms(times.max()),
            };
            (*name, times)
        });
        Report {
            clients: args.clients,
            batch: args.batch,
            body_bytes: args.size,
            queues: args.queues,
            nodes,
            secs: (secs * 1000.0).round() / 1000.0,
            cycles: figures.cycles,
            cycles_per_s: (figures.cycles as f64 / secs).round(),
            messages_per_s: (figures.messages as f64 / secs).round(),
            short_reserves: figures.short,
            errors: figures.errors.clone(),
            steps: steps.collect(),
        }
    }

    pub fn json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string(self)?)
    }

    pub fn text(&self) -> String {
        let mut text = format!(
            "{} clients, batch {}, {} bytes, {} queues, {} nodes, {:.1} s\n\
             {:.0} cycles/s, {:.0} messages/s\n",
            self.clients,
            self.batch,
            self.body_bytes,
            self.queues,
            self.nodes,
            self.secs,
            self.cycles_per_s,
            self.messages_per_s
        );
        text += &format!("{:8} {:>9} {:>9} {:>9} {:>9}\n", "ms", "p50", "p99", "p99.9", "max");
        for (_, name) in STEPS {
            let times = &self.steps[name];
            text += &format!(
                "{name:8} {:9.2} {:9.2} {:9.2} {:9.2}\n",
                times.p50_ms, times.p99_ms, times.p999_ms, times.max_ms
            );
        }
        if self.short_reserves > 0 {
            text += &format!("short reserves: {}\n", self.short_reserves);
        }
        for (class, count) in &self.errors {
            text += &format!("errors, {class}: {count}\n");
        }
        text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_clients_add_up() {
        let mut all = Figures::new();
        for us in [1_000, 3_000] {
            let mut one = Figures::new();
            one.cycle(2, false);
            one.step(Step::Reserve, Duration::from_micros(us));
            one.error("503 not done");
            all.add(&one);
        }
        let args = QueueArgs {
            clients: 2,
            batch: 2,
            size: 1,
            queues: 1,
            secs: 1,
            warmup_secs: 0,
            patience_ms: 1,
            keep: false,
        };
        let report = Report::new(&args, 3, Duration::from_secs(2), &all);
        assert_eq!((report.cycles, report.cycles_per_s, report.messages_per_s), (2, 1.0, 2.0));
        assert_eq!(report.errors["503 not done"], 2);
        let times = &report.steps["reserve"];
        assert_eq!(times.count, 2);
        assert!((0.999..1.01).contains(&times.p50_ms), "{times:?}");
        assert!((2.99..3.01).contains(&times.max_ms), "{times:?}");
    }
}
