//! Projects and their tokens.
//!
//! Not here: who may make them. `P` id → row; `Z` number, token id → record; `z` token id → the
//! project it belongs to. The number is never reused, so a project made again under the same id
//! shares no row with the one before.

use bessemer_model::{ProjectId, Quota, TokenId, TokenRecord, Usage};

use crate::bytes::{Reader, Writer};
use crate::codec::request::{put_quota, put_token, take_quota, take_token};
use crate::fault::DecodeError;
use crate::tables::bytes_key;

const VERSION: u8 = 1;

/// A project. Invariant: `usage` is what its live rows add up to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ProjectRow {
    pub number: u64,
    pub name: Box<str>,
    pub quota: Quota,
    pub usage: Usage,
}

/// The project a token belongs to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TokenOwner {
    pub number: u64,
    pub project: ProjectId,
}

pub(crate) fn key(id: &ProjectId) -> Vec<u8> {
    let mut key = vec![b'P'];
    key.extend_from_slice(id.as_str().as_bytes());
    key
}

pub(crate) fn token_key(number: u64, token: &TokenId) -> Vec<u8> {
    bytes_key(b'Z', number, token.as_str().as_bytes())
}

pub(crate) fn owner_key(token: &TokenId) -> Vec<u8> {
    let mut key = vec![b'z'];
    key.extend_from_slice(token.as_str().as_bytes());
    key
}

impl ProjectRow {
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(64 + self.name.len());
        writer.u8(VERSION);
        writer.fixed(self.number);
        writer.text(&self.name);
        put_quota(&mut writer, &self.quota);
        let Usage { bytes, messages, queues, retry_keys, tokens } = self.usage;
        for amount in [bytes, messages, queues, retry_keys, tokens] {
            writer.var(amount);
        }
        writer.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<ProjectRow, DecodeError> {
        let mut reader = Reader::new("project row", bytes);
        reader.version(VERSION)?;
        let row = ProjectRow {
            number: reader.fixed()?,
            name: reader.text()?.into(),
            quota: take_quota(&mut reader)?,
            usage: Usage {
                bytes: reader.var()?,
                messages: reader.var()?,
                queues: reader.var()?,
                retry_keys: reader.var()?,
                tokens: reader.var()?,
            },
        };
        reader.end()?;
        Ok(row)
    }
}

impl TokenOwner {
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u8(VERSION);
        writer.fixed(self.number);
        writer.text(self.project.as_str());
        writer.finish()
    }

    pub fn decode(bytes: &[u8]) -> Result<TokenOwner, DecodeError> {
        let mut reader = Reader::new("token owner row", bytes);
        reader.version(VERSION)?;
        let owner = TokenOwner { number: reader.fixed()?, project: ProjectId::new(reader.text()?) };
        reader.end()?;
        Ok(owner)
    }
}

pub(crate) fn encode_token(token: &TokenRecord) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.u8(VERSION);
    put_token(&mut writer, token);
    writer.finish()
}

pub(crate) fn decode_token(bytes: &[u8]) -> Result<TokenRecord, DecodeError> {
    let mut reader = Reader::new("token row", bytes);
    reader.version(VERSION)?;
    let token = take_token(&mut reader)?;
    reader.end()?;
    Ok(token)
}
