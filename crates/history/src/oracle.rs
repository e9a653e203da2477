//! comparing answers
use bessemer_model::{Outcome, ReservedMessage};

/// Whether the two outcomes are one, where a body that was not told is any.
pub fn is_same(told: &Outcome, expected: &Outcome) -> bool {
    let is_body = |told: &ReservedMessage, expected: &ReservedMessage| {
        told.body.is_none() || told.body == expected.body
    };
    match (told, expected) {
        (Outcome::Reserved { messages: told }, Outcome::Reserved { messages: expected }) => {
            told.len() == expected.len()
                && told.iter().zip(expected).all(|(told, expected)| {
                    (told.id, told.reserved_count, told.reservation)
                        == (expected.id, expected.reserved_count, expected.reservation)
                        && is_body(told, expected)
                })
        }
        (Outcome::Transacted { outcomes: told }, Outcome::Transacted { outcomes: expected }) => {
            told.len() == expected.len()
                && told.iter().zip(expected).all(|(told, expected)| is_same(told, expected))
        }
        (told, expected) => told == expected,
    }
}
