// A bare gRPC client for the server's tests: one call at a time, every reply kept.
#ifndef MNEME_SERVER_TEST_CLIENT_H_
#define MNEME_SERVER_TEST_CLIENT_H_

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/client_unary_call.h>

#include <memory>
#include <string>
#include <vector>

#include "proto/mneme/v1/generation.grpc.pb.h"
#include "server/server.h"

namespace mneme::server {

// A channel of its own to the server, so that calls of tests share no connection.
inline std::shared_ptr<grpc::Channel> TestChannel(const Server& server) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  return grpc::CreateCustomChannel(server.address(), grpc::InsecureChannelCredentials(), arguments);
}

struct GenerateOutcome {
  grpc::Status status;
  std::vector<v1::GenerateReply> replies;
  // Of choice 0.
  std::string text;
  std::vector<int32_t> token_ids;
  v1::FinishReason finish = v1::FINISH_REASON_UNSPECIFIED;
  v1::Usage usage;
};

inline void Collect(const v1::GenerateReply& reply, GenerateOutcome* out) {
  for (const v1::ChoiceDelta& delta : reply.choices()) {
    if (delta.index() != 0) continue;
    out->text += delta.text();
    out->token_ids.insert(out->token_ids.end(), delta.token_ids().begin(), delta.token_ids().end());
    if (delta.finish_reason() != v1::FINISH_REASON_UNSPECIFIED) out->finish = delta.finish_reason();
  }
  if (reply.has_usage()) out->usage = reply.usage();
  out->replies.push_back(reply);
}

inline GenerateOutcome Generate(const Server& server, const v1::GenerateRequest& request) {
  const std::unique_ptr<v1::Generation::Stub> stub = v1::Generation::NewStub(TestChannel(server));
  grpc::ClientContext context;
  const auto reader = stub->Generate(&context, request);
  GenerateOutcome out;
  v1::GenerateReply reply;
  while (reader->Read(&reply)) Collect(reply, &out);
  out.status = reader->Finish();
  return out;
}

inline std::string BytesOf(const grpc::ByteBuffer& buffer) {
  std::string bytes;
  std::vector<grpc::Slice> slices;
  if (!buffer.Dump(&slices).ok()) return bytes;
  for (const grpc::Slice& s : slices) {
    bytes.append(reinterpret_cast<const char*>(s.begin()), s.size());
  }
  return bytes;
}

// Calls `method` with the given bytes; for what typed stubs cannot send.
inline grpc::Status RawCall(const Server& server, const char* method, const std::string& request,
                            std::string* reply) {
  const std::shared_ptr<grpc::Channel> channel = TestChannel(server);
  const grpc::internal::RpcMethod rpc(method, grpc::internal::RpcMethod::NORMAL_RPC, channel);
  const grpc::Slice slice(request);
  const grpc::ByteBuffer bytes(&slice, 1);
  grpc::ClientContext context;
  grpc::ByteBuffer answer;
  const grpc::Status status = grpc::internal::BlockingUnaryCall<grpc::ByteBuffer, grpc::ByteBuffer>(
      channel.get(), rpc, &context, bytes, &answer);
  if (status.ok()) *reply = BytesOf(answer);
  return status;
}

// Sends one message on a bidirectional stream of `method` and takes one answer.
inline grpc::Status RawStreamCall(const Server& server, const char* method,
                                  const std::string& request, std::string* reply) {
  grpc::GenericStub stub(TestChannel(server));
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto wait = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  const auto stream = stub.PrepareCall(&context, method, &queue);
  stream->StartCall(nullptr);
  wait();
  const grpc::Slice slice(request);
  stream->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
  wait();
  grpc::ByteBuffer answer;
  stream->Read(&answer, nullptr);
  if (wait()) *reply = BytesOf(answer);
  grpc::Status status;
  stream->Finish(&status, nullptr);
  wait();
  return status;
}

// What the standard health service says of `service` ("": the whole server). Its messages have one
// field each: service = 1 (string) and status = 1 (0 unknown, 1 serving, 2 not serving).
inline std::string ProbeHealth(const Server& server, const std::string& service) {
  std::string request;
  if (!service.empty())
    request = "\x0a" + std::string(1, static_cast<char>(service.size())) + service;
  std::string reply;
  const grpc::Status status = RawCall(server, "/grpc.health.v1.Health/Check", request, &reply);
  if (!status.ok()) return status.error_message();
  if (reply == "\x08\x01") return "SERVING";
  if (reply == "\x08\x02") return "NOT_SERVING";
  return "UNKNOWN";
}

inline v1::GenerateRequest IdsRequest(const std::vector<int32_t>& ids, int32_t max_tokens) {
  v1::GenerateRequest request;
  request.mutable_token_ids()->mutable_ids()->Assign(ids.begin(), ids.end());
  request.mutable_stopping()->set_max_tokens(max_tokens);
  return request;
}

}  // namespace mneme::server

#endif  // MNEME_SERVER_TEST_CLIENT_H_
