//! What each command of a project does to the oracle's lists, and what it comes to.
//!
//! Not here: retries, transactions, time (`model.rs`).
//! Invariant: a command that is refused has changed nothing.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::rc::Rc;

use bessemer_model::limits::EXPIRY_BUCKET;
use bessemer_model::rejection::Quotum;
use bessemer_model::{
    Command, GroupId, Handle, MessageId, Millis, NewMessage, Outcome, ProjectId, QueueName,
    Rejection, ReservationId, ReservedMessage,
};

use super::queue::{Undo, dead_letter};
use super::{Allowance, Hold, Message, Model, Project, Queue, Told};

impl Model {
    /// A command of one project that is no transaction.
    pub(super) fn one(
        &mut self,
        id: &ProjectId,
        of: &mut Project,
        one: &Command,
        told: Option<&Outcome>,
    ) -> Told {
        let (quota, now) = (of.quota, self.now);
        let over = |what, limit| Err(Rejection::OverQuota { what, limit });
        match one {
            Command::UpdateQuota { patch } => {
                of.quota = patch.apply_to(quota);
                Ok(Outcome::QuotaUpdated { quota: of.quota })
            }
            Command::CreateToken { .. } if of.tokens.len() as u64 >= quota.tokens_max => {
                over(Quotum::Tokens, quota.tokens_max)
            }
            Command::CreateToken { token } => {
                of.tokens.insert(token.id.clone());
                Ok(Outcome::TokenCreated { id: token.id.clone() })
            }
            Command::RevokeToken { id } if of.tokens.remove(id) => Ok(Outcome::Done),
            Command::RevokeToken { id } => Err(Rejection::TokenMissing { token: id.clone() }),
            Command::PutQueue { queue, patch } => {
                let old = of.queues.get(queue);
                let mut settings = old.map(|old| old.settings.clone()).unwrap_or_default();
                let names = dead_letter(queue, &mut settings, patch.dead_letter.as_ref())?;
                let created = old.is_none();
                let makes = created || names.is_some_and(|target| !of.queues.contains_key(target));
                if makes && of.queues.len() as u64 >= quota.queues_max {
                    return over(Quotum::Queues, quota.queues_max);
                }
                let timeout = patch.message_timeout.unwrap_or(settings.message_timeout);
                let life = patch.message_expiration.unwrap_or(settings.message_expiration);
                (settings.message_timeout, settings.message_expiration) = (timeout, life);
                let row = self.queue(id, of, queue);
                let before = std::mem::replace(&mut row.settings, settings.clone());
                self.note(|| Undo::Settings { queue: queue.clone(), before });
                Ok(Outcome::QueuePut { settings, created })
            }
            Command::PostMessages { queue, messages } => {
                let bytes: u64 = messages.iter().map(|message| message.body.len() as u64).sum();
                let (usage, count) = (of.usage(), messages.len() as u64);
                if !of.queues.contains_key(queue) && usage.queues >= quota.queues_max {
                    return over(Quotum::Queues, quota.queues_max);
                }
                if count > 0 && usage.messages + count > quota.messages_max {
                    return over(Quotum::Messages, quota.messages_max);
                }
                if bytes > 0 && usage.bytes + bytes > quota.bytes_max {
                    return over(Quotum::Bytes, quota.bytes_max);
                }
                self.queue(id, of, queue);
                let ids = messages.iter().map(|new| self.post(of, queue, new)).collect();
                Ok(Outcome::Posted { ids })
            }
            Command::ReserveMessages { queue, count, timeout, delete } => {
                existing(of, queue)?;
                let told = match told {
                    Some(Outcome::Reserved { messages }) => messages.as_slice(),
                    Some(_) | None => &[],
                };
                let messages = self.reserve(id, of, queue, (*count, *timeout, *delete), told);
                Ok(Outcome::Reserved { messages })
            }
            Command::DeleteQueue { queue } | Command::ClearQueue { queue } => {
                let row = existing(of, queue)?;
                let old = std::mem::replace(row, row.emptied());
                self.note(|| Undo::Queue { queue: queue.clone(), before: Some(Box::new(old)) });
                if matches!(one, Command::ClearQueue { .. }) {
                    return Ok(Outcome::Cleared);
                }
                of.queues.remove(queue);
                Ok(Outcome::QueueDeleted)
            }
            Command::AckMessage { queue, handle } => {
                let position = existing(of, queue)?.may_delete(handle)?;
                self.set(of, queue, position, None);
                Ok(Outcome::Deleted { count: 1 })
            }
            Command::AckMessages { queue, handles } => {
                let row = existing(of, queue)?;
                let there = |handle: &&Handle| row.places.contains_key(&handle.message);
                let found = handles.iter().filter(there).map(|handle| row.may_delete(handle));
                let gone = found.collect::<Result<BTreeSet<u64>, _>>()?;
                if let (Some(first), true) = (handles.first(), gone.is_empty()) {
                    return Err(Rejection::MessageMissing { message: first.message });
                }
                gone.iter().for_each(|position| self.set(of, queue, *position, None));
                Ok(Outcome::Deleted { count: gone.len() as u32 })
            }
            Command::TouchMessage { queue, message, reservation, timeout } => {
                let row = existing(of, queue)?;
                let (position, mut held) = row.held(*message, *reservation)?;
                let Some(hold) = &mut held.held else { unreachable!("it was found held") };
                hold.until = now.after(timeout.unwrap_or(row.settings.message_timeout));
                let mac = match told {
                    Some(Outcome::Touched { reservation }) => reservation.mac(),
                    Some(_) | None => 0,
                };
                hold.macs.push(mac);
                let touch = u16::try_from(hold.macs.len() - 1).unwrap_or(u16::MAX);
                let reservation = ReservationId::new(hold.generation, touch, mac);
                held.reserved_count += 1;
                self.set(of, queue, position, Some(held));
                Ok(Outcome::Touched { reservation })
            }
            Command::ReleaseMessage { queue, message, reservation, delay } => {
                let (position, mut held) = existing(of, queue)?.held(*message, *reservation)?;
                held.delayed = (*delay > Millis::ZERO).then(|| now.after(*delay));
                self.give_back(of, queue, position, held);
                Ok(Outcome::Released)
            }
            Command::UndoReserve { queue, held } => {
                for held in held {
                    let found = existing(of, queue)?.held(held.message, held.reservation);
                    let Ok((position, mut message)) = found else { continue };
                    if message.held.as_ref().is_some_and(|hold| hold.macs.len() == 1) {
                        message.reserved_count -= 1;
                        self.give_back(of, queue, position, message);
                    }
                }
                existing(of, queue).map(|_| Outcome::Released)
            }
            _ => Err(Rejection::TransactionMember),
        }
    }

    fn note(&mut self, undo: impl FnOnce() -> Undo) {
        if let Some(undone) = &mut self.undo {
            undone.push(undo());
        }
    }

    /// The queue, made if it is missing.
    fn queue<'a>(
        &mut self,
        id: &ProjectId,
        of: &'a mut Project,
        name: &QueueName,
    ) -> &'a mut Queue {
        if !of.queues.contains_key(name) {
            self.note(|| Undo::Queue { queue: name.clone(), before: None });
        }
        let make = || Queue::new(Rc::new((id.clone(), name.clone())));
        of.queues.entry(name.clone()).or_insert_with(make)
    }

    /// Puts, changes or removes a message, so that it can be taken back.
    fn set(&mut self, of: &mut Project, name: &QueueName, position: u64, message: Option<Message>) {
        let Some(queue) = of.queues.get_mut(name) else { unreachable!("the queue was found") };
        let new = message.as_ref().filter(|_| !queue.messages.contains_key(&position));
        let held = message.as_ref().and_then(|message| message.held.as_ref());
        let delayed = message.as_ref().and_then(|message| message.delayed);
        let due = [held.map(|hold| hold.until), delayed, new.map(|new| new.expires_at)];
        let timer = |due: Millis| Reverse((due.0, position, queue.place.clone()));
        self.timers.extend(due.into_iter().flatten().map(timer));
        let before = queue.set(position, message);
        self.note(|| {
            let before = before.map(Box::new);
            Undo::Row { queue: name.clone(), position, before }
        });
    }

    /// Ends a reservation: the message is free again, or gone if its life is over.
    fn give_back(&mut self, of: &mut Project, queue: &QueueName, position: u64, message: Message) {
        let message = Message { held: None, ..message };
        let lives = message.expires_at > self.now;
        self.set(of, queue, position, lives.then_some(message));
    }

    fn life(&self, life: Millis) -> Millis {
        let until = self.now.after(life).0;
        Millis(until.checked_next_multiple_of(EXPIRY_BUCKET.0).unwrap_or(u64::MAX))
    }

    fn post(&mut self, of: &mut Project, queue: &QueueName, new: &NewMessage) -> MessageId {
        self.sequence += 1;
        let default = of.queues.get(queue).map(|queue| queue.settings.message_expiration);
        let message = Message {
            id: MessageId::new(GroupId(0), self.sequence),
            body: new.body.as_slice().into(),
            key: new.ordering_key.clone(),
            reserved_count: 0,
            expires_at: self.life(new.expiration.or(default).unwrap_or_default()),
            delayed: (new.delay > Millis::ZERO).then(|| self.now.after(new.delay)),
            held: None,
        };
        let id = message.id;
        self.set(of, queue, self.sequence, Some(message));
        id
    }

    fn reserve(
        &mut self,
        id: &ProjectId,
        of: &mut Project,
        name: &QueueName,
        (count, timeout, delete): (u32, Option<Millis>, bool),
        told: &[ReservedMessage],
    ) -> Vec<ReservedMessage> {
        let mut given = Vec::new();
        while given.len() < count as usize {
            let Some(queue) = of.queues.get(name) else { break };
            let Some(position) = queue.ready.first().copied() else { break };
            let mut message = queue.messages[&position].clone();
            let until = self.now.after(timeout.unwrap_or(queue.settings.message_timeout));
            if let Some(target) = queue.moves_to(&message).cloned() {
                let Some(moves) = self.allowance.moves.checked_sub(1) else { break };
                self.allowance.moves = moves;
                self.set(of, name, position, None);
                let life = self.queue(id, of, &target).settings.message_expiration;
                message.expires_at = self.life(life);
                self.sequence += 1;
                self.set(of, &target, self.sequence, Some(message));
                continue;
            }
            let Allowance { messages, bytes, .. } = self.allowance;
            let left = messages.checked_sub(1).zip(bytes.checked_sub(message.body.len() as u64));
            let Some((messages, bytes)) = left else { break };
            self.allowance = Allowance { messages, bytes, ..self.allowance };
            self.generation += 1;
            message.reserved_count += 1;
            let mac = told.get(given.len()).map_or(0, |told| told.reservation.mac());
            given.push(ReservedMessage {
                id: message.id,
                body: Some(message.body.to_vec()),
                reserved_count: message.reserved_count,
                reservation: ReservationId::new(self.generation, 0, mac),
            });
            message.held = Some(Hold { until, generation: self.generation, macs: vec![mac] });
            self.set(of, name, position, (!delete).then_some(message));
        }
        given
    }
}

fn existing<'a>(of: &'a mut Project, queue: &QueueName) -> Result<&'a mut Queue, Rejection> {
    of.queues.get_mut(queue).ok_or_else(|| Rejection::QueueMissing { queue: queue.clone() })
}
