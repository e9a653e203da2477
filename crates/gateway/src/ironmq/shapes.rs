//! What old clients send as JSON, read as leniently as they need and no further.
//!
//! Source: ironmq-v3.md 1.1. `null`, `0` and `""` mean "not given"; an empty object may be an
//! empty array (PHP); unknown keys are ignored; a wrong type is refused.

use std::fmt;
use std::marker::PhantomData;

use bessemer_model::Millis;
use serde::de::value::MapAccessDeserializer;
use serde::de::{
    Deserialize, DeserializeOwned, Deserializer, Error, MapAccess, SeqAccess, Visitor,
};

use crate::json;
use crate::respond::Refusal;

/// Reads a request's body: an object, or nothing at all, which is the empty object.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    json::object(body)
}

/// An object whose empty form may also be `[]` or `null`.
#[derive(Debug, Default)]
pub(super) struct Object<T>(pub T);

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for Visit<T> {
            type Value = Object<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                match seq.next_element::<serde::de::IgnoredAny>()? {
                    None => Ok(Object(T::default())),
                    Some(_) => Err(A::Error::custom("expected an object, found a list")),
                }
            }
            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(Object(T::default()))
            }
        }
        deserializer.deserialize_any(Visit(PhantomData))
    }
}

/// A whole number that is not negative; 0 and `null` are "not given". With `TEXT`, a numeric
/// string too.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Whole<const TEXT: bool = false>(u64);

impl<const TEXT: bool> Whole<TEXT> {
    /// The number, unless it was not given.
    pub fn given(self) -> Option<u64> {
        (self.0 != 0).then_some(self.0)
    }

    /// As seconds, unless it was not given.
    pub fn seconds(self) -> Option<Millis> {
        self.given().map(Millis::from_secs)
    }

    /// As a count; what does not fit is out of every range.
    pub fn count(self) -> Option<u32> {
        self.given().map(|number| u32::try_from(number).unwrap_or(u32::MAX))
    }
}

impl<'de, const TEXT: bool> Deserialize<'de> for Whole<TEXT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit<const TEXT: bool>;
        impl<const TEXT: bool> Visitor<'_> for Visit<TEXT> {
            type Value = Whole<TEXT>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, 0 or larger")
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Whole(number))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
                let wrong = |_| E::invalid_value(serde::de::Unexpected::Signed(number), &self);
                u64::try_from(number).map(Whole).map_err(wrong)
            }
            fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
                Ok(Whole(0))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                let wrong = || E::invalid_type(serde::de::Unexpected::Str(text), &self);
                match text {
                    _ if !TEXT => Err(wrong()),
                    "" => Ok(Whole(0)),
                    _ => text.parse().map(Whole).map_err(|_| wrong()),
                }
            }
        }
        deserializer.deserialize_any(Visit::<TEXT>)
    }
}

/// A text where `null` and `""` are "not given".
pub(super) fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Capped;

    #[derive(serde::Deserialize, Debug, Default)]
    #[serde(default)]
    struct Sample {
        inner: Object<Inner>,
        list: Capped<u8, 2>,
        loose: Whole<true>,
    }

    #[derive(serde::Deserialize, Debug, Default)]
    #[serde(default)]
    struct Inner {
        n: Whole,
    }

    fn n(body: &str) -> Result<Option<u64>, String> {
        parse::<Sample>(body.as_bytes())
            .map(|sample| sample.inner.0.n.given())
            .map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn what_means_nothing_is_not_given() {
        for body in [
            "",
            " ",
            "{}",
            r#"{"inner":{}}"#,
            r#"{"inner":[]}"#,
            r#"{"inner":null}"#,
            r#"{"inner":{"n":0}}"#,
            r#"{"inner":{"n":null}}"#,
            r#"{"oauth":"x","inner":{"z":[[[1]]]}}"#,
        ] {
            assert_eq!(n(body), Ok(None), "{body}");
        }
        assert_eq!(n(r#"{"inner":{"n":7}}"#), Ok(Some(7)));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for body in [
            "[]",
            "null",
            "7",
            "{",
            r#"{"inner":[1]}"#,
            r#"{"inner":"x"}"#,
            r#"{"inner":{"n":-1}}"#,
            r#"{"inner":{"n":"7"}}"#,
            r#"{"inner":{"n":1.5}}"#,
            r#"{"inner":{"n":99999999999999999999}}"#,
            r#"{"list":[1,2,3]}"#,
            r#"{"list":{}}"#,
            r#"{"loose":"x"}"#,
            r#"{} {}"#,
        ] {
            assert!(n(body).is_err(), "{body}");
        }
    }

    #[test]
    fn numeric_text_is_a_number_where_that_is_allowed() {
        let sample: Sample = parse(br#"{"loose":"60"}"#).expect("lenient");
        assert_eq!(sample.loose.seconds(), Some(Millis(60_000)));
    }
}
