//! Projects of `/v1`.

use bessemer_model::limits::{PER_PAGE_DEFAULT, PER_PAGE_MAX};
use bessemer_model::{ProjectId, Quota, Usage};
use bessemer_service::{Freshness, QuotaPatch};
use serde::{Deserialize, Serialize};

use super::shapes::{Done, parse};
use crate::call::Call;
use crate::reply::Reply;
use crate::respond::Refusal;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CreateBody {
    id: Option<String>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    quota: QuotaBody,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpdateBody {
    quota: QuotaBody,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct QuotaBody {
    bytes_max: Option<u64>,
    messages_max: Option<u64>,
    queues_max: Option<u64>,
    retry_keys_max: Option<u64>,
    tokens_max: Option<u64>,
    waiters_max: Option<u64>,
}

impl QuotaBody {
    fn read(self) -> QuotaPatch {
        QuotaPatch {
            bytes_max: self.bytes_max,
            messages_max: self.messages_max,
            queues_max: self.queues_max,
            retry_keys_max: self.retry_keys_max,
            tokens_max: self.tokens_max,
            waiters_max: self.waiters_max,
        }
    }
}

#[derive(Serialize)]
struct ShownQuota {
    bytes_max: u64,
    messages_max: u64,
    queues_max: u64,
    retry_keys_max: u64,
    tokens_max: u64,
    waiters_max: u64,
}

impl From<Quota> for ShownQuota {
    fn from(quota: Quota) -> ShownQuota {
        ShownQuota {
            bytes_max: quota.bytes_max,
            messages_max: quota.messages_max,
            queues_max: quota.queues_max,
            retry_keys_max: quota.retry_keys_max,
            tokens_max: quota.tokens_max,
            waiters_max: quota.waiters_max,
        }
    }
}

#[derive(Serialize)]
struct ShownUsage {
    bytes: u64,
    messages: u64,
    queues: u64,
    retry_keys: u64,
    tokens: u64,
}

impl From<Usage> for ShownUsage {
    fn from(usage: Usage) -> ShownUsage {
        ShownUsage {
            bytes: usage.bytes,
            messages: usage.messages,
            queues: usage.queues,
            retry_keys: usage.retry_keys,
            tokens: usage.tokens,
        }
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<ShownQuota>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<ShownUsage>,
}

#[derive(Serialize)]
struct Listed<'a> {
    projects: Vec<Shown<'a>>,
}

pub(super) async fn create(call: Call) -> Result<Reply, Refusal> {
    let body: CreateBody = parse(&call.body)?;
    let quota = body.quota.read().apply_to(Quota::default());
    let given = body.id.map(ProjectId::new);
    let id = call.service.create_project(&call.caller, given, &body.name, quota, call.key());
    let id = id.await?;
    let quota = Some(quota.into());
    Ok(Reply::created(&Shown { id: id.as_str(), name: Some(&body.name), quota, usage: None }))
}

pub(super) async fn list(call: Call) -> Result<Reply, Refusal> {
    let per_page = call.query.number("per_page", PER_PAGE_DEFAULT, PER_PAGE_MAX)?;
    let previous = call.query.get("previous").unwrap_or("");
    let freshness = call.freshness();
    let found = call.service.list_projects(&call.caller, previous, per_page, freshness).await?;
    let projects = found
        .iter()
        .map(|project| Shown {
            id: project.id.as_str(),
            name: Some(&project.name),
            quota: None,
            usage: None,
        })
        .collect();
    Ok(Reply::ok(&Listed { projects }).stale(freshness == Freshness::Stale))
}

pub(super) async fn get(call: Call) -> Result<Reply, Refusal> {
    let freshness = call.freshness();
    let found = call.service.project(&call.caller, &call.project(), freshness).await?;
    let shown = Shown {
        id: found.id.as_str(),
        name: Some(&found.name),
        quota: Some(found.quota.into()),
        usage: Some(found.usage.into()),
    };
    Ok(Reply::ok(&shown).stale(freshness == Freshness::Stale))
}

pub(super) async fn update(call: Call) -> Result<Reply, Refusal> {
    let body: UpdateBody = parse(&call.body)?;
    let id = call.project();
    let patch = body.quota.read();
    let quota = call.service.update_quota(&call.caller, &id, patch, call.key()).await?;
    let shown = Shown { id: id.as_str(), name: None, quota: Some(quota.into()), usage: None };
    Ok(Reply::ok(&shown))
}

pub(super) async fn remove(call: Call) -> Result<Reply, Refusal> {
    call.service.delete_project(&call.caller, &call.project(), call.key()).await?;
    Ok(Reply::ok(&Done {}))
}
