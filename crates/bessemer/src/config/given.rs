//! One value given as text: by a flag or by an environment variable.
//!
//! Not here: which keys there are.

use std::marker::PhantomData;
use std::str::FromStr;

use serde::Deserialize;

/// A value that is known to fit `T`, kept as TOML so that layers can be merged.
#[derive(Clone, Debug)]
pub struct Given<T> {
    pub value: toml::Value,
    kind: PhantomData<fn() -> T>,
}

impl<T: for<'a> Deserialize<'a>> FromStr for Given<T> {
    type Err = String;

    /// Takes the text as it is where `T` accepts a string (so a token of digits stays one), and
    /// reads it as a TOML value otherwise (`9`, `true`, `[{ id = 1, … }]`).
    fn from_str(text: &str) -> Result<Self, String> {
        let plain = toml::Value::String(text.to_owned());
        let plain_error = match T::deserialize(plain.clone()) {
            Ok(_) => return Ok(Given { value: plain, kind: PhantomData }),
            Err(e) => e,
        };
        let Ok(mut table) = format!("value = {text}").parse::<toml::Table>() else {
            return Err(one_line(&plain_error));
        };
        let value = table.remove("value").expect("the table was parsed from this key");
        match T::deserialize(value.clone()) {
            Ok(_) => Ok(Given { value, kind: PhantomData }),
            Err(e) => Err(one_line(&e)),
        }
    }
}

/// The message of a TOML error without its line breaks.
pub fn one_line(error: &toml::de::Error) -> String {
    error.message().split('\n').collect::<Vec<_>>().join("; ")
}
