// The mneme.v1.Generation service on gRPC's callback API.
//
// Every method is registered raw, as bytes: a message that does not parse then gets
// INVALID_ARGUMENT like any other bad request, where gRPC's typed handlers would answer
// UNIMPLEMENTED, and replies are serialized once into a buffer of the call's own.
#ifndef MNEME_SERVER_SERVICE_H_
#define MNEME_SERVER_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

#include "engine/engine.h"
#include "proto/mneme/v1/generation.grpc.pb.h"
#include "server/generate_call.h"

namespace mneme::server {

using RawService = v1::Generation::WithRawCallbackMethod_Generate<
    v1::Generation::WithRawCallbackMethod_Tokenize<v1::Generation::WithRawCallbackMethod_Detokenize<
        v1::Generation::WithRawCallbackMethod_GetModel<
            v1::Generation::WithRawCallbackMethod_GetStats<v1::Generation::Service>>>>>;

class GenerationService final : public RawService {
 public:
  // `shared` is not owned. model: what GetModel answers.
  GenerationService(const CallContext* shared, v1::GetModelReply model);

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Generate(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* reply) override;
  grpc::ServerUnaryReactor* Detokenize(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* reply) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* reply) override;
  grpc::ServerUnaryReactor* GetStats(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* reply) override;

 private:
  std::string NextId();

  const CallContext& shared_;
  const v1::GetModelReply model_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  // Ids that are made up begin with what tells this process from the next one.
  const std::string id_prefix_;
  std::atomic<uint64_t> ids_made_up_{0};
};

}  // namespace mneme::server

#endif  // MNEME_SERVER_SERVICE_H_
