//! Long polls that wait on this node: one line per queue, first come, first served.
//!
//! Not here: reserving. A waiter is told when to try; what it finds it says afterwards.
//! Invariants: a ticket is in exactly one of `waiting` and `trying`;
//!   a ticket that tries again keeps its number, so nobody overtakes it;
//!   each hint makes at most one ticket try, so ready messages bound the tries;
//!   a line without tickets does not exist.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use bessemer_model::{NotDone, ProjectId, QueueName};

use crate::failure::ServiceError;
use crate::race::{First, race};

/// Tickets of one line that try at once, at most: enough to hide a round of agreement, few
/// enough that one burst of hints cannot flood the log.
const TRYING_MAX: usize = 64;
/// Tickets called beyond those that try, when one was served and more is left.
const CALLED_MORE_MAX: usize = 2;
/// Messages left beyond which their number changes nothing.
pub(crate) const LEFT_MAX: usize = TRYING_MAX + CALLED_MORE_MAX;

type Place = (ProjectId, QueueName);

/// What a waiter is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// Reserve now, then say what was found.
    Try,
    /// The time is over and nothing was in flight.
    TimeOver,
    /// Look whether it is gone; if it is not, that is an attempt that found nothing.
    QueueDeleted,
    ShuttingDown,
}

/// All lines of one node.
pub(crate) struct Waiters {
    lines_of: Mutex<Lines>,
    waiters_max: usize,
}

#[derive(Default)]
struct Lines {
    lines: BTreeMap<Place, Line>,
    /// Tickets per project; a project without tickets has no entry.
    of_project: BTreeMap<ProjectId, u64>,
    tickets: usize,
    next_number: u64,
    draining: bool,
    /// The last line that was patrolled.
    patrolled: Option<Place>,
}

#[derive(Default)]
struct Line {
    /// By number: oldest first.
    waiting: BTreeMap<u64, Arc<Bell>>,
    /// Tickets told to try that have not said what they found.
    trying: usize,
    /// Hints that found nobody to call while others tried.
    unclaimed: usize,
    /// Ready messages left by one that was served, while others tried: their attempts may have
    /// been too early to see them.
    retries: usize,
}

/// Rung once per turn. Written by the lines, read by the ticket's owner.
#[derive(Default)]
struct Bell {
    state: Mutex<(Option<Turn>, Option<Waker>)>,
}

impl Bell {
    fn ring(&self, turn: Turn) {
        let mut state = lock(&self.state);
        state.0 = Some(turn);
        if let Some(waker) = state.1.take() {
            waker.wake();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Waiters {
    pub fn new(waiters_max: usize) -> Arc<Waiters> {
        Arc::new(Waiters { lines_of: Mutex::default(), waiters_max })
    }

    /// Joins the end of a queue's line. The ticket may try at once when nobody would be overtaken.
    ///
    /// Refuses: `NotDone(ShuttingDown)`, `TooManyWaiters` over `project_max`,
    /// `NotDone(Overloaded)` over the node's bound.
    pub fn join(
        self: &Arc<Self>,
        project: &ProjectId,
        queue: &QueueName,
        project_max: u64,
    ) -> Result<Ticket, ServiceError> {
        let mut all = lock(&self.lines_of);
        if all.draining {
            return Err(ServiceError::NotDone(NotDone::ShuttingDown));
        }
        if all.tickets >= self.waiters_max {
            return Err(ServiceError::NotDone(NotDone::Overloaded));
        }
        let of_project = all.of_project.get(project).copied().unwrap_or(0);
        if of_project >= project_max {
            return Err(ServiceError::TooManyWaiters { limit: project_max });
        }
        all.of_project.insert(project.clone(), of_project + 1);
        all.tickets += 1;
        let number = all.next_number;
        all.next_number += 1;
        let place = (project.clone(), queue.clone());
        let line = all.lines.entry(place.clone()).or_default();
        let bell = Arc::new(Bell::default());
        let trying = line.waiting.is_empty() && line.trying < TRYING_MAX;
        if trying {
            line.trying += 1;
            bell.ring(Turn::Try);
        } else {
            line.waiting.insert(number, bell.clone());
        }
        Ok(Ticket { waiters: self.clone(), place, number, bell, trying, failed: false })
    }

    /// A hint: one more message of the queue may be reserved.
    pub fn ready(&self, project: &ProjectId, queue: &QueueName) {
        let mut all = lock(&self.lines_of);
        if all.tickets == 0 {
            return;
        }
        if let Some(line) = all.lines.get_mut(&(project.clone(), queue.clone())) {
            line.hint(1);
        }
    }

    /// The queue is gone, or was: its waiters look, and end or wait on.
    pub fn deleted(&self, project: &ProjectId, queue: &QueueName) {
        let mut all = lock(&self.lines_of);
        if let Some(line) = all.lines.get_mut(&(project.clone(), queue.clone())) {
            line.end(Turn::QueueDeleted);
        }
    }

    /// Ends all waiters, now and for ever.
    pub fn drain(&self) {
        let mut all = lock(&self.lines_of);
        all.draining = true;
        for line in all.lines.values_mut() {
            line.end(Turn::ShuttingDown);
        }
    }

    pub fn draining(&self) -> bool {
        lock(&self.lines_of).draining
    }

    /// Tickets held now.
    pub fn waiting(&self) -> usize {
        lock(&self.lines_of).tickets
    }

    /// Begins the next patrol at the first line.
    pub fn restart_patrol(&self) {
        lock(&self.lines_of).patrolled = None;
    }

    /// The next at most `count_max` lines in order. Fewer than that means the end was reached,
    /// and the next call begins again. Lines without a waiting ticket are left out.
    pub fn next_lines(&self, count_max: usize) -> Vec<Place> {
        use std::ops::Bound::{Excluded, Unbounded};
        let mut all = lock(&self.lines_of);
        let from = all.patrolled.take().map_or(Unbounded, Excluded);
        let places: Vec<Place> = all
            .lines
            .range((from, Unbounded))
            .filter(|(_, line)| !line.waiting.is_empty())
            .map(|(place, _)| place.clone())
            .take(count_max)
            .collect();
        if places.len() == count_max {
            all.patrolled = places.last().cloned();
        }
        places
    }
}

impl Line {
    /// Calls up to `count` waiting tickets, oldest first; keeps what finds nobody while others
    /// try: their attempt may have been too early to see the message.
    fn hint(&mut self, count: usize) {
        self.unclaimed = (self.unclaimed + count).min(TRYING_MAX);
        self.advance();
    }

    fn advance(&mut self) {
        while self.unclaimed > 0 && self.trying < TRYING_MAX {
            let Some((_, bell)) = self.waiting.pop_first() else { break };
            self.unclaimed -= 1;
            self.trying += 1;
            bell.ring(Turn::Try);
        }
        if self.trying == 0 {
            // Nobody waits, and whoever comes next tries at once: no hint is lost.
            self.unclaimed = 0;
            self.retries = 0;
        }
    }

    /// Ends those who wait. Those who try find out for themselves.
    fn end(&mut self, turn: Turn) {
        for bell in std::mem::take(&mut self.waiting).into_values() {
            // Told as if called: the ticket counts as trying until it is dropped.
            self.trying += 1;
            bell.ring(turn);
        }
    }
}

/// A place in a line. Dropping it leaves the line; a turn that was not used goes to the next.
pub(crate) struct Ticket {
    waiters: Arc<Waiters>,
    place: Place,
    number: u64,
    bell: Arc<Bell>,
    /// Whether the last turn was `Try` or `QueueDeleted`, and nothing was said since.
    trying: bool,
    /// Whether the attempt failed: then the next is not called, or one lost leader would be told
    /// to the whole line. The patrol calls them.
    failed: bool,
}

impl Ticket {
    /// Waits for this ticket's turn, until `deadline` completes.
    pub async fn turn(&mut self, deadline: Pin<&mut (dyn Future<Output = ()> + Send)>) -> Turn {
        let turn = {
            let bell = &self.bell;
            let rung = poll_fn(move |cx| {
                let mut state = lock(&bell.state);
                match state.0.take() {
                    Some(turn) => Poll::Ready(turn),
                    None => {
                        state.1 = Some(cx.waker().clone());
                        Poll::Pending
                    }
                }
            });
            match race(pin!(rung), deadline).await {
                First::Left(turn) => turn,
                First::Right(()) => Turn::TimeOver,
            }
        };
        match turn {
            Turn::Try | Turn::QueueDeleted => self.trying = true,
            Turn::TimeOver | Turn::ShuttingDown => (), // The ticket ends.
        }
        turn
    }

    /// The attempt found nothing. Returns whether to try again at once, because a hint came
    /// meanwhile; otherwise the ticket waits again in its old place.
    pub fn found_nothing(&mut self) -> bool {
        assert!(self.trying, "only a ticket that was told to try finds something");
        let mut all = lock(&self.waiters.lines_of);
        if all.draining {
            self.bell.ring(Turn::ShuttingDown);
            return false;
        }
        let line = all.lines.get_mut(&self.place).expect("a line exists while it has tickets");
        let permits = if line.unclaimed > 0 { &mut line.unclaimed } else { &mut line.retries };
        if *permits > 0 {
            *permits -= 1;
            return true;
        }
        line.trying -= 1;
        line.waiting.insert(self.number, self.bell.clone());
        self.trying = false;
        false
    }

    /// The attempt was served, and up to `left` more messages may be ready. Beyond what others
    /// already try for, two more tickets try then: the line fills the agreement's pipeline in
    /// steps, and stops as soon as it is empty.
    pub fn found(self, left: usize) {
        let mut all = lock(&self.waiters.lines_of);
        let line = all.lines.get_mut(&self.place).expect("a line exists while it has tickets");
        let others = line.trying - 1;
        line.retries = line.retries.max(left.min(others));
        line.hint(left.saturating_sub(others).min(CALLED_MORE_MAX));
        drop(all);
        // The turn was used: dropping `self` must not hand it on.
        let mut ticket = self;
        ticket.failed = true;
    }

    /// The attempt failed: nobody else is told to try now.
    pub fn failed(mut self) {
        self.failed = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut all = lock(&self.waiters.lines_of);
        all.tickets -= 1;
        let project = &self.place.0;
        match all.of_project.get_mut(project) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                all.of_project.remove(project);
            }
        }
        let line = all.lines.get_mut(&self.place).expect("a line exists while it has tickets");
        if line.waiting.remove(&self.number).is_none() {
            line.trying -= 1;
            line.hint(if self.failed { 0 } else { 1 });
        }
        if line.waiting.is_empty() && line.trying == 0 {
            all.lines.remove(&self.place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Context;

    fn waiters() -> Arc<Waiters> {
        Waiters::new(1000)
    }

    fn join(waiters: &Arc<Waiters>) -> Ticket {
        waiters.join(&ProjectId::new("p"), &QueueName::new("q"), 1000).expect("room")
    }

    fn ready(waiters: &Waiters) {
        waiters.ready(&ProjectId::new("p"), &QueueName::new("q"));
    }

    /// The ticket's turn if it is told now.
    fn now(ticket: &mut Ticket) -> Option<Turn> {
        let never = pin!(std::future::pending());
        let mut turn = pin!(ticket.turn(never));
        match turn.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    /// `count` tickets that tried in vain and wait, in order.
    fn line(waiters: &Arc<Waiters>, count: usize) -> Vec<Ticket> {
        let mut tickets: Vec<Ticket> = Vec::new();
        for _ in 0..count {
            let mut ticket = join(waiters);
            if now(&mut ticket) == Some(Turn::Try) {
                assert!(!ticket.found_nothing());
            }
            tickets.push(ticket);
        }
        tickets
    }

    #[test]
    fn only_the_first_of_a_line_tries_unasked() {
        let waiters = waiters();
        let mut first = join(&waiters);
        assert_eq!(now(&mut first), Some(Turn::Try));
        assert!(!first.found_nothing());
        let mut second = join(&waiters);
        assert_eq!(now(&mut second), None, "it would overtake the first");
    }

    #[test]
    fn one_hint_calls_one_ticket_the_oldest() {
        let waiters = waiters();
        let mut tickets = line(&waiters, 3);
        ready(&waiters);
        assert_eq!(now(&mut tickets[0]), Some(Turn::Try));
        assert_eq!(now(&mut tickets[1]), None);
        tickets.remove(0).found(0);
        assert_eq!(now(&mut tickets[0]), None, "nothing is left");
    }

    #[test]
    fn a_ticket_that_found_nothing_keeps_its_place() {
        let waiters = waiters();
        let mut tickets = line(&waiters, 2);
        ready(&waiters);
        assert_eq!(now(&mut tickets[0]), Some(Turn::Try));
        assert!(!tickets[0].found_nothing());
        ready(&waiters);
        assert_eq!(now(&mut tickets[0]), Some(Turn::Try));
        assert_eq!(now(&mut tickets[1]), None);
    }

    #[test]
    fn a_hint_during_an_attempt_is_not_lost() {
        let waiters = waiters();
        let mut only = join(&waiters);
        assert_eq!(now(&mut only), Some(Turn::Try));
        ready(&waiters);
        assert!(only.found_nothing(), "the message may have come after the attempt");
        assert!(!only.found_nothing());
    }

    #[test]
    fn what_is_left_calls_the_next_two() {
        let waiters = waiters();
        let mut tickets = line(&waiters, 4);
        ready(&waiters);
        assert_eq!(now(&mut tickets[0]), Some(Turn::Try));
        tickets.remove(0).found(99);
        let told: Vec<_> = tickets.iter_mut().map(now).collect();
        assert_eq!(told, [Some(Turn::Try), Some(Turn::Try), None]);
    }

    #[test]
    fn a_turn_that_was_not_used_goes_to_the_next() {
        let waiters = waiters();
        let mut tickets = line(&waiters, 2);
        ready(&waiters);
        drop(tickets.remove(0));
        assert_eq!(now(&mut tickets[0]), Some(Turn::Try));
    }

    #[test]
    fn a_failed_attempt_calls_nobody() {
        let waiters = waiters();
        let mut tickets = line(&waiters, 2);
        ready(&waiters);
        assert_eq!(now(&mut tickets[0]), Some(Turn::Try));
        tickets.remove(0).failed();
        assert_eq!(now(&mut tickets[0]), None);
    }

    #[test]
    fn lines_end_with_their_tickets() {
        let waiters = waiters();
        let tickets = line(&waiters, 3);
        assert_eq!(waiters.waiting(), 3);
        drop(tickets);
        assert_eq!(waiters.waiting(), 0);
        assert!(lock(&waiters.lines_of).lines.is_empty());
        assert!(lock(&waiters.lines_of).of_project.is_empty());
    }

    #[test]
    fn deletion_and_draining_end_the_waiting() {
        let waiters = waiters();
        let mut tickets = line(&waiters, 2);
        waiters.deleted(&ProjectId::new("p"), &QueueName::new("q"));
        assert_eq!(now(&mut tickets[0]), Some(Turn::QueueDeleted));
        assert_eq!(now(&mut tickets[1]), Some(Turn::QueueDeleted));
        drop(tickets);
        let mut tickets = line(&waiters, 1);
        waiters.drain();
        assert_eq!(now(&mut tickets[0]), Some(Turn::ShuttingDown));
        let refused = waiters.join(&ProjectId::new("p"), &QueueName::new("q"), 1000);
        assert!(matches!(refused, Err(ServiceError::NotDone(NotDone::ShuttingDown))));
    }

    #[test]
    fn bounds_hold_per_project_and_per_node() {
        let waiters = Waiters::new(3);
        let join = |project: &str| waiters.join(&ProjectId::new(project), &QueueName::new("q"), 2);
        let _a = (join("a").expect("1"), join("a").expect("2"));
        assert!(matches!(join("a"), Err(ServiceError::TooManyWaiters { limit: 2 })));
        let _b = join("b").expect("3");
        assert!(matches!(join("b"), Err(ServiceError::NotDone(NotDone::Overloaded))));
    }

    #[test]
    fn patrols_take_turns_over_all_lines() {
        let waiters = waiters();
        let mut tickets = Vec::new();
        for queue in ["a", "b", "c"] {
            let name = QueueName::new(queue);
            let mut ticket = waiters.join(&ProjectId::new("p"), &name, 10).expect("room");
            assert_eq!(now(&mut ticket), Some(Turn::Try));
            ticket.found_nothing();
            tickets.push(ticket);
        }
        let names = || -> Vec<String> {
            waiters.next_lines(2).into_iter().map(|(_, queue)| queue.to_string()).collect()
        };
        assert_eq!(names(), ["a", "b"]);
        assert_eq!(names(), ["c"]);
        assert_eq!(names(), ["a", "b"]);
    }
}
