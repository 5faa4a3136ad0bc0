//! `k8s/`: both overlays as `kubectl kustomize` renders them, held to their schemas; and what they say, run as processes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::ExtendedKeyUsagePurpose;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::tls::Authority;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The five services, and the port that each one's name stands with.
const SERVICES: [(&str, u16); 5] =
    [("auth", 50051), ("ticket", 50052), ("booking", 50053), ("payment", 50054), ("queue", 50055)];

/// Renders an overlay of the tree at `root`.
fn render(root: &Path, overlay: &str) -> Output {
    let python = Path::new(ROOT).join("target/kubernetes/bin/python");
    assert!(python.exists(), "kubectl and the schemas are not installed: .ci/install test");
    let script = Path::new(ROOT).join("tests/kubernetes/render.py");
    Command::new(python).arg(script).arg(root.join("k8s/overlays").join(overlay)).output().expect("python runs")
}

/// What an overlay renders to.
struct Objects(Vec<Value>);

impl Objects {
    /// With secrets in it, and one replica.
    fn development() -> &'static Self {
        static RENDERED: LazyLock<Objects> = LazyLock::new(|| Objects::of("development"));
        &RENDERED
    }

    fn production() -> &'static Self {
        static RENDERED: LazyLock<Objects> = LazyLock::new(|| Objects::of("production"));
        &RENDERED
    }

    fn of(overlay: &str) -> Self {
        Self::of_tree(Path::new(ROOT), overlay)
    }

    fn of_tree(root: &Path, overlay: &str) -> Self {
        let output = render(root, overlay);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self(serde_json::from_slice(&output.stdout).expect("JSON"))
    }

    fn kind(&self, kind: &str) -> Vec<&Value> {
        self.0.iter().filter(|object| object["kind"] == kind).collect()
    }

    fn named(&self, kind: &str, name: &str) -> &Value {
        let found = self.0.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    /// The first container of a Deployment.
    fn container(&self, deployment: &str) -> &Value {
        &self.named("Deployment", deployment)["spec"]["template"]["spec"]["containers"][0]
    }

    /// The variables that a Deployment's container gets.
    fn variables(&self, deployment: &str) -> Vec<(String, String)> {
        let container = self.container(deployment);
        let texts = |data: &Value| -> Vec<(String, String)> {
            let data = data.as_object().expect("data");
            data.iter().map(|(name, value)| (name.clone(), text(value))).collect()
        };
        let mut variables = Vec::new();
        for source in list(&container["envFrom"]) {
            variables.extend(texts(&self.named("ConfigMap", &text(&source["configMapRef"]["name"]))["data"]));
        }
        for variable in list(&container["env"]) {
            let secret = &variable["valueFrom"]["secretKeyRef"];
            let value = match variable["value"].as_str() {
                Some(value) => value.to_owned(),
                None => decoded(&self.named("Secret", &text(&secret["name"]))["data"][text(&secret["key"])]),
            };
            variables.push((text(&variable["name"]), value));
        }
        variables
    }

    /// The Certificate that a Deployment's pods find in `/etc/grpc/certs`.
    fn certificate(&self, deployment: &str) -> &Value {
        let mounts = list(&self.container(deployment)["volumeMounts"]);
        let mount = mounts.iter().find(|mount| mount["mountPath"] == "/etc/grpc/certs").expect("a mount");
        let volumes = list(&self.named("Deployment", deployment)["spec"]["template"]["spec"]["volumes"]);
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).expect("a volume");
        let (secret, certificates) = (&volume["secret"]["secretName"], self.kind("Certificate"));
        let found = certificates.into_iter().find(|object| object["spec"]["secretName"] == *secret);
        found.unwrap_or_else(|| panic!("nobody makes {secret}"))
    }

    /// Issues a Deployment's certificate as cert-manager would, and lays it out as the kubelet would; `more` are names that it is
    /// for besides. The variables that name its files follow.
    fn certify(&self, authority: &Authority, deployment: &str, more: &[&str], folder: &Path) -> Vec<(String, String)> {
        let spec = &self.certificate(deployment)["spec"];
        let names =
            list(&spec["dnsNames"]).iter().chain(list(&spec["uris"])).map(|name| name.as_str().expect("a name"));
        let names: Vec<_> = names.chain(more.iter().copied()).collect();
        let usages = list(&spec["usages"]).iter().filter_map(|usage| match usage.as_str().expect("a usage") {
            "server auth" => Some(ExtendedKeyUsagePurpose::ServerAuth),
            "client auth" => Some(ExtendedKeyUsagePurpose::ClientAuth),
            _ => None,
        });
        let certificate = authority.issue_with(&names, |params| params.extended_key_usages = usages.collect());
        let folder = folder.join(deployment);
        std::fs::create_dir(&folder).expect("a folder");
        certificate.write(&folder, "tls");
        std::fs::copy(authority.file(), folder.join("ca.crt")).expect("copied");
        let mut variables = self.variables(deployment);
        for (_, value) in &mut variables {
            *value = value.replace("/etc/grpc/certs", folder.to_str().expect("UTF-8"));
        }
        variables
    }

    /// Lays out the volume that the gateway finds its configuration in, as the kubelet would.
    fn mount(&self, folder: &Path) -> PathBuf {
        let volumes = list(&self.named("Deployment", "gateway-service")["spec"]["template"]["spec"]["volumes"]);
        let config = volumes.iter().find(|volume| volume["name"] == "config").expect("a volume");
        for source in list(&config["projected"]["sources"]) {
            let map = self.named("ConfigMap", &text(&source["configMap"]["name"]));
            for item in list(&source["configMap"]["items"]) {
                let (key, path) = (text(&item["key"]), folder.join(text(&item["path"])));
                let content = match map["data"][&key].as_str() {
                    Some(content) => content.as_bytes().to_vec(),
                    None => STANDARD.decode(text(&map["binaryData"][&key]).replace('\n', "")).expect("base64"),
                };
                std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
                std::fs::write(path, content).expect("written");
            }
        }
        folder.join("transom.yaml")
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn decoded(base64: &Value) -> String {
    String::from_utf8(STANDARD.decode(text(base64)).expect("base64")).expect("UTF-8")
}

#[test]
fn the_gateway_is_what_the_booking_system_expects() {
    let objects = Objects::production();
    let gateway = objects.named("Deployment", "gateway-service");
    // Three, and how many more is not for an `apply` to undo.
    assert_eq!(gateway["spec"]["replicas"], Value::Null);
    assert_eq!(objects.named("HorizontalPodAutoscaler", "gateway-service")["spec"]["minReplicas"], 3);
    let container = objects.container("gateway-service");
    assert_eq!((&container["name"], &container["image"]), (&"gateway".into(), &"booking-system/gateway:0.1.0".into()));
    let certificates = list(&container["volumeMounts"]).iter().find(|mount| mount["name"] == "grpc-certs");
    let certificates = certificates.expect("a mount");
    assert_eq!((&certificates["mountPath"], &certificates["readOnly"]), (&"/etc/grpc/certs".into(), &true.into()));
    let volumes = list(&gateway["spec"]["template"]["spec"]["volumes"]);
    assert!(volumes.iter().any(|volume| volume["secret"]["secretName"] == "grpc-tls-certs"), "{volumes:#?}");

    // Development has the secrets that production keeps elsewhere.
    let variables = Objects::development().variables("gateway-service");
    let says = |name: &str| variables.iter().find(|(variable, _)| variable == name).map(|(_, value)| value.as_str());
    assert_eq!(says("REDIS_URL"), Some("redis://redis-service:6379"));
    assert_eq!(says("GRPC_AUTH_SERVICE_URL"), Some("auth-service:50051"));
    assert_eq!(says("GRPC_TICKET_SERVICE_URL"), Some("ticket-service:50052"));
    assert!(says("JWT_SECRET").is_some_and(|secret| secret.len() >= 32));
    assert!(objects.kind("Secret").is_empty());
}

#[test]
fn every_name_leads_somewhere() {
    for objects in [Objects::development(), Objects::production()] {
        for (name, port) in SERVICES {
            let service = objects.named("Service", &format!("{name}-service"));
            assert_eq!(service["spec"]["clusterIP"], "None", "{name}: its name must stand for its pods");
            assert_eq!(service["spec"]["ports"][0]["port"], port);
            assert_eq!(objects.container(&format!("{name}-service"))["ports"][0]["containerPort"], port);
        }
        for (name, port) in SERVICES {
            let deployment = format!("{name}-service");
            let pod = &objects.named("Deployment", &deployment)["spec"]["template"]["spec"];
            assert_eq!(pod["serviceAccountName"], deployment);
            objects.named("ServiceAccount", &deployment);
            // It is asked for by the name of its Service, and by that of its account.
            let spec = &objects.certificate(&deployment)["spec"];
            assert_eq!(list(&spec["dnsNames"]), [&*deployment]);
            assert_eq!(list(&spec["uris"]), [format!("spiffe://cluster.local/ns/booking/sa/{deployment}")]);
            // Who may call it are others of these.
            let mut variables = list(&objects.container(&deployment)["env"]).iter();
            let callers = text(&variables.find(|it| it["name"] == "GRPC_TLS_CALLERS").expect("callers")["value"]);
            for caller in callers.split(',') {
                let caller = caller.rsplit('/').next().unwrap_or_default();
                assert_ne!(caller, deployment);
                let of = &objects.certificate(caller)["spec"]["uris"][0];
                assert!(callers.split(',').any(|caller| of == caller), "{deployment}: {of}");
            }
            // The kubelet has no certificate: what it asks is not where the calls go.
            let container = objects.container(&deployment);
            let health = &container["ports"][1];
            assert_eq!((&health["name"], health["containerPort"] == port), (&"health".into(), false));
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                assert_eq!(container[probe]["grpc"]["port"], health["containerPort"], "{deployment}: {probe}");
            }
        }
        let pods: Vec<&Value> = objects.kind("Deployment").iter().map(|object| &object["spec"]["template"]).collect();
        let selects = |selector: &Value| {
            let selector = selector.as_object().cloned().unwrap_or_default();
            pods.iter().any(|pod| selector.iter().all(|(label, value)| pod["metadata"]["labels"][label] == *value))
        };
        for service in objects.kind("Service") {
            assert!(selects(&service["spec"]["selector"]), "{service:#}");
        }
        for object in objects.kind("NetworkPolicy") {
            let spec = &object["spec"];
            // No pod may call the whole world.
            assert!(list(&spec["egress"]).iter().all(|rule| !list(&rule["to"]).is_empty()), "{object:#}");
            let rules = list(&spec["ingress"]).iter().chain(list(&spec["egress"]));
            let peers = rules.flat_map(|rule| list(&rule["from"]).iter().chain(list(&rule["to"])));
            let selectors = peers.filter_map(|peer| peer.get("podSelector")).chain([&spec["podSelector"]]);
            for selector in selectors {
                assert!(selects(&selector["matchLabels"]), "{object:#}");
            }
        }
        for pod in pods {
            let (pod, container) = (&pod["spec"], &pod["spec"]["containers"][0]);
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
            assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
            assert_eq!(container["securityContext"]["capabilities"]["drop"][0], "ALL");
            assert!(container["resources"]["limits"]["memory"].is_string());
        }
    }
}

/// The manifests, to be changed.
fn copy() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for part in ["k8s", "descriptors"] {
        let copied = Command::new("cp").arg("-r").arg(Path::new(ROOT).join(part)).arg(folder.path()).status();
        assert!(copied.expect("cp runs").success());
    }
    folder
}

#[test]
fn pods_can_be_found_by_their_slices() {
    let tree = copy();
    let overlay = tree.path().join("k8s/overlays/slices");
    std::fs::create_dir(&overlay).expect("a folder");
    let text = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../development]\ncomponents: [../../components/endpointslices]\n";
    std::fs::write(overlay.join("kustomization.yaml"), text).expect("written");
    let objects = Objects::of_tree(tree.path(), "slices");
    let policy = objects.named("NetworkPolicy", "gateway-service");
    let to = list(&policy["spec"]["egress"][2]["to"]);
    assert!(!to.is_empty() && to.iter().all(|to| to["ipBlock"]["cidr"].is_string()), "{policy:#}");
    let rule = &objects.named("Role", "gateway-service")["rules"][0];
    assert_eq!(list(&rule["verbs"]), ["get", "list", "watch"]);
    let folder = tempfile::tempdir().expect("a folder");
    let variables = objects.certify(&Authority::new(), "gateway-service", &[], folder.path());
    for (name, port) in SERVICES {
        let url = format!("kubernetes://{name}-service:{port}");
        assert!(variables.iter().any(|(_, value)| *value == url), "no {url} in {variables:?}");
    }
    checks(&objects.mount(folder.path()), variables);
    // The services still call each other by names that they understand.
    for (name, _) in SERVICES {
        let variables = objects.variables(&format!("{name}-service"));
        assert!(variables.iter().all(|(_, value)| !value.contains("kubernetes://")), "{variables:?}");
    }
}

#[test]
fn what_becomes_variables_rolls_the_pods_out() {
    let before = Objects::development();
    let tree = copy();
    let change = |file: &str, from: &str, to: &str| {
        let path = tree.path().join(file);
        let text = std::fs::read_to_string(&path).expect("a file");
        assert!(text.contains(from), "{file} has no {from}");
        std::fs::write(path, text.replace(from, to)).expect("written");
    };
    change("k8s/base/kustomization.yaml", "=ticket-service:50052", "=tickets.example.com:50052");
    change("k8s/overlays/development/kustomization.yaml", "ADMIN_TOKEN=development", "ADMIN_TOKEN=other");
    change("k8s/base/transom.yaml", "drain_timeout: 30s", "drain_timeout: 29s");
    let after = Objects::of_tree(tree.path(), "development");
    let names = |objects: &Objects| {
        let container = objects.container("gateway-service");
        let token = list(&container["env"]).iter().find(|variable| variable["name"] == "ADMIN_TOKEN").expect("it");
        let map = text(&container["envFrom"][0]["configMapRef"]["name"]);
        (map, text(&token["valueFrom"]["secretKeyRef"]["name"]))
    };
    let ((map, secret), (map_after, secret_after)) = (names(before), names(&after));
    assert!(map != map_after && secret != secret_after, "{map} {secret}");
    // What is mounted is reloaded.
    let volumes = |objects: &Objects| {
        objects.named("Deployment", "gateway-service")["spec"]["template"]["spec"]["volumes"].clone()
    };
    assert_eq!(volumes(before), volumes(&after));
}

#[test]
fn a_field_that_does_not_exist_is_seen() {
    let replace = |file: &str, from: &str, to: &str| {
        let folder = copy();
        let path = folder.path().join(file);
        let text = std::fs::read_to_string(&path).expect("a file");
        assert!(text.contains(from), "{file} has no {from}");
        std::fs::write(path, text.replacen(from, to, 1)).expect("written");
        let output = render(folder.path(), "production");
        assert!(!output.status.success(), "{to} passes");
        String::from_utf8(output.stderr).expect("UTF-8")
    };
    let said = replace("k8s/base/gateway.yaml", "startupProbe:", "startProbe:");
    assert!(said.contains("Deployment gateway-service") && said.contains("startProbe"), "{said}");
    let said = replace("k8s/base/certificates.yaml", "renewBefore:", "renewBeforehand:");
    assert!(said.contains("Certificate grpc-tls-certs: an unknown field"), "{said}");
}

#[test]
fn the_rendered_configuration_has_no_problems() {
    for objects in [Objects::development(), Objects::production()] {
        let folder = tempfile::tempdir().expect("a folder");
        let config = objects.mount(folder.path());
        // Secrets are development's: what they hold is no structure.
        let variables = Objects::development().certify(&Authority::new(), "gateway-service", &[], folder.path());
        checks(&config, variables);
    }
}

/// The sum of docs/OPERATIONS.md ("Memory"), streams included.
#[test]
fn what_clients_can_take_fits_into_the_gateways_pod() {
    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
    for objects in [Objects::development(), Objects::production()] {
        let folder = tempfile::tempdir().expect("a folder");
        let text = std::fs::read_to_string(objects.mount(folder.path())).expect("a file");
        let variables = Objects::development().variables("gateway-service");
        let lookup = |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let config = transom::config::parse(&text, &lookup).expect("a configuration");
        let (clients, overload) = (&config.clients, &config.overload);
        let sum = 22 * MIB
            + clients.connections * (20 * KIB + 2 * clients.head_size)
            + overload.in_flight * (3 * clients.head_size + 256 * KIB + 640 * KIB)
            + 2 * overload.memory
            + config.cache.size
            // Tokens, the burst guard's buckets, the log.
            + 64 * MIB
            + 128 * MIB
            + MIB;
        let most = limit(objects);
        assert!(sum <= most, "{} MiB of {}", sum / MIB, most / MIB);
    }
}

/// Bytes of memory that the gateway's container may have.
fn limit(objects: &Objects) -> usize {
    let limit = text(&objects.container("gateway-service")["resources"]["limits"]["memory"]);
    let (number, unit) = limit.split_at(limit.len() - 2);
    number.parse::<usize>().expect("a number") << if unit == "Gi" { 30 } else { 20 }
}

/// `transom check` has nothing to say of it.
fn checks(config: &Path, variables: Vec<(String, String)>) {
    let mut check = Command::new(env!("CARGO_BIN_EXE_transom"));
    let check = check.args(["check", "--config"]).arg(config).env_clear().envs(variables).output();
    let check = check.expect("the command runs");
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
}

#[cfg(feature = "demo")]
mod runs {
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};

    use serde_json::json;
    use tonic::transport::Endpoint;
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;

    use super::*;
    use crate::support::client::Call;
    use crate::support::process::Process;
    use crate::support::redis::redis_with;
    use crate::support::soon;
    use crate::support::tls::{client, tunnel};

    /// Asks for its health, in the clear.
    async fn is_serving(address: SocketAddr) -> bool {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let request = HealthCheckRequest::default();
        let check = async { HealthClient::new(endpoint.connect().await.ok()?).check(request).await.ok() };
        soon("an answer, or none", check).await.is_some()
    }

    /// The pods of development with production's replicas, as processes of this machine: their own arguments and variables, but for
    /// where a name leads.
    #[tokio::test]
    async fn three_replicas_and_five_services_are_one_system() {
        let objects = Objects::development();
        let folder = tempfile::tempdir().expect("a folder");
        let config = objects.mount(folder.path());
        let password = objects.variables("redis-service").remove(0).1;
        let redis = redis_with(&["--requirepass", &password]).await;
        // Below those that the system gives to connections: the other tests' take none of them until a pod does.
        let first = 20_000 + u16::try_from(std::process::id() % 8_000).unwrap();
        let mut later = (first..).filter(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok());
        let mut free = || later.next().expect("a port");
        let ports = SERVICES.map(|(name, port)| (format!("{name}-service:{port}"), port, free()));
        let health = SERVICES.map(|(name, _)| (format!("{name}-service"), free()));
        let authority = Authority::new();
        let here = |deployment: &str, mine: &[(&str, &str)]| -> Vec<(String, String)> {
            let replica = tempfile::tempdir_in(folder.path()).expect("a folder").keep();
            // Names lead to this machine, and services are asked for by name. The gateway asks for their accounts.
            let mut variables = objects.certify(&authority, deployment, &["localhost", "127.0.0.1"], &replica);
            for (_, value) in &mut variables {
                if let Some((.., port)) = ports.iter().find(|(name, ..)| name == value) {
                    *value = format!("localhost:{port}");
                }
                *value = value.replace("redis-service:6379", &redis.address().to_string());
            }
            variables.extend(mine.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
            variables
        };
        let start = |deployment: &str, mine: &[(&str, &str)]| {
            let mut arguments: Vec<String> = list(&objects.container(deployment)["args"]).iter().map(text).collect();
            for argument in &mut arguments {
                if let Some((.., port)) = ports.iter().find(|(_, port, _)| port.to_string() == *argument) {
                    *argument = port.to_string();
                }
                if let Some((_, port)) = health.iter().find(|(name, _)| name == deployment && *argument == "8081") {
                    *argument = port.to_string();
                }
                *argument = argument.replace("/etc/transom/transom.yaml", config.to_str().unwrap());
            }
            let variables = here(deployment, mine);
            let variables: Vec<_> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
            Process::start(&arguments.iter().map(|argument| &**argument).collect::<Vec<_>>(), &variables)
        };
        let _services = SERVICES.map(|(name, _)| start(&format!("{name}-service"), &[]));
        let replicas =
            [(); 3].map(|()| start("gateway-service", &[("PORT", "0"), ("ADMIN_PORT", "0"), ("WORKERS", "1")]));

        let call = |replica: usize, method: &str, path: &str| Call::new(replicas[replica].address, method, path);
        let account = json!({ "email": "grace@example.com", "password": "compiler-1952", "firstName": "Grace" });
        call(0, "POST", "/api/v1/auth/register").json(&account).await.status(201);
        let login = json!({ "email": "grace@example.com", "password": "compiler-1952" });
        let session = call(1, "POST", "/api/v1/auth/login").json(&login).await.status(200).value();
        let bearer = format!("Bearer {}", text(&session["accessToken"]));
        let bookings = call(2, "GET", "/api/v1/bookings").header("authorization", &bearer).await;
        bookings.status(200);
        // What takes four services: each calls the next by its own certificate.
        let reserve = call(0, "POST", "/api/v1/events/evt-001/tickets:reserve").header("authorization", &bearer);
        let reservation = reserve.json(&json!({ "quantity": 2 })).await.status(201).value();
        let book = call(1, "POST", "/api/v1/bookings").header("authorization", &bearer);
        book.json(&json!({ "reservationId": reservation["reservationId"] })).await.status(201);

        for ((name, _), (_, health)) in SERVICES.iter().zip(&health) {
            let (.., port) = ports.iter().find(|(service, ..)| service.starts_with(name)).expect("its port");
            let calls = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
            // The kubelet's probe, which comes without a certificate.
            let told = SocketAddr::from((Ipv4Addr::LOCALHOST, *health));
            assert!(is_serving(told).await, "{name} tells no health");
            assert!(!is_serving(calls).await, "{name} takes calls in the clear");
            for (own, welcome) in [
                (None, false),
                (Some(Authority::new().issue(&["gateway-service"])), false),
                (Some(authority.issue(&["gateway-service"])), false),
                (Some(authority.issue(&["spiffe://cluster.local/ns/booking/sa/redis-service"])), false),
                (Some(authority.issue(&["spiffe://cluster.local/ns/booking/sa/gateway-service"])), true),
            ] {
                let shown = tunnel(calls, client(&authority, own.as_ref(), &["h2"])).await;
                assert_eq!(is_serving(shown).await, welcome, "{name}");
            }
        }

        // Five logins a minute for one account, wherever they come in: one is used up.
        let wrong = json!({ "email": "grace@example.com", "password": "guessed" });
        for guess in 0..4 {
            call(guess % 3, "POST", "/api/v1/auth/login").json(&wrong).await.status(401);
        }
        for replica in 0..3 {
            call(replica, "POST", "/api/v1/auth/login").json(&wrong).await.status(429);
        }

        for replica in &replicas {
            let admin = replica.admin.expect("an admin port");
            for probe in ["/startupz", "/livez", "/readyz"] {
                Call::new(admin, "GET", probe).await.status(200);
            }
        }
    }
}
