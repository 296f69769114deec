#include "server/service.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/text_call.h"
#include "server/tokenize.h"

namespace mneme::server {
namespace {

// Parses `request`, runs `handler` (const Request&, Reply*) -> absl::Status and fills the reply.
template <class Request, class Reply, class Handler>
absl::Status Answer(const grpc::ByteBuffer& request, grpc::ByteBuffer* reply, Handler handler) {
  grpc::ByteBuffer bytes(request);
  Request parsed;
  if (!grpc::SerializationTraits<Request>::Deserialize(&bytes, &parsed).ok()) {
    return NotA(Request::descriptor()->full_name());
  }
  Reply answer;
  const absl::Status status = handler(parsed, &answer);
  if (!status.ok()) return status;
  bool own_buffer = false;
  if (!grpc::SerializationTraits<Reply>::Serialize(answer, reply, &own_buffer).ok()) {
    return absl::InternalError("reply: cannot be serialized");
  }
  return absl::OkStatus();
}

std::string RandomPrefix() {
  std::random_device device;
  return absl::StrCat("gen-", absl::Hex(device(), absl::kZeroPad8), "-");
}

TextLimits LimitsOf(const CallContext& shared) {
  const loader::Tokenizer* tokenizer = shared.engine->tokenizer();
  TextLimits limits;
  limits.vocab_size = static_cast<int32_t>(shared.engine->model().vocab_size);
  if (tokenizer != nullptr) {
    limits.vocab_size = std::max(limits.vocab_size, tokenizer->vocab_size());
  }
  limits.max_message_bytes = shared.limits.max_message_bytes;
  return limits;
}

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
  return TextCall::Start(
      shared_, {"tokenize", context, request, reply},
      [this](const grpc::ByteBuffer& in, grpc::ByteBuffer* out) {
        return Answer<v1::TokenizeRequest, v1::TokenizeReply>(
            in, out, [this](const v1::TokenizeRequest& parsed, v1::TokenizeReply* answer) {
              return server::Tokenize(parsed, shared_.engine->tokenizer(), LimitsOf(shared_),
                                      answer);
            });
      });
}

grpc::ServerUnaryReactor* GenerationService::Detokenize(grpc::CallbackServerContext* context,
                                                        const grpc::ByteBuffer* request,
                                                        grpc::ByteBuffer* reply) {
  return TextCall::Start(
      shared_, {"detokenize", context, request, reply},
      [this](const grpc::ByteBuffer& in, grpc::ByteBuffer* out) {
        return Answer<v1::DetokenizeRequest, v1::DetokenizeReply>(
            in, out, [this](const v1::DetokenizeRequest& parsed, v1::DetokenizeReply* answer) {
              return server::Detokenize(parsed, shared_.engine->tokenizer(), LimitsOf(shared_),
                                        answer);
            });
      });
}

grpc::ServerUnaryReactor* GenerationService::GetModel(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* request,
                                                      grpc::ByteBuffer* reply) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(Answer<v1::GetModelRequest, v1::GetModelReply>(
      *request, reply, [this](const v1::GetModelRequest&, v1::GetModelReply* out) {
        *out = model_;
        return absl::OkStatus();
      })));
  return reactor;
}

grpc::ServerUnaryReactor* GenerationService::GetStats(grpc::CallbackServerContext* context,
                                                      const grpc::ByteBuffer* request,
                                                      grpc::ByteBuffer* reply) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(Answer<v1::GetStatsRequest, v1::GetStatsReply>(
      *request, reply, [this](const v1::GetStatsRequest&, v1::GetStatsReply* out) {
        ToProto(shared_.engine->stats(), out);
        out->set_uptime_seconds(
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count());
        return absl::OkStatus();
      })));
  return reactor;
}

}  // namespace mneme::server
