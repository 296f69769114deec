#include "clients/cpp/client.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mneme::client {
namespace {

std::chrono::system_clock::time_point DeadlineAfter(absl::Duration timeout) {
  // Beyond a century gRPC's own arithmetic would overflow.
  if (timeout > absl::Hours(24 * 365)) return std::chrono::system_clock::time_point::max();
  return std::chrono::system_clock::now() + absl::ToChronoMicroseconds(timeout);
}

// Unary calls are short; a server that does not answer in this time is gone.
constexpr absl::Duration kUnaryTimeout = absl::Seconds(60);

}  // namespace

absl::Status ToAbslStatus(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

void GenerateResult::Add(const v1::GenerateReply& reply) {
  request_id = reply.request_id();
  for (const v1::PositionLogprobs& position : reply.prompt_logprobs()) {
    prompt_logprobs.push_back(position);
  }
  for (const v1::ChoiceDelta& delta : reply.choices()) {
    // A server numbers choices from 0 to 63; anything else is not one of ours and is dropped.
    if (delta.index() < 0 || delta.index() >= 64) continue;
    const size_t index = static_cast<size_t>(delta.index());
    if (choices.size() <= index) choices.resize(index + 1);
    Choice& choice = choices[index];
    choice.text += delta.text();
    choice.token_ids.insert(choice.token_ids.end(), delta.token_ids().begin(),
                            delta.token_ids().end());
    choice.logprobs.insert(choice.logprobs.end(), delta.logprobs().begin(), delta.logprobs().end());
    if (delta.finish_reason() != v1::FINISH_REASON_UNSPECIFIED) {
      choice.finish_reason = delta.finish_reason();
    }
    if (delta.has_stop_string()) choice.stop_string = delta.stop_string();
    if (delta.has_stop_token_id()) choice.stop_token_id = delta.stop_token_id();
  }
  if (reply.has_usage()) usage = reply.usage();
}

GenerateStream::~GenerateStream() {
  if (finished_) return;
  Cancel();
  (void)Finish();
}

bool GenerateStream::Next(v1::GenerateReply* reply) { return reader_->Read(reply); }

void GenerateStream::Cancel() { context_.TryCancel(); }

absl::Status GenerateStream::Finish() {
  finished_ = true;
  return ToAbslStatus(reader_->Finish());
}

Client::Client(std::shared_ptr<grpc::Channel> channel)
    : channel_(std::move(channel)), stub_(v1::Generation::NewStub(channel_)) {}

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(const ClientOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(options.max_message_bytes);
  // A server that was restarted is found again at once, not after gRPC's usual second.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  std::shared_ptr<grpc::Channel> channel =
      grpc::CreateCustomChannel(options.address, grpc::InsecureChannelCredentials(), arguments);
  if (!channel->WaitForConnected(DeadlineAfter(options.connect_timeout))) {
    return absl::UnavailableError(absl::StrCat("no server answers at ", options.address,
                                               " (waited ",
                                               absl::FormatDuration(options.connect_timeout), ")"));
  }
  return std::unique_ptr<Client>(new Client(std::move(channel)));
}

std::unique_ptr<GenerateStream> Client::Start(const v1::GenerateRequest& request,
                                              const CallOptions& options) {
  std::unique_ptr<GenerateStream> stream(new GenerateStream());
  stream->context_.set_deadline(DeadlineAfter(options.timeout));
  stream->reader_ = stub_->Generate(&stream->context_, request);
  return stream;
}

absl::StatusOr<GenerateResult> Client::Generate(
    const v1::GenerateRequest& request, const CallOptions& options,
    const std::function<bool(const v1::ChoiceDelta&)>& on_delta) {
  const std::unique_ptr<GenerateStream> stream = Start(request, options);
  GenerateResult result;
  v1::GenerateReply reply;
  bool wanted = true;
  while (wanted && stream->Next(&reply)) {
    result.Add(reply);
    for (const v1::ChoiceDelta& delta : reply.choices()) {
      if (on_delta && wanted && !on_delta(delta)) wanted = false;
    }
  }
  if (!wanted) stream->Cancel();
  const absl::Status status = stream->Finish();
  if (!wanted) return absl::CancelledError("cancelled by the caller");
  if (!status.ok()) return status;
  return result;
}

absl::StatusOr<std::vector<int32_t>> Client::Tokenize(const std::string& text,
                                                      bool add_special_tokens) {
  v1::TokenizeRequest request;
  request.set_text(text);
  request.set_add_special_tokens(add_special_tokens);
  v1::TokenizeReply reply;
  grpc::ClientContext context;
  context.set_deadline(DeadlineAfter(kUnaryTimeout));
  const grpc::Status status = stub_->Tokenize(&context, request, &reply);
  if (!status.ok()) return ToAbslStatus(status);
  return std::vector<int32_t>(reply.token_ids().begin(), reply.token_ids().end());
}

absl::StatusOr<std::string> Client::Detokenize(const std::vector<int32_t>& token_ids,
                                               bool skip_special_tokens) {
  v1::DetokenizeRequest request;
  request.mutable_token_ids()->Add(token_ids.begin(), token_ids.end());
  request.set_skip_special_tokens(skip_special_tokens);
  v1::DetokenizeReply reply;
  grpc::ClientContext context;
  context.set_deadline(DeadlineAfter(kUnaryTimeout));
  const grpc::Status status = stub_->Detokenize(&context, request, &reply);
  if (!status.ok()) return ToAbslStatus(status);
  return std::move(*reply.mutable_text());
}

absl::StatusOr<v1::GetModelReply> Client::GetModel() {
  v1::GetModelReply reply;
  grpc::ClientContext context;
  context.set_deadline(DeadlineAfter(kUnaryTimeout));
  const grpc::Status status = stub_->GetModel(&context, v1::GetModelRequest(), &reply);
  if (!status.ok()) return ToAbslStatus(status);
  return reply;
}

absl::StatusOr<v1::GetStatsReply> Client::GetStats() {
  v1::GetStatsReply reply;
  grpc::ClientContext context;
  context.set_deadline(DeadlineAfter(kUnaryTimeout));
  const grpc::Status status = stub_->GetStats(&context, v1::GetStatsRequest(), &reply);
  if (!status.ok()) return ToAbslStatus(status);
  return reply;
}

}  // namespace mneme::client
