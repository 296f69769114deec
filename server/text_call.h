// One Tokenize or Detokenize call. It counts as a request under way, so that the server's limit
// bounds how many wait for the worker, and that draining waits for it and then ends it.
#ifndef MNEME_SERVER_TEXT_CALL_H_
#define MNEME_SERVER_TEXT_CALL_H_

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <functional>
#include <mutex>

#include "absl/status/status.h"
#include "server/call_registry.h"
#include "server/call_status.h"
#include "server/generate_call.h"

namespace mneme::server {

// Deletes itself when it is through.
class TextCall final : public Abortable {
 public:
  // Reads the request and fills the reply.
  using Answer = std::function<absl::Status(const grpc::ByteBuffer&, grpc::ByteBuffer*)>;

  struct Rpc {
    const char* name;  // in the log
    grpc::CallbackServerContext* context;
    // Both live until the reactor finishes.
    const grpc::ByteBuffer* request;
    grpc::ByteBuffer* reply;
  };

  // Answers now, or on the worker when the request is large. Returns the call's reactor.
  static grpc::ServerUnaryReactor* Start(const CallContext& shared, const Rpc& rpc, Answer answer);

  // Abortable: not begun, it will not be.
  void Abort(const absl::Status& why) override;

 private:
  TextCall(const CallContext& shared, const Rpc& rpc, Answer answer);

  void Run();
  absl::Status StatusBefore();
  void End(const absl::Status& status);

  const CallContext& shared_;
  const Rpc rpc_;
  const Answer answer_;
  grpc::ServerUnaryReactor* const reactor_;
  const CallTimes times_;
  const size_t request_bytes_;
  bool registered_ = false;

  std::mutex mutex_;
  absl::Status aborted_;
};

}  // namespace mneme::server

#endif  // MNEME_SERVER_TEXT_CALL_H_
