//! Messages: post, reserve (at once or by a long poll), acknowledge, touch, release, look.
//!
//! Not here: deciding. The log decides; only what it cannot know (`wait`) is refused here.

use std::time::Duration;

use bessemer_engine::read;
use bessemer_model::limits::{
    MESSAGE_TIMEOUT_MAX, MESSAGE_TIMEOUT_MIN, RESERVE_COUNT_MAX, WAIT_MAX,
};
use bessemer_model::rejection::{Counted, Timed};
use bessemer_model::{
    Command, Handle, MessageId, Millis, NewMessage, NotDone, Outcome, ProjectId, QueueName,
    Rejection, ReservationId, Role,
};

use crate::caller::Caller;
use crate::delivery::{Delivery, Flight};
use crate::failure::ServiceError;
use crate::service::{Freshness, Service, keyed, mismatched, project_missing};
use crate::waiters::{LEFT_MAX, Ticket, Turn};

/// A message as it is looked at.
pub use bessemer_engine::read::MessageView;

/// What a reserve asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reserve {
    /// 1..=100.
    pub count: u32,
    /// `None` takes the queue's.
    pub timeout: Option<Millis>,
    /// Remove at once: nothing is left to acknowledge.
    pub delete: bool,
    /// How long to wait for a first message; 0..=`WAIT_MAX`, zero asks once.
    pub wait: Millis,
}

/// What a touch asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Touch {
    pub message: MessageId,
    pub reservation: ReservationId,
    /// `None` takes the queue's.
    pub timeout: Option<Millis>,
}

/// What a release asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Release {
    pub message: MessageId,
    pub reservation: ReservationId,
    pub delay: Millis,
}

impl Service {
    /// Appends `messages` in order, making the queue if it is missing; gives their ids in order.
    pub async fn post(
        &self,
        caller: &Caller,
        project: &ProjectId,
        queue: QueueName,
        messages: Vec<NewMessage>,
        key: Option<&str>,
    ) -> Result<Vec<MessageId>, ServiceError> {
        caller.may(project, Role::Member)?;
        let command = Command::PostMessages { queue, messages };
        match self.propose(project, command, key).await? {
            Outcome::Posted { ids } => Ok(ids),
            _ => mismatched("PostMessages"),
        }
    }

    /// Reserves up to `count` messages, oldest first, waiting up to `wait` for the first one.
    ///
    /// Who waits longest is served first. The empty answer comes only after `wait`, and only when
    /// nothing was in flight. A keyed request that raced with another consumer may get it sooner:
    /// its one outcome is what every retry of the key gets.
    /// Refuses: `WaitOutOfRange`, `TooManyWaiters`, and what the log rejects.
    pub async fn reserve(
        &self,
        caller: &Caller,
        project: &ProjectId,
        queue: &QueueName,
        ask: Reserve,
        key: Option<&str>,
    ) -> Result<Delivery, ServiceError> {
        caller.may(project, Role::Member)?;
        if ask.wait > WAIT_MAX {
            return Err(ServiceError::WaitOutOfRange { max: Duration::from_millis(WAIT_MAX.0) });
        }
        if ask.wait == Millis::ZERO {
            return self.reserve_once(project, queue, ask, key).await;
        }
        check_before_waiting(&ask)?;
        if let Some(key) = key {
            let view = self.view(Freshness::Current).await?;
            if read::retry_key_known(view.as_ref(), project, key)? {
                return self.reserve_once(project, queue, ask, Some(key)).await;
            }
        }
        let project_max = self.waiters_max(project).await?;
        let ticket = self.waiters.join(project, queue, project_max)?;
        self.wait_to_reserve(ticket, project, queue, ask, key).await
    }

    async fn wait_to_reserve(
        &self,
        mut ticket: Ticket,
        project: &ProjectId,
        queue: &QueueName,
        ask: Reserve,
        key: Option<&str>,
    ) -> Result<Delivery, ServiceError> {
        let wait = Duration::from_millis(ask.wait.0);
        let ends = self.runtime.elapsed() + wait;
        let mut deadline = self.runtime.sleep(wait);
        loop {
            match ticket.turn(deadline.as_mut()).await {
                Turn::Try => (),
                // A keyed wait ends with its one proposal, so that every retry ends alike.
                Turn::TimeOver if key.is_some() => {
                    return self.reserve_once(project, queue, ask, key).await;
                }
                Turn::TimeOver => return Ok(Delivery::empty()),
                // The hint may be late, and the queue there again: then the waiting goes on.
                Turn::QueueDeleted => {
                    let view = self.view(Freshness::Current).await?;
                    read::count_ready(view.as_ref(), project, queue, 0)??;
                    if !ticket.found_nothing() {
                        continue;
                    }
                }
                Turn::ShuttingDown => return Err(ServiceError::NotDone(NotDone::ShuttingDown)),
            }
            // Each try is one reserve; a hint that came during it makes one more.
            loop {
                match self.try_in_turn(project, queue, ask, key).await {
                    Ok(Some(delivery)) => {
                        ticket.found(self.left_after(project, queue, ask, &delivery)?);
                        return Ok(delivery);
                    }
                    Ok(None) if ticket.found_nothing() => continue,
                    Ok(None) if self.runtime.elapsed() >= ends && key.is_none() => {
                        return Ok(Delivery::empty());
                    }
                    Ok(None) => break,
                    Err(error) => {
                        ticket.failed();
                        return Err(error);
                    }
                }
            }
        }
    }

    /// One try of a waiter: `None` when nothing is ready. A keyed waiter first looks, since the
    /// log would keep an empty outcome as *the* outcome of its key.
    async fn try_in_turn(
        &self,
        project: &ProjectId,
        queue: &QueueName,
        ask: Reserve,
        key: Option<&str>,
    ) -> Result<Option<Delivery>, ServiceError> {
        if key.is_some() {
            let view = self.view(Freshness::Current).await?;
            if read::count_ready(view.as_ref(), project, queue, 1)?? == 0 {
                return Ok(None);
            }
        }
        let delivery = self.reserve_once(project, queue, ask, key).await?;
        Ok((!delivery.messages.is_empty() || key.is_some()).then_some(delivery))
    }

    async fn reserve_once(
        &self,
        project: &ProjectId,
        queue: &QueueName,
        ask: Reserve,
        key: Option<&str>,
    ) -> Result<Delivery, ServiceError> {
        let Reserve { count, timeout, delete, wait: _ } = ask;
        let command = Command::ReserveMessages { queue: queue.clone(), count, timeout, delete };
        let request = keyed(project, command, key);
        Ok(Flight::new(self.undoer.clone(), request, queue.clone()).await?)
    }

    /// Messages that are ready for the next waiter, after one was served; counted no further than
    /// it matters.
    fn left_after(
        &self,
        project: &ProjectId,
        queue: &QueueName,
        ask: Reserve,
        delivery: &Delivery,
    ) -> Result<usize, ServiceError> {
        let alone = self.waiters.waiting() == 1;
        if alone || delivery.messages.len() < ask.count as usize {
            return Ok(0);
        }
        let view = self.consensus.view();
        let left = read::count_ready(view.as_ref(), project, queue, LEFT_MAX)?;
        Ok(left.unwrap_or(0))
    }

    /// The project's bound of waiters, by this node's own state if that knows the project.
    async fn waiters_max(&self, project: &ProjectId) -> Result<u64, ServiceError> {
        let known = read::project(self.consensus.view().as_ref(), project)?;
        if let Some(known) = known {
            return Ok(known.quota.waiters_max);
        }
        let view = self.view(Freshness::Current).await?;
        let found = read::project(view.as_ref(), project)?;
        found.map(|found| found.quota.waiters_max).ok_or_else(|| project_missing(project))
    }

    /// Acknowledges a reserved message, or deletes a free one.
    pub async fn ack(
        &self,
        caller: &Caller,
        project: &ProjectId,
        queue: QueueName,
        handle: Handle,
        key: Option<&str>,
    ) -> Result<(), ServiceError> {
        caller.may(project, Role::Member)?;
        match self.propose(project, Command::AckMessage { queue, handle }, key).await? {
            Outcome::Deleted { .. } => Ok(()),
            _ => mismatched("AckMessage"),
        }
    }

    /// The same for 0..=100 messages, all or none; tells how many were there.
    pub async fn ack_all(
        &self,
        caller: &Caller,
        project: &ProjectId,
        queue: QueueName,
        handles: Vec<Handle>,
        key: Option<&str>,
    ) -> Result<u32, ServiceError> {
        caller.may(project, Role::Member)?;
        match self.propose(project, Command::AckMessages { queue, handles }, key).await? {
            Outcome::Deleted { count } => Ok(count),
            _ => mismatched("AckMessages"),
        }
    }

    /// Lengthens a reservation; gives the id that is current from now on.
    pub async fn touch(
        &self,
        caller: &Caller,
        project: &ProjectId,
        queue: QueueName,
        ask: Touch,
        key: Option<&str>,
    ) -> Result<ReservationId, ServiceError> {
        caller.may(project, Role::Member)?;
        let Touch { message, reservation, timeout } = ask;
        let command = Command::TouchMessage { queue, message, reservation, timeout };
        match self.propose(project, command, key).await? {
            Outcome::Touched { reservation } => Ok(reservation),
            _ => mismatched("TouchMessage"),
        }
    }

    /// Gives a reserved message back, to its old place, after a delay.
    pub async fn release(
        &self,
        caller: &Caller,
        project: &ProjectId,
        queue: QueueName,
        ask: Release,
        key: Option<&str>,
    ) -> Result<(), ServiceError> {
        caller.may(project, Role::Member)?;
        let Release { message, reservation, delay } = ask;
        let command = Command::ReleaseMessage { queue, message, reservation, delay };
        match self.propose(project, command, key).await? {
            Outcome::Released => Ok(()),
            _ => mismatched("ReleaseMessage"),
        }
    }

    /// Removes every message of the queue, reserved and delayed ones too.
    pub async fn clear(
        &self,
        caller: &Caller,
        project: &ProjectId,
        queue: QueueName,
        key: Option<&str>,
    ) -> Result<(), ServiceError> {
        caller.may(project, Role::Member)?;
        match self.propose(project, Command::ClearQueue { queue }, key).await? {
            Outcome::Cleared => Ok(()),
            _ => mismatched("ClearQueue"),
        }
    }

    /// One message, reserved or delayed ones too. Changes nothing.
    pub async fn message(
        &self,
        caller: &Caller,
        project: &ProjectId,
        queue: &QueueName,
        id: MessageId,
        freshness: Freshness,
    ) -> Result<MessageView, ServiceError> {
        caller.may(project, Role::Reader)?;
        let view = self.view(freshness).await?;
        self.project_exists(view.as_ref(), project)?;
        Ok(read::get_message(view.as_ref(), project, queue, id)??)
    }

    /// The first `count` (1..=100) messages a reserve would get, in its order. Changes nothing.
    pub async fn peek(
        &self,
        caller: &Caller,
        project: &ProjectId,
        queue: &QueueName,
        count: u32,
        freshness: Freshness,
    ) -> Result<Vec<MessageView>, ServiceError> {
        caller.may(project, Role::Reader)?;
        check_count(count)?;
        let view = self.view(freshness).await?;
        self.project_exists(view.as_ref(), project)?;
        Ok(read::peek(view.as_ref(), project, queue, count)??)
    }
}

fn check_count(count: u32) -> Result<(), Rejection> {
    if (1..=RESERVE_COUNT_MAX).contains(&count) {
        return Ok(());
    }
    let (what, count_max) = (Counted::Reservations, u64::from(RESERVE_COUNT_MAX));
    Err(Rejection::CountOutOfRange { what, count: u64::from(count), count_max })
}

/// What the log would reject is rejected before it waits, in the log's words.
fn check_before_waiting(ask: &Reserve) -> Result<(), Rejection> {
    check_count(ask.count)?;
    let (min, max) = (MESSAGE_TIMEOUT_MIN, MESSAGE_TIMEOUT_MAX);
    match ask.timeout {
        Some(given) if !(min..=max).contains(&given) => {
            Err(Rejection::TimeOutOfRange { what: Timed::MessageTimeout, given, min, max })
        }
        Some(_) | None => Ok(()),
    }
}
