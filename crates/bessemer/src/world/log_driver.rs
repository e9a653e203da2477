//! The threads that write the log: one drains and syncs, one prepares and removes files.
//!
//! Not here: what is written (crate `log`), what a durable record leads to.
//! Invariants: one thread calls `drain` and `seal`; nothing is queued and unwritten while it
//! sleeps; after an error nothing is written any more, and the owner is told once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use bessemer_log::{Log, LogError};
use bessemer_seam::log_disk::LogDisk;

/// A log without work for this long states its durable end, so that damage to its last records
/// is told from a torn write. A full device is also tried again this often.
const IDLE: Duration = Duration::from_millis(100);

/// Told of the error that ended the log, on the failing thread.
type Failed = Arc<dyn Fn(LogError) + Send + Sync>;

/// Drives one log until `stop`.
pub struct LogDriver {
    shared: Arc<Shared>,
    /// Writer first: it is joined first. Empty after `stop`.
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Written once by `stop`; then each thread ends when its work is done.
    stopping: AtomicBool,
    /// Written once by the thread that fails; then both end.
    failed: AtomicBool,
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.stopping.load(Ordering::Acquire) && !self.failed.load(Ordering::Acquire)
    }
}

impl LogDriver {
    /// Starts both threads and becomes the log's waker.
    pub fn start<D: LogDisk>(
        log: &Log<D>,
        failed: impl Fn(LogError) + Send + Sync + 'static,
    ) -> std::io::Result<LogDriver> {
        let shared =
            Arc::new(Shared { stopping: AtomicBool::new(false), failed: AtomicBool::new(false) });
        let failed: Failed = Arc::new(failed);
        let files = spawn("log-files", log, &shared, &failed, keep_files)?;
        let keeper = files.thread().clone();
        let writer = spawn("log-writer", log, &shared, &failed, move |log, shared| {
            write(log, shared, &keeper)
        })?;
        let thread = writer.thread().clone();
        log.set_waker(Box::new(move || thread.unpark()));
        // What was queued before the waker was set is found now.
        writer.thread().unpark();
        Ok(LogDriver { shared, threads: vec![writer, files] })
    }

    /// Writes what is queued, states the durable end, ends both threads. Blocks.
    pub fn stop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        for handle in self.threads.drain(..) {
            handle.thread().unpark();
            handle.join().expect("the log's threads do not panic");
        }
    }
}

impl Drop for LogDriver {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        for handle in &self.threads {
            handle.thread().unpark();
        }
    }
}

fn spawn<D: LogDisk>(
    name: &str,
    log: &Log<D>,
    shared: &Arc<Shared>,
    failed: &Failed,
    work: impl FnOnce(&Log<D>, &Shared) -> Result<(), LogError> + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    let (log, shared, failed) = (log.clone(), Arc::clone(shared), Arc::clone(failed));
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        if let Err(error) = work(&log, &shared)
            && !shared.failed.swap(true, Ordering::AcqRel)
        {
            failed(error);
        }
    })
}

fn write<D: LogDisk>(log: &Log<D>, shared: &Shared, keeper: &Thread) -> Result<(), LogError> {
    let mut sealed = false;
    while shared.goes_on() {
        if log.drain()? {
            sealed = false;
            if log.wants_upkeep() {
                keeper.unpark();
            }
            continue;
        }
        if sealed && !log.stats().disk_full {
            thread::park();
            continue;
        }
        // A wake-up ends the pause early; then there is something to drain, and no seal is due.
        let begun = std::time::Instant::now();
        thread::park_timeout(IDLE);
        if begun.elapsed() >= IDLE && !log.stats().disk_full {
            log.seal()?;
            sealed = true;
        }
    }
    while log.drain()? {}
    log.seal()?;
    Ok(())
}

fn keep_files<D: LogDisk>(log: &Log<D>, shared: &Shared) -> Result<(), LogError> {
    while shared.goes_on() {
        log.upkeep()?;
        // After a full device the spare segment is missing until there is room again.
        if log.wants_upkeep() { thread::park_timeout(IDLE) } else { thread::park() }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
