//! `proto/bessemer/v1` and the routes of `/v1` say the same.

use std::path::Path;

use protox::prost_reflect::DescriptorPool;

use crate::client::Server;

const FILES: [&str; 4] = ["queues.proto", "projects.proto", "tokens.proto", "cluster.proto"];

/// Every rpc with the route that maps it.
const ROUTES: [(&str, &str, &str); 26] = [
    ("QueueService.ListQueues", "GET", "/v1/projects/{project}/queues"),
    ("QueueService.PutQueue", "PUT", "/v1/projects/{project}/queues/{queue}"),
    ("QueueService.GetQueue", "GET", "/v1/projects/{project}/queues/{queue}"),
    ("QueueService.DeleteQueue", "DELETE", "/v1/projects/{project}/queues/{queue}"),
    ("QueueService.PostMessages", "POST", "/v1/projects/{project}/queues/{queue}/messages"),
    ("QueueService.PeekMessages", "GET", "/v1/projects/{project}/queues/{queue}/messages"),
    ("QueueService.GetMessage", "GET", "/v1/projects/{project}/queues/{queue}/messages/{message}"),
    ("QueueService.ReserveMessages", "POST", "/v1/projects/{project}/queues/{queue}/reservations"),
    ("QueueService.AckMessages", "POST", "/v1/projects/{project}/queues/{queue}/acks"),
    (
        "QueueService.TouchMessage",
        "POST",
        "/v1/projects/{project}/queues/{queue}/messages/{message}/touch",
    ),
    (
        "QueueService.ReleaseMessage",
        "POST",
        "/v1/projects/{project}/queues/{queue}/messages/{message}/release",
    ),
    ("QueueService.ClearQueue", "POST", "/v1/projects/{project}/queues/{queue}/clear"),
    ("QueueService.Transact", "POST", "/v1/projects/{project}/transactions"),
    ("ProjectService.CreateProject", "POST", "/v1/projects"),
    ("ProjectService.ListProjects", "GET", "/v1/projects"),
    ("ProjectService.GetProject", "GET", "/v1/projects/{project}"),
    ("ProjectService.UpdateProject", "PATCH", "/v1/projects/{project}"),
    ("ProjectService.DeleteProject", "DELETE", "/v1/projects/{project}"),
    ("TokenService.CreateToken", "POST", "/v1/projects/{project}/tokens"),
    ("TokenService.ListTokens", "GET", "/v1/projects/{project}/tokens"),
    ("TokenService.RevokeToken", "DELETE", "/v1/projects/{project}/tokens/{token}"),
    ("ClusterService.GetStatus", "GET", "/v1/cluster"),
    ("ClusterService.Join", "POST", "/v1/cluster/join"),
    ("ClusterService.Leave", "POST", "/v1/cluster/leave"),
    ("ClusterService.Replace", "POST", "/v1/cluster/replace"),
    ("ClusterService.Transfer", "POST", "/v1/cluster/transfer"),
];

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto/bessemer/v1")
}

fn compiled() -> DescriptorPool {
    let files = FILES.map(|file| folder().join(file));
    let set = protox::compile(files, [folder()]).expect("the protos compile");
    DescriptorPool::from_file_descriptor_set(set).expect("the protos agree")
}

#[test]
fn every_rpc_is_in_the_table_and_names_its_route() {
    let mut rpcs = Vec::new();
    for service in compiled().services() {
        assert_eq!(service.package_name(), "bessemer.v1");
        for method in service.methods() {
            rpcs.push(format!("{}.{}", service.name(), method.name()));
        }
    }
    let mut table: Vec<String> = ROUTES.iter().map(|(rpc, ..)| (*rpc).to_owned()).collect();
    rpcs.sort();
    table.sort();
    assert_eq!(rpcs, table);
    let text: String = FILES
        .iter()
        .map(|file| std::fs::read_to_string(folder().join(file)).expect("readable"))
        .collect();
    for (rpc, method, path) in ROUTES {
        let name = rpc.split('.').next_back().expect("a name");
        let described = format!("// {method} {path}\n  rpc {name}(");
        assert!(text.contains(&described), "{described}");
    }
}

#[test]
fn every_name_in_a_route_is_a_field_of_its_request() {
    let pool = compiled();
    for (rpc, _, path) in ROUTES {
        let (service, method) = rpc.split_once('.').expect("a dot");
        let service = pool.get_service_by_name(&format!("bessemer.v1.{service}")).expect("there");
        let method = service.methods().find(|found| found.name() == method).expect("there");
        for name in path.split('/').filter_map(|part| part.strip_prefix('{')) {
            let name = name.trim_end_matches('}');
            assert!(method.input().get_field_by_name(name).is_some(), "{rpc} has no {name}");
        }
    }
}

#[tokio::test]
async fn every_rpc_has_its_route() {
    let server = Server::start().await;
    for (rpc, method, path) in ROUTES {
        let path = path
            .replace("{project}", "none")
            .replace("{queue}", "q")
            .replace("{message}", "1")
            .replace("{token}", "0123456789abcdef");
        let answer = server.call(method, &path, "").await;
        let code = answer.json()["code"].as_str().unwrap_or("none").to_owned();
        assert!(
            !["RouteMissing", "MethodNotAllowed"].contains(&code.as_str()),
            "{rpc}: {answer:?}"
        );
    }
    let answer = server.call("GET", "/v1/none", "").await;
    assert_eq!(answer.json()["code"], "RouteMissing", "the check can fail");
}
