// A gRPC server over an engine: mneme.v1.Generation, the standard health service, reflection.
//
// It can be embedded: the command line's own-server verbs and the tests start one on port 0 and
// talk to it over loopback. It has no encryption and no authentication and therefore listens on
// loopback unless told otherwise.
#ifndef MNEME_SERVER_SERVER_H_
#define MNEME_SERVER_SERVER_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "proto/mneme/v1/generation.pb.h"
#include "spdlog/logger.h"

namespace mneme::server {

struct ServerOptions {
  // HOST:PORT; port 0 takes a free one.
  std::string listen = "127.0.0.1:50051";
  // A larger request gets RESOURCE_EXHAUSTED, and so does one whose reply would be larger
  // (Tokenize, Detokenize). Below 2^31.
  int64_t max_message_bytes = 4 << 20;
  // A longer prompt gets RESOURCE_EXHAUSTED. 0: what the model's context holds, which is also the
  // most.
  int32_t max_prompt_tokens = 0;
  // Generations under way, waiting ones included, and texts being tokenized or detokenized. One
  // more gets RESOURCE_EXHAUSTED. At least 1.
  int32_t max_requests = 1024;
  // What GetModel answers. Fields that the engine knows (architecture, sizes, eos, tokenizer) are
  // filled in; default_sampling and default_max_tokens are what absent request fields take.
  v1::GetModelReply model;
  // One line per Generate, Tokenize and Detokenize. Null: none.
  std::shared_ptr<spdlog::logger> log;
};

// Thread safe. The engine is not owned and outlives the server.
class Server {
 public:
  // Listens and serves. INVALID_ARGUMENT for an address that is none or an impossible option,
  // UNAVAILABLE when the address cannot be bound; both name it.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options,
                                                       Engine* engine);
  // As Shutdown with no time to drain.
  virtual ~Server() = default;

  // HOST:PORT with the port that was bound.
  virtual const std::string& address() const = 0;
  virtual int port() const = 0;
  // What max_requests limits.
  virtual int32_t active_requests() const = 0;

  // Refuses new requests with UNAVAILABLE and reports NOT_SERVING; what runs goes on.
  virtual void Drain() = 0;
  // Drains; waits for what runs to end, for at most `drain` or until Hurry; ends the rest with
  // UNAVAILABLE; stops listening. Returns how many had to be ended. Later calls return at once.
  virtual int32_t Shutdown(absl::Duration drain) = 0;
  // Makes a Shutdown under way drain no longer.
  virtual void Hurry() = 0;
};

}  // namespace mneme::server

#endif  // MNEME_SERVER_SERVER_H_
