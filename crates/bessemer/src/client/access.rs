//! Which cluster, which project, which token: flags, environment, or `cluster.json`.
//!
//! Not here: requests (`session.rs`).

use std::path::PathBuf;

use crate::client::cluster_file;
use crate::exit::{Exit, ended};

/// Options every client command has.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub struct Access {
    /// Address of a node, `http://host:port`; repeat it to name more. Without it, the nodes of
    /// the development cluster in --dir.
    #[arg(long, env = "BESSEMER_URL", value_delimiter = ',', global = true)]
    pub url: Vec<String>,
    /// The project's token; for cluster and project commands, the operator's.
    #[arg(long, env = "BESSEMER_TOKEN", hide_env_values = true, global = true)]
    pub token: Option<String>,
    /// The project's id.
    #[arg(long, env = "BESSEMER_PROJECT", global = true)]
    pub project: Option<String>,
    /// Directory of a development cluster.
    #[arg(long, env = "BESSEMER_DIR", value_name = "PATH", global = true)]
    pub dir: Option<PathBuf>,
    /// Writes JSON for programs instead of text for people.
    #[arg(long, global = true)]
    pub json: bool,
}

/// A cluster to talk to.
#[derive(Clone, Debug)]
pub struct Target {
    /// `host:port` of each known node, at least one.
    pub addresses: Vec<String>,
    /// What `--token` or the file gives for projects.
    token: Option<String>,
    admin_token: Option<String>,
    project: Option<String>,
}

impl Access {
    /// Flags and environment win over the file, each value on its own.
    pub fn target(&self) -> anyhow::Result<Target> {
        let dir = self.dir.clone().unwrap_or_else(cluster_file::default_dir);
        let file = cluster_file::read(&dir)?;
        let addresses = if !self.url.is_empty() {
            self.url.iter().map(|url| host_port(url)).collect::<Result<Vec<_>, _>>()?
        } else if let Some(file) = &file {
            file.nodes.iter().map(|node| host_port(&node.http)).collect::<Result<Vec<_>, _>>()?
        } else {
            return Err(ended(
                Exit::Usage,
                format!(
                    "no node is named and {} holds no cluster; give --url, or start one with \
                     `bessemer dev`",
                    dir.display()
                ),
            ));
        };
        let given = self.token.clone();
        Ok(Target {
            addresses,
            token: given.clone().or_else(|| file.as_ref().map(|f| f.token.clone())),
            admin_token: given.or_else(|| file.as_ref().map(|f| f.admin_token.clone())),
            project: self.project.clone().or_else(|| file.map(|f| f.project_id)),
        })
    }
}

impl Target {
    pub fn project(&self) -> anyhow::Result<&str> {
        self.project.as_deref().ok_or_else(|| {
            ended(Exit::Usage, "no project is named; give --project or BESSEMER_PROJECT")
        })
    }

    pub fn token(&self) -> anyhow::Result<&str> {
        self.token.as_deref().ok_or_else(no_token)
    }

    pub fn admin_token(&self) -> anyhow::Result<&str> {
        self.admin_token.as_deref().ok_or_else(no_token)
    }
}

fn no_token() -> anyhow::Error {
    ended(Exit::Unauthorized, "no token is given; use --token or BESSEMER_TOKEN")
}

/// `host:port` of `http://host[:port][/]`.
fn host_port(url: &str) -> anyhow::Result<String> {
    let wrong = |why: &str| ended(Exit::Usage, format!("the address {url:?} {why}"));
    if url.starts_with("https://") {
        return Err(wrong("asks for TLS, which this version does not speak; use http://"));
    }
    let rest = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
    if rest.is_empty() || rest.contains(['/', '?', '#', '@']) {
        return Err(wrong("is not http://host:port"));
    }
    match rest.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => Ok(rest.to_owned()),
        Some((_, end)) if !end.ends_with(']') => Err(wrong("has no valid port")),
        _ => Ok(format!("{rest}:80")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_refused() {
        for (url, expected) in [
            ("http://127.0.0.1:8080", Some("127.0.0.1:8080")),
            ("http://127.0.0.1:8080/", Some("127.0.0.1:8080")),
            ("queue.local:9", Some("queue.local:9")),
            ("http://queue.local", Some("queue.local:80")),
            ("http://[::1]", Some("[::1]:80")),
            ("http://[::1]:8080", Some("[::1]:8080")),
            ("https://queue.local", None),
            ("http://queue.local/3", None),
            ("http://queue.local:port", None),
            ("http://", None),
        ] {
            assert_eq!(host_port(url).ok().as_deref(), expected, "{url}");
        }
    }
}
