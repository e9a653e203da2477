//! Makes a started development cluster ready: a leader, a project, a token, a write.
//!
//! Not here: processes. Runs beside the supervisor's loop, so that a node that dies meanwhile is
//! restarted and a signal is heard.

use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::layout::Plan;
use super::supervisor::Credentials;
use crate::client::connection::{Call, CallError, Connection, Reply};
use crate::client::session::{Session, segment};
use crate::exit::{Exit, code_of, ended};

/// Replaying a long log takes its time; beyond this something is wrong.
const READY_WAIT: Duration = Duration::from_secs(120);
/// Waiting longer than usual is explained this often.
const WORD_EVERY: Duration = Duration::from_secs(5);
const PROBE_PAUSE: Duration = Duration::from_millis(50);
const PROBE_WAIT: Duration = Duration::from_secs(2);
const PROJECT_NAME: &str = "dev";

/// How long is waited, and when the user hears what for.
struct Waiting {
    deadline: Instant,
    next_word: Instant,
}

impl Waiting {
    fn begin() -> Waiting {
        let now = Instant::now();
        Waiting { deadline: now + READY_WAIT, next_word: now + WORD_EVERY }
    }

    /// Pauses before the next try; `false` when the time is up.
    async fn again(&mut self, why: &dyn std::fmt::Display) -> bool {
        let now = Instant::now();
        if now >= self.deadline {
            return false;
        }
        if now >= self.next_word {
            self.next_word = now + WORD_EVERY;
            tracing::warn!("still waiting: {why:#}");
        }
        tokio::time::sleep(PROBE_PAUSE).await;
        true
    }
}

/// Waits until every node is ready and one write went through the log.
///
/// `known` are the credentials of an earlier run; they are kept if the cluster still has them.
pub async fn make_ready(
    plan: &Plan,
    admin_token: &str,
    known: Option<Credentials>,
) -> anyhow::Result<Credentials> {
    let mut waiting = Waiting::begin();
    for node in &plan.nodes {
        wait_ready(node.id, &node.ops(), &mut waiting).await?;
    }
    let addresses: Vec<String> = plan.nodes.iter().map(|n| n.http()).collect();
    let mut admin = Session::new(&addresses, admin_token);
    if let Some(known) = known
        && still_there(&mut admin, &known, &mut waiting).await?
    {
        return Ok(known);
    }
    mint(&mut admin, &mut waiting).await
}

async fn wait_ready(id: u64, address: &str, waiting: &mut Waiting) -> anyhow::Result<()> {
    let mut connection = Connection::new(address);
    let call = Call {
        method: Method::GET,
        path: "/readyz".to_owned(),
        authorization: None,
        retry_key: None,
        body: bytes::Bytes::new(),
        patience: PROBE_WAIT,
    };
    loop {
        let last = match connection.call(&call).await {
            Ok(Reply { status: StatusCode::OK, .. }) => return Ok(()),
            Ok(Reply { status, body }) => {
                format!("it answers {status}: {}", String::from_utf8_lossy(&body).trim())
            }
            Err(CallError::NotSent(why) | CallError::Lost(why)) => why,
        };
        if !waiting.again(&format_args!("node {id} is not ready; {last}")).await {
            let waited = READY_WAIT.as_secs();
            return Err(ended(
                Exit::Failure,
                format!("node {id} was not ready after {waited} s; {last}"),
            ));
        }
    }
}

/// Whether the project of an earlier run is there; writes to the log if it is, by setting its
/// limits to what they are.
async fn still_there(
    admin: &mut Session,
    known: &Credentials,
    waiting: &mut Waiting,
) -> anyhow::Result<bool> {
    let path = format!("/v1/projects/{}", segment(&known.project_id));
    match ask_until(admin, Method::GET, &path, None, waiting).await {
        Ok(_) => {
            let unchanged = json!({ "quota": {} });
            ask_until(admin, Method::PATCH, &path, Some(&unchanged), waiting).await?;
            Ok(true)
        }
        Err(e) if code_of(&e) == Exit::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

async fn mint(admin: &mut Session, waiting: &mut Waiting) -> anyhow::Result<Credentials> {
    let name = json!({ "name": PROJECT_NAME });
    let project = ask_until(admin, Method::POST, "/v1/projects", Some(&name), waiting).await?;
    let project_id = text(&project, "id")?;
    let path = format!("/v1/projects/{}/tokens", segment(&project_id));
    let wanted = json!({ "name": PROJECT_NAME, "role": "owner" });
    let token = ask_until(admin, Method::POST, &path, Some(&wanted), waiting).await?;
    Ok(Credentials { project_id, token: text(&token, "token")? })
}

/// Asks again while the answer is "certainly not done": an election may run.
async fn ask_until(
    session: &mut Session,
    method: Method,
    path: &str,
    body: Option<&Value>,
    waiting: &mut Waiting,
) -> anyhow::Result<Value> {
    loop {
        match session.ask(method.clone(), path, body).await {
            Err(e) if matches!(code_of(&e), Exit::NotDone | Exit::Unreachable) => {
                if !waiting.again(&e).await {
                    return Err(e);
                }
            }
            result => return result,
        }
    }
}

fn text(answer: &Value, key: &str) -> anyhow::Result<String> {
    answer
        .get(key)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| ended(Exit::Failure, format!("the node's answer has no {key}: {answer}")))
}
