//! What the log applied, by its content, so that an operation of a client finds its request.
//!
//! Not here: judging; replaying (`oracle.rs`).
//! Names in it are unique by themselves: message ids, reservation ids, uids in bodies, and token
//! numbers in token names.

use bessemer_model::{Command, MessageId, Outcome, ReservationId};

use crate::arranged::Starts;
use crate::event::{Answer, Applied, Op, Operation, TokenNumber, Uid, token_of_name, uid_in_body};
use crate::model::Told;

/// What a request, or its answer, names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Content {
    /// A post asks for this uid.
    Uid(Uid),
    /// A post made this message.
    Posted(MessageId),
    /// A reserve gave this.
    Reserved(ReservationId),
    /// An ack of this message, under this reservation.
    Ack(MessageId, ReservationId),
    Touch(MessageId, ReservationId),
    Release(MessageId, ReservationId),
    Mint(TokenNumber),
    Revoke(TokenNumber),
}

impl Content {
    /// Its kind, and a number that few others of the kind have.
    fn number(self) -> (usize, u64) {
        match self {
            Content::Uid(uid) => (0, uid),
            Content::Posted(message) => (1, message.0),
            Content::Reserved(reservation) => (2, reservation.generation()),
            Content::Ack(message, _) => (3, message.0),
            Content::Touch(message, _) => (4, message.0),
            Content::Release(message, _) => (5, message.0),
            Content::Mint(token) => (6, token),
            Content::Revoke(token) => (7, token),
        }
    }
}

const KINDS: usize = 8;

/// Places in `History::applied`, by content.
#[derive(Clone, Debug, Default)]
pub struct AppliedIndex {
    /// By kind: in order of number, then place.
    entries: [Vec<(Content, usize)>; KINDS],
    starts: [Starts; KINDS],
}

impl AppliedIndex {
    pub fn new(applied: &[Applied]) -> AppliedIndex {
        let mut index = AppliedIndex::default();
        let mut tokens = Vec::new();
        for (at, each) in applied.iter().enumerate() {
            match &each.request.command {
                Command::CreateToken { token } => {
                    if let Some(number) = token_of_name(&token.name) {
                        tokens.push((token.id.clone(), number));
                        index.push(Content::Mint(number), at);
                    }
                }
                Command::RevokeToken { id } => {
                    let known = tokens.iter().rev().find(|(token, _)| token == id);
                    if let Some((_, number)) = known {
                        index.push(Content::Revoke(*number), at);
                    }
                }
                command => index.add(at, command, each.answer.as_ref().ok()),
            }
        }
        for (entries, starts) in index.entries.iter_mut().zip(&mut index.starts) {
            entries.sort_by_key(|(content, _)| content.number().1);
            *starts = Starts::new(entries.iter().map(|(content, _)| content.number().1));
        }
        index
    }

    fn push(&mut self, content: Content, at: usize) {
        self.entries[content.number().0].push((content, at));
    }

    fn add(&mut self, at: usize, command: &Command, told: Option<&Outcome>) {
        let mut add = |content| self.push(content, at);
        match (command, told) {
            (Command::PostMessages { messages, .. }, told) => {
                let uids = messages.iter().filter_map(|message| uid_in_body(&message.body));
                uids.for_each(|uid| add(Content::Uid(uid)));
                if let Some(Outcome::Posted { ids }) = told {
                    ids.iter().for_each(|id| add(Content::Posted(*id)));
                }
            }
            (Command::ReserveMessages { .. }, Some(Outcome::Reserved { messages })) => {
                messages.iter().for_each(|one| add(Content::Reserved(one.reservation)));
            }
            (Command::AckMessage { handle, .. }, _) => {
                let reservation = handle.reservation;
                if let Some(reservation) = reservation {
                    add(Content::Ack(handle.message, reservation));
                }
            }
            (Command::TouchMessage { message, reservation, .. }, _) => {
                add(Content::Touch(*message, *reservation));
            }
            (Command::ReleaseMessage { message, reservation, .. }, _) => {
                add(Content::Release(*message, *reservation));
            }
            (Command::Transaction { commands }, told) => {
                let told = match told {
                    Some(Outcome::Transacted { outcomes }) => outcomes.as_slice(),
                    Some(_) | None => &[],
                };
                for (place, command) in commands.iter().enumerate() {
                    self.add(at, command, told.get(place));
                }
            }
            _ => {} // It names nothing that a client's operation could be found by.
        }
    }

    /// Places of the requests with this content, ascending.
    pub fn find(&self, content: Content) -> impl Iterator<Item = usize> {
        let (kind, number) = content.number();
        let near = self.starts[kind].slice(&self.entries[kind], number);
        near.iter().filter(move |(one, _)| *one == content).map(|(_, at)| *at)
    }
}

/// The content by which the request of an operation is found; `None` for reads, and for a reserve
/// that gave nothing or was not heard.
pub fn content_of(operation: &Operation) -> Option<Content> {
    Some(match (&operation.op, &operation.answer) {
        (Op::Post { uids, .. }, Answer::Posted(ids)) if ids.is_empty() => {
            Content::Uid(*uids.first()?)
        }
        (Op::Post { .. }, Answer::Posted(ids)) => Content::Posted(ids[0]),
        (Op::Post { uids, .. }, _) => Content::Uid(*uids.first()?),
        (Op::Swap { .. }, Answer::Swapped(id)) => Content::Posted(*id),
        (Op::Swap { uid, .. }, _) => Content::Uid(*uid),
        (Op::Reserve { .. }, Answer::Reserved(gots)) => {
            Content::Reserved(gots.first()?.reservation)
        }
        (Op::Reserve { .. } | Op::Look { .. }, _) => return None,
        (Op::Ack(held), _) => Content::Ack(held.message, held.reservation),
        (Op::Touch { held, .. }, _) => Content::Touch(held.message, held.reservation),
        (Op::Release { held, .. }, _) => Content::Release(held.message, held.reservation),
        (Op::Mint { token, .. }, _) => Content::Mint(*token),
        (Op::Revoke { token }, _) => Content::Revoke(*token),
    })
}

/// Whether the answer that a client heard is what the log told.
pub fn is_answer(answer: &Answer, told: &Told) -> bool {
    match (answer, told) {
        (Answer::Refused(heard), Err(rejection)) => heard == rejection,
        (Answer::Posted(heard), Ok(Outcome::Posted { ids })) => heard == ids,
        (Answer::Reserved(heard), Ok(Outcome::Reserved { messages })) => {
            heard.len() == messages.len()
                && heard.iter().zip(messages).all(|(got, one)| {
                    let uid = one.body.as_deref().map(uid_in_body);
                    (got.message, got.reserved_count, got.reservation)
                        == (one.id, one.reserved_count, one.reservation)
                        && uid.is_none_or(|uid| uid == got.uid)
                })
        }
        (Answer::Acked(heard), Ok(Outcome::Deleted { count })) => heard == count,
        (Answer::Touched(heard), Ok(Outcome::Touched { reservation })) => heard == reservation,
        (Answer::Released, Ok(Outcome::Released)) => true,
        (Answer::Swapped(heard), Ok(Outcome::Transacted { outcomes })) => {
            matches!(&outcomes[..], [Outcome::Deleted { count: 1 }, Outcome::Posted { ids }]
                if ids[..] == [*heard])
        }
        (Answer::Minted, Ok(Outcome::TokenCreated { .. })) => true,
        (Answer::Revoked, Ok(Outcome::Done)) => true,
        _ => false,
    }
}
