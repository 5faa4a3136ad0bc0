//! `grpc.reflection.v1` and `v1alpha` of the services that clients reach.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt as _};
use tonic::{Code, Response, Status, Streaming};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::server_reflection_server::{ServerReflection, ServerReflectionServer};
use tonic_reflection::pb::v1::{
    ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse, ServerReflectionRequest,
    ServerReflectionResponse, ServiceResponse,
};
use tonic_reflection::pb::v1alpha;
use tonic_reflection::pb::v1alpha::server_reflection_server::{
    ServerReflection as Alpha, ServerReflectionServer as AlphaServer,
};

use super::grpc_farewell::until_closed;
use crate::gateway::State;
use crate::sources::in_other_version;

/// Reads the snapshot at each question: after a reload it answers the new schema, also in a conversation that was open.
#[derive(Clone)]
pub(super) struct GrpcReflection {
    state: Arc<State>,
}

impl GrpcReflection {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state }
    }

    pub(super) fn into_services(self) -> (ServerReflectionServer<Self>, AlphaServer<Self>) {
        (ServerReflectionServer::new(self.clone()), AlphaServer::new(self))
    }

    /// The answer to one question; what is not there is an error in it and does not end the conversation.
    fn answer(&self, request: ServerReflectionRequest) -> ServerReflectionResponse {
        let answer = request.message_request.as_ref().map(|question| self.find(question));
        let message = answer.unwrap_or(Err((Code::InvalidArgument, "no question")));
        let message = message.unwrap_or_else(|(code, message)| {
            MessageResponse::ErrorResponse(ErrorResponse { error_code: code.into(), error_message: message.to_owned() })
        });
        ServerReflectionResponse {
            valid_host: request.host.clone(),
            original_request: Some(request),
            message_response: Some(message),
        }
    }

    fn find(&self, question: &MessageRequest) -> Result<MessageResponse, (Code, &'static str)> {
        let snapshot = self.state.snapshot.load();
        let (schema, Some(reflection)) = (&snapshot.schema, &snapshot.reflection) else {
            return Err((Code::Unimplemented, "reflection is not public here"));
        };
        let file = match question {
            MessageRequest::ListServices(_) => {
                let service = reflection.services().map(|name| ServiceResponse { name: name.to_owned() }).collect();
                return Ok(MessageResponse::ListServicesResponse(ListServiceResponse { service }));
            }
            MessageRequest::AllExtensionNumbersOfType(name) => {
                let numbers = reflection.extensions_of(schema, name).ok_or((Code::NotFound, "no such message"))?;
                let numbers = ExtensionNumberResponse { base_type_name: name.clone(), extension_number: numbers };
                return Ok(MessageResponse::AllExtensionNumbersResponse(numbers));
            }
            MessageRequest::FileByFilename(name) => reflection.file(name).ok_or("no such file"),
            MessageRequest::FileContainingSymbol(name) => reflection.declaring(schema, name).ok_or("no such symbol"),
            MessageRequest::FileContainingExtension(extension) => {
                reflection.extending(&extension.containing_type, extension.extension_number).ok_or("no such extension")
            }
        };
        let file = file.map_err(|message| (Code::NotFound, message))?;
        let file_descriptor_proto = vec![file.into()];
        Ok(MessageResponse::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto }))
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl ServerReflection for GrpcReflection {
    type ServerReflectionInfoStream = Answers<ServerReflectionResponse>;

    async fn server_reflection_info(
        &self,
        request: tonic::Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let this = self.clone();
        let answers = request.into_inner().map(move |asked| Ok(this.answer(asked?)));
        Ok(Response::new(Box::pin(until_closed(&self.state.drain, answers))))
    }
}

/// The messages of v1alpha are those of v1 under another name.
#[tonic::async_trait]
impl Alpha for GrpcReflection {
    type ServerReflectionInfoStream = Answers<v1alpha::ServerReflectionResponse>;

    async fn server_reflection_info(
        &self,
        request: tonic::Request<Streaming<v1alpha::ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let this = self.clone();
        let answers = request.into_inner().map(move |asked| in_other_version(&this.answer(in_other_version(&asked?)?)));
        Ok(Response::new(Box::pin(until_closed(&self.state.drain, answers))))
    }
}
