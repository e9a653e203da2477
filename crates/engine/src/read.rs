//! Reads over a frozen view: what users ask without changing anything.
//!
//! Not here: how fresh the view is; who may read. A read never writes and never fails a user's
//! request but for a missing noun; a `Fault` stops the replica.
//! Time is the log time the view was committed at.

use bessemer_model::limits::RESERVE_BYTES_MAX;
use bessemer_model::{
    MessageId, Millis, ProjectId, QueueName, QueueSettings, Quota, Rejection, TokenId, TokenRecord,
    Usage,
};
use bessemer_seam::kv::{KvRead, Table};

use crate::core::{self, Core};
use crate::fault::Fault;
use crate::overlay::Pair;
use crate::state::{body, find_message};
use crate::tables::message::{self, MessageRow};
use crate::tables::project::{self, ProjectRow, TokenOwner};
use crate::tables::queue::{self, QueueRow};
use crate::tables::{end_of, number_at, number_key, read};

/// A queue as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueInfo {
    pub settings: QueueSettings,
    /// Messages in the queue now, reserved and delayed ones included.
    pub size: u64,
    /// Messages that ever came in.
    pub total: u64,
    pub reserved: u64,
    pub delayed: u64,
    /// Bytes of the bodies of the messages in the queue.
    pub bytes: u64,
}

/// A message as it is; looking at it changes nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MessageView {
    pub id: MessageId,
    pub body: Vec<u8>,
    pub reserved_count: u32,
}

/// A project as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProjectInfo {
    pub id: ProjectId,
    pub name: Box<str>,
    pub quota: Quota,
    pub usage: Usage,
}

/// The group as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupInfo {
    /// 0 before `InitGroup`.
    pub cluster_version: u32,
    pub applied: bessemer_model::LogIndex,
    pub chain: [u8; 32],
    pub log_time: Millis,
    /// Ended stores and projects whose rows are not yet swept.
    pub garbage: u64,
}

/// The queue, or `None` when queue or project is missing.
pub fn queue_info(
    view: &dyn KvRead,
    project: &ProjectId,
    queue: &QueueName,
) -> Result<Option<QueueInfo>, Fault> {
    Ok(find_queue(view, project, queue)?.map(|row| QueueInfo {
        settings: row.settings,
        size: row.size,
        total: row.total,
        reserved: row.reserved,
        delayed: row.delayed,
        bytes: row.bytes,
    }))
}

/// Up to `per_page` names of queues that begin with `prefix`, ascending by bytes, strictly greater
/// than `previous`. Empty `previous` and `prefix` leave out nothing; a missing project has none.
pub fn list_queues(
    view: &dyn KvRead,
    project: &ProjectId,
    previous: &str,
    prefix: &str,
    per_page: u32,
) -> Result<Vec<QueueName>, Fault> {
    let Some(project) = find_project(view, project)? else { return Ok(Vec::new()) };
    let start = queue::prefix(project.number);
    let keys = page(view, &start, previous, prefix, per_page)?;
    keys.iter().map(|(key, _)| text_after(key, start.len()).map(QueueName::new)).collect()
}

/// The message, whatever its state.
/// Rejects: `ProjectMissing`, `QueueMissing`, `MessageMissing`.
pub fn get_message(
    view: &dyn KvRead,
    project: &ProjectId,
    queue: &QueueName,
    id: MessageId,
) -> Result<Result<MessageView, Rejection>, Fault> {
    let row = match queue_or_rejection(view, project, queue)? {
        Ok(row) => row,
        Err(rejection) => return Ok(Err(rejection)),
    };
    match find_message(view, row.store, id)? {
        Some((_, row)) => message_view(view, &row).map(Ok),
        None => Ok(Err(Rejection::MessageMissing { message: id })),
    }
}

/// Up to `n` messages that could be reserved now, in the order of reserve: fewer when their bodies
/// would be more than `RESERVE_BYTES_MAX`.
/// Rejects: `ProjectMissing`, `QueueMissing`.
pub fn peek(
    view: &dyn KvRead,
    project: &ProjectId,
    queue: &QueueName,
    n: u32,
) -> Result<Result<Vec<MessageView>, Rejection>, Fault> {
    let row = match queue_or_rejection(view, project, queue)? {
        Ok(row) => row,
        Err(rejection) => return Ok(Err(rejection)),
    };
    let (mut messages, mut bytes_left) = (Vec::new(), RESERVE_BYTES_MAX);
    for key in ready_keys(view, &row, n as usize)? {
        let position = bessemer_model::Position(number_at(&key, 9)?);
        let key = message::key(row.store, position);
        let row = read(view, Table::Row, &key, MessageRow::decode)?
            .ok_or_else(|| Fault::corrupt("the ready index names a missing message", key))?;
        match bytes_left.checked_sub(row.body_bytes) {
            Some(left) => bytes_left = left,
            None => break,
        }
        messages.push(message_view(view, &row)?);
    }
    Ok(Ok(messages))
}

/// How many messages could be reserved now, counted up to `count_max`. Reads no message.
/// Rejects: `ProjectMissing`, `QueueMissing`.
pub fn count_ready(
    view: &dyn KvRead,
    project: &ProjectId,
    queue: &QueueName,
    count_max: usize,
) -> Result<Result<usize, Rejection>, Fault> {
    match queue_or_rejection(view, project, queue)? {
        Ok(row) => Ok(Ok(ready_keys(view, &row, count_max)?.len())),
        Err(rejection) => Ok(Err(rejection)),
    }
}

/// The project, or `None`.
pub fn project(view: &dyn KvRead, id: &ProjectId) -> Result<Option<ProjectInfo>, Fault> {
    Ok(find_project(view, id)?.map(|row| info(id.clone(), row)))
}

/// Up to `per_page` projects by ascending id, strictly greater than `previous`.
pub fn list_projects(
    view: &dyn KvRead,
    previous: &str,
    per_page: u32,
) -> Result<Vec<ProjectInfo>, Fault> {
    let rows = page(view, b"P", previous, "", per_page)?;
    rows.iter()
        .map(|(key, value)| {
            let id = ProjectId::new(text_after(key, 1)?);
            Ok(info(id, ProjectRow::decode(value)?))
        })
        .collect()
}

/// The token of a live project, or `None`. Expired ones are given, too: see `expires_at`.
pub fn token(
    view: &dyn KvRead,
    project: &ProjectId,
    id: &TokenId,
) -> Result<Option<TokenRecord>, Fault> {
    let Some(project) = find_project(view, project)? else { return Ok(None) };
    read(view, Table::Row, &project::token_key(project.number, id), project::decode_token)
}

/// The token and the live project it belongs to, or `None`. Expired ones are given, too.
pub fn find_token(
    view: &dyn KvRead,
    id: &TokenId,
) -> Result<Option<(ProjectId, TokenRecord)>, Fault> {
    let key = project::owner_key(id);
    let Some(owner) = read(view, Table::Row, &key, TokenOwner::decode)? else { return Ok(None) };
    match find_project(view, &owner.project)? {
        Some(project) if project.number == owner.number => {}
        // The project has ended; its tokens follow with the next sweeps.
        Some(_) | None => return Ok(None),
    }
    let key = project::token_key(owner.number, id);
    let record = read(view, Table::Row, &key, project::decode_token)?
        .ok_or_else(|| Fault::corrupt("a token's owner has no such token", key))?;
    Ok(Some((owner.project, record)))
}

/// Up to `per_page` tokens of the project by ascending id, strictly greater than `previous`;
/// `None` when the project is missing.
pub fn list_tokens(
    view: &dyn KvRead,
    project: &ProjectId,
    previous: &str,
    per_page: u32,
) -> Result<Option<Vec<TokenRecord>>, Fault> {
    let Some(project) = find_project(view, project)? else { return Ok(None) };
    let rows = page(view, &number_key(b'Z', project.number), previous, "", per_page)?;
    let tokens: Result<Vec<TokenRecord>, _> =
        rows.iter().map(|(_, value)| project::decode_token(value)).collect();
    Ok(Some(tokens?))
}

/// Whether the outcome of a request with this retry key is kept: sent again, it is repeated.
pub fn retry_key_known(view: &dyn KvRead, project: &ProjectId, key: &str) -> Result<bool, Fault> {
    let Some(project) = find_project(view, project)? else { return Ok(false) };
    Ok(view.get(Table::Row, &crate::tables::retry::key(project.number, key))?.is_some())
}

/// A secret for `purpose`, derived from the group's own, which it does not tell; `None` before
/// `InitGroup`. Same purpose, same secret.
pub fn derived_secret(view: &dyn KvRead, purpose: &'static str) -> Result<Option<[u8; 32]>, Fault> {
    let core = read(view, Table::Meta, core::KEY.as_bytes(), Core::decode)?.unwrap_or_default();
    Ok((core.cluster_version > 0).then(|| blake3::derive_key(purpose, &core.secret)))
}

/// The group's own numbers.
pub fn group(view: &dyn KvRead) -> Result<GroupInfo, Fault> {
    let core = read(view, Table::Meta, core::KEY.as_bytes(), Core::decode)?.unwrap_or_default();
    Ok(GroupInfo {
        cluster_version: core.cluster_version,
        applied: core.applied,
        chain: core.chain,
        log_time: core.log_time,
        garbage: core.garbage_stores + core.garbage_projects,
    })
}

fn info(id: ProjectId, row: ProjectRow) -> ProjectInfo {
    ProjectInfo { id, name: row.name, quota: row.quota, usage: row.usage }
}

fn find_project(view: &dyn KvRead, id: &ProjectId) -> Result<Option<ProjectRow>, Fault> {
    read(view, Table::Row, &project::key(id), ProjectRow::decode)
}

fn find_queue(
    view: &dyn KvRead,
    project: &ProjectId,
    queue: &QueueName,
) -> Result<Option<QueueRow>, Fault> {
    let Some(project) = find_project(view, project)? else { return Ok(None) };
    read(view, Table::Row, &queue::key(project.number, queue), QueueRow::decode)
}

fn queue_or_rejection(
    view: &dyn KvRead,
    project: &ProjectId,
    queue: &QueueName,
) -> Result<Result<QueueRow, Rejection>, Fault> {
    let Some(row) = find_project(view, project)? else {
        return Ok(Err(Rejection::ProjectMissing { project: project.clone() }));
    };
    match read(view, Table::Row, &queue::key(row.number, queue), QueueRow::decode)? {
        Some(row) => Ok(Ok(row)),
        None => Ok(Err(Rejection::QueueMissing { queue: queue.clone() })),
    }
}

/// The first keys of the queue's ready index, oldest first.
fn ready_keys(view: &dyn KvRead, row: &QueueRow, limit: usize) -> Result<Vec<Vec<u8>>, Fault> {
    let from = message::ready_key(row.store, row.ready_from);
    let to = message::store_end(b'R', row.store);
    let pairs = list(view, Table::Index, &from, &to, limit)?;
    Ok(pairs.into_iter().map(|(key, _)| key).collect())
}

fn message_view(view: &dyn KvRead, row: &MessageRow) -> Result<MessageView, Fault> {
    let body = body(view, row.id)?;
    Ok(MessageView { id: row.id, body, reserved_count: row.reserved_count })
}

/// Rows under `start` whose names begin with `prefix` and are strictly greater than `previous`.
fn page(
    view: &dyn KvRead,
    start: &[u8],
    previous: &str,
    prefix: &str,
    per_page: u32,
) -> Result<Vec<Pair>, Fault> {
    let first = [start, prefix.as_bytes()].concat();
    let to = end_of(&first);
    let from = if previous.is_empty() {
        first
    } else {
        // The smallest name greater than `previous`.
        first.max([start, previous.as_bytes(), &[0]].concat())
    };
    list(view, Table::Row, &from, &to, per_page as usize)
}

fn list(
    view: &dyn KvRead,
    table: Table,
    from: &[u8],
    to: &[u8],
    limit: usize,
) -> Result<Vec<Pair>, Fault> {
    let mut pairs = Vec::new();
    if limit == 0 {
        return Ok(pairs);
    }
    view.scan(table, from, to, &mut |key, value| {
        pairs.push((key.to_vec(), value.to_vec()));
        if pairs.len() == limit {
            std::ops::ControlFlow::Break(())
        } else {
            std::ops::ControlFlow::Continue(())
        }
    })?;
    Ok(pairs)
}

fn text_after(key: &[u8], at: usize) -> Result<&str, Fault> {
    key.get(at..)
        .and_then(|rest| std::str::from_utf8(rest).ok())
        .ok_or_else(|| Fault::corrupt("a name in a key is not text", key))
}
