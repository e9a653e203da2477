//! Queues of `/v1`.

use bessemer_model::limits::{PER_PAGE_DEFAULT, PER_PAGE_MAX};
use bessemer_service::{Freshness, ListQueues};
use serde::Serialize;

use super::shapes::{Done, PatchBody, ShownCounts, ShownQueue, ShownSettings, parse};
use crate::call::Call;
use crate::reply::Reply;
use crate::respond::Refusal;

#[derive(Serialize)]
struct Listed<'a> {
    queues: Vec<Name<'a>>,
}

#[derive(Serialize)]
struct Name<'a> {
    name: &'a str,
}

pub(super) async fn list(call: Call) -> Result<Reply, Refusal> {
    let freshness = call.freshness();
    let page = ListQueues {
        previous: call.query.get("previous").unwrap_or("").to_owned(),
        prefix: call.query.get("prefix").unwrap_or("").to_owned(),
        per_page: call.query.number("per_page", PER_PAGE_DEFAULT, PER_PAGE_MAX)?,
    };
    let names = call.service.list_queues(&call.caller, &call.project(), &page, freshness).await?;
    let queues = names.iter().map(|name| Name { name: name.as_str() }).collect();
    Ok(Reply::ok(&Listed { queues }).stale(freshness == Freshness::Stale))
}

pub(super) async fn put(call: Call) -> Result<Reply, Refusal> {
    let body: PatchBody = parse(&call.body)?;
    let queue = call.queue();
    let (settings, created) = call
        .service
        .put_queue(&call.caller, &call.project(), queue.clone(), body.read(), call.key())
        .await?;
    let settings = ShownSettings::of(&settings);
    let name = queue.as_str();
    Ok(Reply::ok(&ShownQueue { name, settings, created: Some(created), counts: None }))
}

pub(super) async fn get(call: Call) -> Result<Reply, Refusal> {
    let (queue, freshness) = (call.queue(), call.freshness());
    let found = call.service.queue(&call.caller, &call.project(), &queue, freshness).await?;
    let counts = ShownCounts {
        size: found.size,
        reserved: found.reserved,
        delayed: found.delayed,
        total: found.total,
    };
    let shown = ShownQueue {
        name: queue.as_str(),
        settings: ShownSettings::of(&found.settings),
        created: None,
        counts: Some(counts),
    };
    Ok(Reply::ok(&shown).stale(freshness == Freshness::Stale))
}

pub(super) async fn remove(call: Call) -> Result<Reply, Refusal> {
    call.service.delete_queue(&call.caller, &call.project(), call.queue(), call.key()).await?;
    Ok(Reply::ok(&Done {}))
}
