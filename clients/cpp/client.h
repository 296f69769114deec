// The C++ client of mneme.v1.Generation. Needs nothing of the server but its proto.
//
//   absl::StatusOr<std::unique_ptr<Client>> client = Client::Connect({.address =
//   "127.0.0.1:50051"}); v1::GenerateRequest request; request.set_text("hacker: n.");
//   absl::StatusOr<GenerateResult> result = (*client)->Generate(
//       request, {}, [](const v1::ChoiceDelta& delta) { std::cout << delta.text(); return true; });
//
// A Client is thread safe; any number of calls may run at a time over its one connection. Calls
// block the calling thread, which reads the wire itself: no thread stands between a reply and its
// reader. Errors are the server's status codes and messages, or UNAVAILABLE when there is no
// server.
#ifndef MNEME_CLIENTS_CPP_CLIENT_H_
#define MNEME_CLIENTS_CPP_CLIENT_H_

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "proto/mneme/v1/generation.grpc.pb.h"

namespace mneme::client {

struct ClientOptions {
  std::string address = "127.0.0.1:50051";
  // How long Connect waits for the server to answer.
  absl::Duration connect_timeout = absl::Seconds(5);
  // The largest reply that is accepted.
  int32_t max_message_bytes = 64 << 20;
};

struct CallOptions {
  // The server ends the call with DEADLINE_EXCEEDED after so long.
  absl::Duration timeout = absl::InfiniteDuration();
};

// What a generation gave, put together.
struct GenerateResult {
  struct Choice {
    std::string text;
    std::vector<int32_t> token_ids;
    std::vector<v1::PositionLogprobs> logprobs;
    v1::FinishReason finish_reason = v1::FINISH_REASON_UNSPECIFIED;
    // What stopped it, if anything did.
    std::optional<std::string> stop_string;
    std::optional<int32_t> stop_token_id;
  };
  std::string request_id;
  std::vector<Choice> choices;  // by index
  std::vector<v1::PositionLogprobs> prompt_logprobs;
  v1::Usage usage;

  // Appends what a reply carries.
  void Add(const v1::GenerateReply& reply);
};

// One running Generate call. Next and Finish are for one thread; Cancel is for any.
class GenerateStream {
 public:
  ~GenerateStream();  // cancels and waits for the end, unless Finish was called

  // Waits for the next reply. False: the stream has ended; Finish says how.
  bool Next(v1::GenerateReply* reply);
  // Asks the server to stop. Next soon returns false, Finish then CANCELLED.
  void Cancel();
  // The call's status. REQUIRES: Next returned false, or Cancel was called.
  absl::Status Finish();

 private:
  friend class Client;
  GenerateStream() = default;

  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::GenerateReply>> reader_;
  bool finished_ = false;
};

class Client {
 public:
  // Connects, waiting until the server answers. UNAVAILABLE names the address.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const ClientOptions& options);

  // Starts a generation; the caller reads it.
  std::unique_ptr<GenerateStream> Start(const v1::GenerateRequest& request,
                                        const CallOptions& options);
  // Runs a generation to its end. on_delta (may be empty) is called for every delta as it comes;
  // when it returns false the generation is cancelled and the status is CANCELLED.
  absl::StatusOr<GenerateResult> Generate(
      const v1::GenerateRequest& request, const CallOptions& options,
      const std::function<bool(const v1::ChoiceDelta&)>& on_delta);

  absl::StatusOr<std::vector<int32_t>> Tokenize(const std::string& text, bool add_special_tokens);
  absl::StatusOr<std::string> Detokenize(const std::vector<int32_t>& token_ids,
                                         bool skip_special_tokens);
  absl::StatusOr<v1::GetModelReply> GetModel();
  absl::StatusOr<v1::GetStatsReply> GetStats();

 private:
  explicit Client(std::shared_ptr<grpc::Channel> channel);

  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Generation::Stub> stub_;
};

// The same code and message.
absl::Status ToAbslStatus(const grpc::Status& status);

}  // namespace mneme::client

#endif  // MNEME_CLIENTS_CPP_CLIENT_H_
