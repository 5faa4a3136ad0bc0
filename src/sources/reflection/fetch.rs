//! One round of questions: which services, which files declare them, which files those import. All of it is bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use transom_transcode::schema::{DescriptorFile, descriptor_set};

use super::session::Session;
use crate::config::{self, Upstream};
use crate::fetch::Causes;
use crate::tls::Connector;

/// Time to connect to one endpoint, and to talk with it.
const CONNECT: Duration = Duration::from_secs(2);
const TALK: Duration = Duration::from_secs(20);
/// Files of one upstream, and bytes of them all.
const MAX_FILES: usize = 5_000;
const MAX_BYTES: usize = 64 << 20;
/// Services that a server may list.
const MAX_SERVICES: usize = 10_000;

/// What an upstream says of the services that are assigned to it, as a binary `FileDescriptorSet`; the same answers give
/// the same bytes. The first endpoint that answers speaks for all. It is asked as it is called: where the upstream has `tls`, it
/// must be who it must be, and sees our certificate; the files are read for each round, from `folder` where they are relative.
pub(super) async fn fetch(upstream: &Upstream, folder: &Path) -> Result<Bytes, String> {
    let mut reasons = Vec::new();
    let tls = match &upstream.tls {
        None => None,
        Some(written) => Some(Connector::compile(written, &upstream.endpoints, folder, None).map_err(|wrong| {
            let told = wrong.iter().map(|(key, why)| format!("tls.{key} {why}"));
            told.collect::<Vec<_>>().join("; ")
        })?),
    };
    for endpoint in &upstream.endpoints {
        let answer = tokio::time::timeout(TALK, ask(endpoint, tls.as_ref(), &upstream.services)).await;
        let why = match answer {
            Ok(Ok(set)) => return Ok(set),
            Ok(Err(why)) => why,
            Err(_) => format!("no answer within {TALK:?}"),
        };
        reasons.push(format!("{}: {why}", endpoint.place));
    }
    Err(reasons.join("; "))
}

async fn ask(endpoint: &config::Endpoint, tls: Option<&Arc<Connector>>, services: &[String]) -> Result<Bytes, String> {
    let place = endpoint.place.to_string();
    let uri = Endpoint::from_shared(format!("http://{place}")).map_err(|error| error.to_string())?;
    let uri = uri.connect_timeout(CONNECT);
    let channel = match tls {
        None => uri.connect().await,
        Some(tls) => {
            let origin = Uri::try_from(format!("https://{place}")).map_err(|error| error.to_string())?;
            let tls = tls.clone();
            let secure = tower::service_fn(move |_: Uri| {
                let (tls, place) = (tls.clone(), place.clone());
                async move {
                    let socket = TcpStream::connect(place).await?;
                    let address = socket.peer_addr()?.ip();
                    tls.connect(socket, address).await.map(TokioIo::new)
                }
            });
            uri.origin(origin).connect_with_connector(secure).await
        }
    };
    let channel = channel.map_err(|error| Causes(&error).to_string())?;
    let mut round = Round::start(channel, services).await?;
    round.follow_imports().await?;
    let Round { files, .. } = round;
    Ok(descriptor_set(files.values()).into())
}

/// The questions of one round and what came of them.
struct Round {
    channel: Channel,
    session: Option<Session>,
    files: BTreeMap<String, DescriptorFile>,
    bytes: usize,
}

impl Round {
    /// The files that declare those of the services that the server lists.
    async fn start(channel: Channel, services: &[String]) -> Result<Self, String> {
        let (session, listed) = Session::open(&channel, MessageRequest::ListServices("*".to_owned()))
            .await
            .map_err(|status| say(&status))?;
        let MessageResponse::ListServicesResponse(listed) = listed else {
            return Err("it answers something else than was asked".to_owned());
        };
        if listed.service.len() > MAX_SERVICES {
            return Err(format!("it lists more than {MAX_SERVICES} services"));
        }
        let listed: BTreeSet<_> = listed.service.into_iter().map(|service| service.name).collect();
        let mut round = Self { channel, session: Some(session), files: BTreeMap::new(), bytes: 0 };
        for service in services.iter().filter(|service| listed.contains(*service)) {
            round.ask(MessageRequest::FileContainingSymbol(service.clone())).await.map_err(|status| say(&status))?;
        }
        Ok(round)
    }

    /// Every file that the files import. What the server does not have is nothing that its messages are made of.
    async fn follow_imports(&mut self) -> Result<(), String> {
        let mut asked = BTreeSet::new();
        loop {
            let imports = self.files.values().flat_map(|file| file.outline().imports);
            let missing: BTreeSet<_> = imports.filter(|name| self.wants(name) && !asked.contains(name)).collect();
            if missing.is_empty() {
                return Ok(());
            }
            for name in missing {
                match self.ask(MessageRequest::FileByFilename(name.clone())).await {
                    Ok(()) => {}
                    Err(status) if matches!(status.code(), Code::NotFound | Code::InvalidArgument | Code::Unknown) => {}
                    Err(status) => return Err(say(&status)),
                }
                asked.insert(name);
            }
        }
    }

    /// The well-known types are built in.
    fn wants(&self, name: &str) -> bool {
        !self.files.contains_key(name) && !name.starts_with("google/protobuf/")
    }

    async fn ask(&mut self, question: MessageRequest) -> Result<(), Status> {
        let answer = match &mut self.session {
            Some(session) => session.ask(question).await,
            // Some servers end the conversation with their first error.
            None => Session::open(&self.channel, question).await.map(|(session, answer)| {
                self.session = Some(session);
                answer
            }),
        };
        let answer = answer.inspect_err(|_| self.session = None)?;
        let MessageResponse::FileDescriptorResponse(answer) = answer else {
            return Err(Status::failed_precondition("it answers something else than was asked"));
        };
        for file in DescriptorFile::all_of(&answer.file_descriptor_proto) {
            self.bytes = self.bytes.saturating_add(file.bytes().len());
            self.files.entry(file.name().to_owned()).or_insert(file);
        }
        if self.files.len() > MAX_FILES || self.bytes > MAX_BYTES {
            return Err(Status::failed_precondition(format!(
                "it answers more than {MAX_FILES} files or {MAX_BYTES} bytes of them"
            )));
        }
        Ok(())
    }
}

fn say(status: &Status) -> String {
    match status.code() {
        Code::Unimplemented => "it does not serve grpc.reflection.v1 or v1alpha".to_owned(),
        code => format!("{code:?}: {}", status.message()),
    }
}
