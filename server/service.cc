#include "server/service.h"

#include <random>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mneme::server {
namespace {

// Texts and id lists up to this size are converted on gRPC's thread.
constexpr size_t kInlineBytes = 8 << 10;

// Parses `request`, runs `handler` (const Request&, Reply*) -> absl::Status and sends the reply.
template <class Request, class Reply, class Handler>
void Answer(const grpc::ByteBuffer& request, grpc::ByteBuffer* reply,
            grpc::ServerUnaryReactor* reactor, Handler handler) {
  grpc::ByteBuffer bytes(request);
  Request parsed;
  if (!grpc::SerializationTraits<Request>::Deserialize(&bytes, &parsed).ok()) {
    reactor->Finish(ToGrpcStatus(absl::InvalidArgumentError(
        absl::StrCat("request: not a ", Request::descriptor()->full_name(),
                     " (a string that is not UTF-8 is one reason)"))));
    return;
  }
  Reply answer;
  const absl::Status status = handler(parsed, &answer);
  if (!status.ok()) {
    reactor->Finish(ToGrpcStatus(status));
    return;
  }
  bool own_buffer = false;
  reactor->Finish(grpc::SerializationTraits<Reply>::Serialize(answer, reply, &own_buffer));
}

// Likewise, on the worker when the request is large. The buffers live until the reactor finishes.
template <class Request, class Reply, class Handler>
void AnswerMaybeLater(Worker* worker, const grpc::ByteBuffer* request, grpc::ByteBuffer* reply,
                      grpc::ServerUnaryReactor* reactor, Handler handler) {
  const auto answer = [=] { Answer<Request, Reply>(*request, reply, reactor, handler); };
  if (request->Length() > kInlineBytes) {
    worker->Run(answer);
  } else {
    answer();
  }
}

std::string RandomPrefix() {
  std::random_device device;
  return absl::StrCat("gen-", absl::Hex(device(), absl::kZeroPad8), "-");
}

absl::Status NoTokenizer() { return absl::FailedPreconditionError("the model has no tokenizer"); }

}  // namespace

GenerationService::GenerationService(const CallContext* shared, v1::GetModelReply model)
    : shared_(*shared), model_(std::move(model)), id_prefix_(RandomPrefix()) {}

std::string GenerationService::NextId() {
  return absl::StrCat(id_prefix_, ids_made_up_.fetch_add(1, std::memory_order_relaxed) + 1);
}

grpc::ServerWriteReactor<grpc::ByteBuffer>* GenerationService::Generate(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  auto* call = new GenerateCall(shared_, *context, request, NextId());
  call->Start();
  return call;
}

grpc::ServerUnaryReactor* GenerationService::Tokenize(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* request,
                                                      grpc::ByteBuffer* reply) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const loader::Tokenizer* tokenizer = shared_.engine->tokenizer();
  AnswerMaybeLater<v1::TokenizeRequest, v1::TokenizeReply>(
      shared_.worker, request, reply, reactor,
      [tokenizer](const v1::TokenizeRequest& in, v1::TokenizeReply* out) -> absl::Status {
        if (tokenizer == nullptr) return NoTokenizer();
        const bool add_special = !in.has_add_special_tokens() || in.add_special_tokens();
        const absl::StatusOr<std::vector<int32_t>> ids = tokenizer->Encode(in.text(), add_special);
        if (!ids.ok()) {
          return absl::Status(ids.status().code(), absl::StrCat("text: ", ids.status().message()));
        }
        out->mutable_token_ids()->Add(ids->begin(), ids->end());
        return absl::OkStatus();
      });
  return reactor;
}

grpc::ServerUnaryReactor* GenerationService::Detokenize(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* request,
                                                        grpc::ByteBuffer* reply) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const loader::Tokenizer* tokenizer = shared_.engine->tokenizer();
  AnswerMaybeLater<v1::DetokenizeRequest, v1::DetokenizeReply>(
      shared_.worker, request, reply, reactor,
      [tokenizer](const v1::DetokenizeRequest& in, v1::DetokenizeReply* out) -> absl::Status {
        if (tokenizer == nullptr) return NoTokenizer();
        const bool skip_special = !in.has_skip_special_tokens() || in.skip_special_tokens();
        out->set_text(
            tokenizer->Decode(std::span<const int32_t>(in.token_ids().data(),
                                                       static_cast<size_t>(in.token_ids_size())),
                              skip_special));
        return absl::OkStatus();
      });
  return reactor;
}

grpc::ServerUnaryReactor* GenerationService::GetModel(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* request,
                                                      grpc::ByteBuffer* reply) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  Answer<v1::GetModelRequest, v1::GetModelReply>(
      *request, reply, reactor, [this](const v1::GetModelRequest&, v1::GetModelReply* out) {
        *out = model_;
        return absl::OkStatus();
      });
  return reactor;
}

grpc::ServerUnaryReactor* GenerationService::GetStats(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* request,
                                                      grpc::ByteBuffer* reply) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  Answer<v1::GetStatsRequest, v1::GetStatsReply>(
      *request, reply, reactor, [this](const v1::GetStatsRequest&, v1::GetStatsReply* out) {
        ToProto(shared_.engine->stats(), out);
        out->set_uptime_seconds(
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count());
        return absl::OkStatus();
      });
  return reactor;
}

}  // namespace mneme::server
