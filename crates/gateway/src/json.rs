//! Reading JSON within bounds, for both doors.
//!
//! Not here: shapes. Depth is bounded by the parser, size by the body's limit, counts by `Capped`.

use std::fmt;
use std::marker::PhantomData;

use bessemer_model::Rejection;
use bessemer_model::rejection::Counted;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, SeqAccess, Visitor};

use crate::respond::Refusal;

/// Reads a request's body: an object, or nothing at all, which is the empty object.
pub(crate) fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let body = body.trim_ascii();
    let body = if body.is_empty() { b"{}" } else { body };
    if body[0] != b'{' {
        return Err(Refusal::Bad("The request body must be a JSON object".into()));
    }
    serde_json::from_slice(body)
        .map_err(|error| Refusal::Bad(format!("The request body is not as expected: {error}")))
}

/// Keeps a given `null` apart from a key left out: `Some(None)` and `None`.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A list of at most `MAX` entries; the next one ends the reading, so memory stays small.
#[derive(Debug)]
pub(crate) struct Capped<T, const MAX: usize>(pub Vec<T>);

impl<T, const MAX: usize> Capped<T, MAX> {
    /// The entries, at least one. Refuses none of them as the log refuses too many.
    pub fn some(self, what: Counted) -> Result<Vec<T>, Refusal> {
        match self.0.is_empty() {
            false => Ok(self.0),
            true => {
                Err(Rejection::CountOutOfRange { what, count: 0, count_max: MAX as u64 }.into())
            }
        }
    }
}

impl<T, const MAX: usize> Default for Capped<T, MAX> {
    fn default() -> Self {
        Capped(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Capped<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Visit<T, MAX> {
            type Value = Capped<T, MAX>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = seq.next_element()? {
                    if entries.len() == MAX {
                        let why = format!("a list of more than {MAX} entries, send it in parts");
                        return Err(A::Error::custom(why));
                    }
                    entries.push(entry);
                }
                Ok(Capped(entries))
            }
        }
        deserializer.deserialize_seq(Visit(PhantomData))
    }
}
