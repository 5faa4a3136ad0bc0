//! One conversation with a reflection server, in v1 or, where it does not speak that, in v1alpha, whose messages are the same.

use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use tonic_reflection::pb::v1alpha;
use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient as AlphaClient;

/// Bytes of one answer.
const MAX_ANSWER: usize = 16 << 20;

/// An open conversation.
pub(super) struct Session {
    wire: Wire,
}

enum Wire {
    V1(mpsc::Sender<ServerReflectionRequest>, Streaming<ServerReflectionResponse>),
    Alpha(mpsc::Sender<v1alpha::ServerReflectionRequest>, Streaming<v1alpha::ServerReflectionResponse>),
}

impl Session {
    /// Opens one with a first question, and gives its answer. Without a question some servers would not even send a head.
    pub(super) async fn open(channel: &Channel, first: MessageRequest) -> Result<(Self, MessageResponse), Status> {
        match Self::open_v1(channel, first.clone()).await {
            Err(status) if status.code() == Code::Unimplemented => Self::open_alpha(channel, first).await,
            opened => opened,
        }
    }

    async fn open_v1(channel: &Channel, first: MessageRequest) -> Result<(Self, MessageResponse), Status> {
        let (ask, asked) = mpsc::channel(1);
        let _ = ask.try_send(request(first));
        let mut client = ServerReflectionClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER);
        let answers = client.server_reflection_info(ReceiverStream::new(asked)).await?.into_inner();
        Self { wire: Wire::V1(ask, answers) }.opened().await
    }

    async fn open_alpha(channel: &Channel, first: MessageRequest) -> Result<(Self, MessageResponse), Status> {
        let (ask, asked) = mpsc::channel(1);
        let _ = ask.try_send(in_other_version(&request(first))?);
        let mut client = AlphaClient::new(channel.clone()).max_decoding_message_size(MAX_ANSWER);
        let answers = client.server_reflection_info(ReceiverStream::new(asked)).await?.into_inner();
        Self { wire: Wire::Alpha(ask, answers) }.opened().await
    }

    async fn opened(mut self) -> Result<(Self, MessageResponse), Status> {
        let answer = self.answer().await?;
        Ok((self, answer))
    }

    /// The answer to a question.
    pub(super) async fn ask(&mut self, question: MessageRequest) -> Result<MessageResponse, Status> {
        let sent = match &self.wire {
            Wire::V1(ask, _) => ask.send(request(question)).await.is_ok(),
            Wire::Alpha(ask, _) => ask.send(in_other_version(&request(question))?).await.is_ok(),
        };
        if !sent {
            return Err(Status::unavailable("the server has ended the conversation"));
        }
        self.answer().await
    }

    async fn answer(&mut self) -> Result<MessageResponse, Status> {
        let answer: Option<ServerReflectionResponse> = match &mut self.wire {
            Wire::V1(_, answers) => answers.message().await?,
            Wire::Alpha(_, answers) => answers.message().await?.as_ref().map(in_other_version).transpose()?,
        };
        match answer.and_then(|answer| answer.message_response) {
            Some(MessageResponse::ErrorResponse(error)) => {
                Err(Status::new(Code::from_i32(error.error_code), error.error_message))
            }
            Some(answer) => Ok(answer),
            None => Err(Status::unavailable("the server has ended the conversation")),
        }
    }
}

fn request(question: MessageRequest) -> ServerReflectionRequest {
    ServerReflectionRequest { host: String::new(), message_request: Some(question) }
}

/// The same message of the other version: they differ in their names alone.
///
/// # Errors
/// They differ in more.
pub fn in_other_version<M: Message + Default>(message: &impl Message) -> Result<M, Status> {
    M::decode(message.encode_to_vec().as_slice()).map_err(|error| Status::internal(error.to_string()))
}
