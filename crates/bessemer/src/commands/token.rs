//! `bessemer token`: who may do what in a project.

use hyper::Method;
use serde_json::json;

use super::output::{field, rows, show, table};
use crate::client::access::Access;
use crate::client::session::{Session, segment};

#[derive(Debug, clap::Subcommand)]
pub enum TokenCommand {
    /// Makes a token and shows it, this once.
    Create {
        /// What its bearer may do.
        #[arg(long, value_enum, default_value = "member")]
        role: RoleName,
        /// What it is for.
        #[arg(long, default_value = "")]
        name: String,
    },
    /// Ends a token at once. Its id is the part between the first two underscores.
    Revoke { id: String },
    /// Shows the tokens of the project, without their secrets.
    List,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum RoleName {
    /// Looks at queues and messages.
    Reader,
    /// Uses queues.
    Member,
    /// Deletes queues, makes and revokes tokens.
    Owner,
}

impl RoleName {
    fn name(self) -> &'static str {
        match self {
            RoleName::Reader => "reader",
            RoleName::Member => "member",
            RoleName::Owner => "owner",
        }
    }
}

pub async fn run(command: &TokenCommand, access: &Access) -> anyhow::Result<()> {
    let target = access.target()?;
    let mut session = Session::new(&target.addresses, target.token()?);
    let base = format!("/v1/projects/{}/tokens", segment(target.project()?));
    match command {
        TokenCommand::Create { role, name } => {
            let body = json!({ "name": name, "role": role.name() });
            let answer = session.ask(Method::POST, &base, Some(&body)).await?;
            show(access.json, &answer, |token| field(token, "token"));
        }
        TokenCommand::Revoke { id } => {
            let path = format!("{base}/{}", segment(id));
            let answer = session.ask(Method::DELETE, &path, None).await?;
            show(access.json, &answer, |_| "revoked".to_owned());
        }
        TokenCommand::List => {
            let answer = session.ask(Method::GET, &base, None).await?;
            show(access.json, &answer, |a| {
                table(&["id", "role", "name", "expires_at_ms"], rows(a, "tokens"))
            });
        }
    }
    Ok(())
}
