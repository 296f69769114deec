#include "server/server.h"

#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/listen_address.h"
#include "server/service.h"

namespace mneme::server {
namespace {

using Clock = std::chrono::steady_clock;

constexpr char kServiceName[] = "mneme.v1.Generation";
// How long calls that were ended may take to tell their clients, before the connections are cut.
constexpr std::chrono::seconds kGoodbye(2);
// A peer that does not answer a ping is gone: its generation is cancelled.
constexpr int kKeepaliveMs = 60'000;
constexpr int kKeepaliveTimeoutMs = 20'000;
constexpr int kLeastPingMs = 1'000;
constexpr int kMostSyncThreads = 16;

v1::GetModelReply DescribeModel(v1::GetModelReply model, const Engine& engine) {
  const loader::ModelDescription& m = engine.model();
  model.set_architecture(m.architecture);
  model.set_max_sequence_length(static_cast<int32_t>(m.max_sequence_length));
  model.set_vocab_size(static_cast<int32_t>(m.vocab_size));
  model.mutable_eos_token_ids()->Assign(m.eos_token_ids.begin(), m.eos_token_ids.end());
  model.set_has_tokenizer(engine.tokenizer() != nullptr);
  const SamplingParams engine_defaults;
  v1::SamplingParams* sampling = model.mutable_default_sampling();
  if (!sampling->has_temperature()) sampling->set_temperature(engine_defaults.temperature);
  if (!sampling->has_top_p()) sampling->set_top_p(engine_defaults.top_p);
  if (!sampling->has_top_k()) sampling->set_top_k(engine_defaults.top_k);
  if (!sampling->has_min_p()) sampling->set_min_p(engine_defaults.min_p);
  if (!sampling->has_repetition_penalty()) {
    sampling->set_repetition_penalty(engine_defaults.repetition_penalty);
  }
  if (!sampling->has_presence_penalty()) {
    sampling->set_presence_penalty(engine_defaults.presence_penalty);
  }
  if (!sampling->has_frequency_penalty()) {
    sampling->set_frequency_penalty(engine_defaults.frequency_penalty);
  }
  return model;
}

int32_t PromptLimit(int32_t asked, const Engine& engine) {
  const int32_t context = static_cast<int32_t>(engine.model().max_sequence_length);
  return asked > 0 && asked < context ? asked : context;
}

absl::Status CheckOptions(const ServerOptions& options) {
  constexpr int64_t kLargest = std::numeric_limits<int32_t>::max();
  if (options.max_message_bytes < 1 || options.max_message_bytes > kLargest) {
    return absl::InvalidArgumentError(absl::StrCat("max_message_bytes: ", options.max_message_bytes,
                                                   " is not in [1, ", kLargest, "]"));
  }
  if (options.max_requests < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_requests: ", options.max_requests, " is not at least 1"));
  }
  return absl::OkStatus();
}

// Of one connection, all that the server admits, and some to be refused or to ask for something
// else; what is more than that waits in the client.
int StreamsOfAConnection(const ServerOptions& options) {
  constexpr int64_t kMore = 64;
  return static_cast<int>(
      std::min<int64_t>(options.max_requests + kMore, std::numeric_limits<int32_t>::max()));
}

// Many times what a request may be, far below what the transport holds.
constexpr int64_t kLargestMessages = 16;

// What all connections together may hold of messages that are coming in or going out. Beyond it
// gRPC reads less, and at last ends streams with RESOURCE_EXHAUSTED.
size_t TransportBytes(const ServerOptions& options) {
  constexpr int64_t kStreams = int64_t{512} << 20;
  return static_cast<size_t>(kStreams + kLargestMessages * options.max_message_bytes);
}

// While it lives gRPC writes nothing to standard error: its own line on an address that cannot be
// bound is long, and ours says why.
class QuietTransport {
 public:
  QuietTransport() {
    gpr_set_log_function([](gpr_log_func_args*) {});
  }
  ~QuietTransport() { gpr_set_log_function(nullptr); }
  QuietTransport(const QuietTransport&) = delete;
  QuietTransport& operator=(const QuietTransport&) = delete;
};

class GrpcServer final : public Server {
 public:
  GrpcServer(const ServerOptions& options, Engine* engine)
      : log_(options.log),
        engine_(engine),
        registry_(options.max_requests),
        worker_(kLargestMessages * options.max_message_bytes) {
    shared_.engine = engine;
    shared_.registry = &registry_;
    shared_.worker = &worker_;
    shared_.log = log_.get();
    shared_.limits.max_prompt_tokens = PromptLimit(options.max_prompt_tokens, *engine);
    shared_.limits.max_message_bytes = options.max_message_bytes;
    const v1::GetModelReply model = DescribeModel(options.model, *engine);
    shared_.defaults.sampling = model.default_sampling();
    if (model.has_default_max_tokens()) shared_.defaults.max_tokens = model.default_max_tokens();
    service_ = std::make_unique<GenerationService>(&shared_, model);
  }

  ~GrpcServer() override { Shutdown(absl::ZeroDuration()); }

  absl::Status Listen(const ServerOptions& options);
  const std::string& address() const override { return address_; }
  int port() const override { return port_; }
  int32_t active_requests() const override { return registry_.size(); }
  void Drain() override;
  int32_t Shutdown(absl::Duration drain) override;
  void Hurry() override { hurry_.store(true, std::memory_order_relaxed); }

 private:
  bool WaitUntilIdle(Clock::time_point deadline);
  void SetServing(bool serving);

  const std::shared_ptr<spdlog::logger> log_;
  Engine* const engine_;
  CallRegistry registry_;
  // Destroyed after the gRPC server, whose calls it may still hold.
  Worker worker_;
  CallContext shared_;
  std::unique_ptr<GenerationService> service_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
  int port_ = 0;
  std::atomic<bool> hurry_{false};
  std::mutex shutdown_mutex_;
  bool shut_down_ = false;
};

absl::Status GrpcServer::Listen(const ServerOptions& options) {
  const absl::StatusOr<ListenAddress> listen = ParseListenAddress(options.listen);
  if (!listen.ok()) return listen.status();
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  builder.AddListeningPort(options.listen, grpc::InsecureServerCredentials(), &port_);
  builder.RegisterService(service_.get());
  builder.SetMaxReceiveMessageSize(static_cast<int>(options.max_message_bytes));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, StreamsOfAConnection(options));
  grpc::ResourceQuota quota("mneme");
  // Threads: each open stream of the reflection service holds one.
  builder.SetResourceQuota(quota.Resize(TransportBytes(options)).SetMaxThreads(kMostSyncThreads));
  // Without this a second server would silently share the port with the first.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  // Clients, too, may ask whether their server is there, also while a request waits for its place.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kLeastPingMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // The reflection service alone is of the synchronous kind; one poller is plenty.
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MIN_POLLERS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MAX_POLLERS, 1);
  {
    const QuietTransport quiet;
    server_ = builder.BuildAndStart();
  }
  if (server_ == nullptr || port_ == 0) {
    const std::string why = WhyNotBound(*listen);
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", options.listen, why.empty() ? "" : ": ", why));
  }
  address_ = absl::StrCat(listen->host, ":", port_);
  engine_->WatchHealth([this](bool ready) { SetServing(ready); });
  return absl::OkStatus();
}

void GrpcServer::SetServing(bool serving) {
  grpc::HealthCheckServiceInterface* health = server_->GetHealthCheckService();
  health->SetServingStatus(serving);
  health->SetServingStatus(kServiceName, serving);
}

void GrpcServer::Drain() {
  registry_.Close();
  engine_->Drain();
  engine_->WatchHealth({});
  SetServing(false);
}

bool GrpcServer::WaitUntilIdle(Clock::time_point deadline) {
  // In slices, for Hurry is called from where a condition variable is of no use: a signal's thread
  // that must never wait.
  constexpr std::chrono::milliseconds kSlice(20);
  while (!hurry_.load(std::memory_order_relaxed)) {
    const Clock::time_point now = Clock::now();
    if (registry_.WaitUntilEmpty(std::min(deadline, now + kSlice))) return true;
    if (now >= deadline) return false;
  }
  return registry_.WaitUntilEmpty(Clock::now());
}

int32_t GrpcServer::Shutdown(absl::Duration drain) {
  const std::lock_guard lock(shutdown_mutex_);
  if (shut_down_ || server_ == nullptr) return 0;
  shut_down_ = true;
  Drain();
  int32_t ended = 0;
  if (!WaitUntilIdle(Clock::now() + absl::ToChronoMilliseconds(drain))) {
    ended = registry_.size();
    if (log_ != nullptr && ended > 0) log_->warn("ending {} requests that still run", ended);
    registry_.AbortAll(absl::UnavailableError("the server is shutting down"));
    registry_.WaitUntilEmpty(Clock::now() + kGoodbye);
  }
  server_->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
  server_->Wait();
  return ended;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerOptions& options,
                                                      Engine* engine) {
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  auto server = std::make_unique<GrpcServer>(options, engine);
  const absl::Status status = server->Listen(options);
  if (!status.ok()) return status;
  return server;
}

}  // namespace mneme::server
