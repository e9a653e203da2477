//! `bessemer project`: what isolates users from each other.

use hyper::Method;
use serde_json::json;

use super::output::{field, rows, show, table};
use crate::client::access::Access;
use crate::client::session::{Session, segment};

#[derive(Debug, clap::Subcommand)]
pub enum ProjectCommand {
    /// Makes a project and shows its id.
    Create {
        /// What it is for.
        name: String,
        /// Its id, 1 to 64 bytes; made up when missing. For clients that have one already.
        #[arg(long)]
        id: Option<String>,
    },
    /// Shows all projects, a page at a time.
    List {
        /// Begins after this id.
        #[arg(long)]
        previous: Option<String>,
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
        per_page: Option<u32>,
    },
    /// Shows a project, what it may hold and what it holds.
    Info { id: String },
    /// Removes a project with all its queues, messages and tokens. There is no way back.
    Delete { id: String },
}

pub async fn run(command: &ProjectCommand, access: &Access) -> anyhow::Result<()> {
    let target = access.target()?;
    let mut session = Session::new(&target.addresses, target.admin_token()?);
    match command {
        ProjectCommand::Create { name, id } => {
            let mut body = json!({ "name": name });
            if let Some(id) = id {
                body["id"] = json!(id);
            }
            let answer = session.ask(Method::POST, "/v1/projects", Some(&body)).await?;
            show(access.json, &answer, |project| field(project, "id"));
        }
        ProjectCommand::List { previous, per_page } => {
            let mut query = Vec::new();
            if let Some(previous) = previous {
                query.push(format!("previous={}", segment(previous)));
            }
            if let Some(per_page) = per_page {
                query.push(format!("per_page={per_page}"));
            }
            let path = format!("/v1/projects?{}", query.join("&"));
            let answer = session.ask(Method::GET, &path, None).await?;
            show(access.json, &answer, |a| table(&["id", "name"], rows(a, "projects")));
        }
        ProjectCommand::Info { id } => {
            let path = format!("/v1/projects/{}", segment(id));
            let answer = session.ask(Method::GET, &path, None).await?;
            show(access.json, &answer, |project| format!("{project:#}"));
        }
        ProjectCommand::Delete { id } => {
            let path = format!("/v1/projects/{}", segment(id));
            let answer = session.ask(Method::DELETE, &path, None).await?;
            show(access.json, &answer, |_| "deleted".to_owned());
        }
    }
    Ok(())
}
