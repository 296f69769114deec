#include <google/protobuf/stubs/logging.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "clients/cli/flags.h"
#include "clients/cli/local_server.h"
#include "clients/cli/model_flags.h"
#include "clients/cli/signals.h"
#include "clients/cli/verbs.h"
#include "engine/plan/explain.h"
#include "spdlog/async.h"
#include "spdlog/sinks/stdout_sinks.h"
#include "spdlog/spdlog.h"

namespace mneme::cli {
namespace {

constexpr double kDay = 24 * 60 * 60;
// gRPC counts bytes in 31 bits.
constexpr int32_t kMostMessageMb = 2047;
constexpr int32_t kMostTokens = 1 << 20;
// The engine reserves memory for so many when it starts: 6 MB.
constexpr int32_t kMostRequests = 1 << 16;

struct ServeFlags {
  ModelFlags model;
  std::string listen = "127.0.0.1:50051";
  double drain_seconds = 30;
  int32_t max_message_mb = 4;
  int32_t max_prompt_tokens = 0;
  int32_t max_requests = 1024;
  int32_t max_waiting = 1024;
  int32_t prefill_chunk = 256;
  bool prefix_cache = true;
  bool log = true;

  FlagTable Table() {
    FlagTable flags("serve", "",
                    "Serves a model over gRPC (mneme.v1.Generation, health, reflection) until "
                    "SIGTERM or SIGINT; then it drains and ends. A second signal ends it at once. "
                    "There is no encryption and no authentication: keep it on loopback or on a "
                    "private network.");
    model.AddTo(&flags, "The checkpoint to serve. Without it: the demo model.");
    flags.Add("listen", &listen, "HOST:PORT", "Where to listen; port 0 takes a free one.");
    flags.Add("drain-seconds", &drain_seconds, {0, kDay}, "S",
              "How long running requests may go on after the first signal.");
    flags.Add("max-message-mb", &max_message_mb, {1, kMostMessageMb}, "MB", "The largest message.");
    flags.Add("max-prompt-tokens", &max_prompt_tokens, {0, kMostTokens}, "N",
              "The longest prompt; 0: what the context holds.");
    flags.Add("max-requests", &max_requests, {1, kMostRequests}, "N",
              "Requests under way, waiting ones included.");
    flags.Add("max-waiting", &max_waiting, {1, kMostRequests}, "N",
              "Requests that may wait for a place.");
    flags.Add("prefill-chunk", &prefill_chunk, {1, kMostTokens}, "N",
              "Prompt tokens that may join a step in which others decode.");
    flags.Add("prefix-cache", &prefix_cache, "Reuse the KV blocks of equal prompt beginnings.");
    flags.Add("log", &log, "One line per request on standard error.");
    return flags;
  }
};

// A logger whose callers never wait: when its queue is full the oldest line is dropped.
std::shared_ptr<spdlog::logger> MakeLog() {
  constexpr size_t kQueueLines = 8192;
  spdlog::init_thread_pool(kQueueLines, 1);
  auto log = std::make_shared<spdlog::async_logger>(
      "mneme", std::make_shared<spdlog::sinks::stderr_sink_mt>(), spdlog::thread_pool(),
      spdlog::async_overflow_policy::overrun_oldest);
  log->set_pattern("%Y-%m-%d %H:%M:%S.%e %l %v");
  log->flush_on(spdlog::level::info);
  return log;
}

// Writes what the log still holds. Where its reader has stopped reading, that would take for ever:
// then the process ends without it.
void EndLog() {
  std::promise<void> written;
  std::thread writer([&written] {
    spdlog::shutdown();
    written.set_value();
  });
  if (written.get_future().wait_for(std::chrono::seconds(2)) == std::future_status::timeout) {
    _exit(0);
  }
  writer.join();
}

// The first signal starts the shutdown, the second hurries it. Before Arm a signal ends the
// process: a model takes long to load, and nothing is lost.
class Shutdown {
 public:
  void OnSignal(int signal) {
    const std::lock_guard lock(mutex_);
    if (disarmed_) return;
    if (server_ == nullptr) _exit(128 + signal);
    if (++signals_ > 1) server_->Hurry();
    asked_.notify_all();
  }
  void Arm(server::Server* server) {
    const std::lock_guard lock(mutex_);
    server_ = server;
  }
  // Further signals do nothing: the server is through.
  void Disarm() {
    const std::lock_guard lock(mutex_);
    disarmed_ = true;
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    asked_.wait(lock, [this] { return signals_ > 0; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable asked_;
  server::Server* server_ = nullptr;
  int signals_ = 0;
  bool disarmed_ = false;
};

// "plan 0.031 s, tokenizer 0.102 s, …".
std::string PhasesText(const std::vector<StartPhase>& phases) {
  std::string text;
  for (const StartPhase& phase : phases) {
    text += fmt::format("{}{} {:.3f} s", text.empty() ? "" : ", ", phase.name, phase.seconds);
  }
  return text;
}

// "plan 0123456789abcdef on 2 ranks (threads), cpu avx512; 1.2 MB of weights copied, the others
// mapped". Of processes: this one's rank.
std::string PlanText(const Serving& serving, const ProcessSettings& process) {
  const v1::Cluster& cluster = serving.plan().cluster();
  const char* kind = !process.hosts.empty()  ? "hosts"
                     : process.processes > 1 ? "processes"
                                             : "threads";
  const double copied = static_cast<double>(serving.copied_weight_bytes()) / 1e6;
  return fmt::format("plan {} on {} {} ({}), {} {}; {:.1f} MB of weights copied, the others mapped",
                     plan::PlanHash(serving.plan()), cluster.ranks(),
                     cluster.ranks() == 1 ? "rank" : "ranks", kind, cluster.device(), cluster.isa(),
                     copied);
}

absl::StatusOr<ServingOptions> ToServingOptions(const Invocation& invocation, ServeFlags* flags) {
  const absl::StatusOr<std::string> directory = ModelOrDemo(flags->model, invocation.executable);
  if (!directory.ok()) return directory.status();
  flags->model.model = *directory;
  const absl::StatusOr<ModelOptions> model = flags->model.ToOptions();
  if (!model.ok()) return model.status();
  ServingOptions options;
  static_cast<ModelOptions&>(options) = *model;
  options.schedule.max_waiting = flags->max_waiting;
  options.schedule.prefill_chunk = flags->prefill_chunk;
  options.schedule.prefix_cache = flags->prefix_cache;
  return options;
}

}  // namespace

int RunServe(const Invocation& invocation) {
  ServeFlags flags;
  FlagTable table = flags.Table();
  int exit_status = 0;
  if (!ParseFlags(invocation, &table, 0, &exit_status)) return exit_status;
  absl::StatusOr<ServingOptions> serving = ToServingOptions(invocation, &flags);
  if (!serving.ok()) return Fail(invocation, "serve", serving.status());

  // Who reads the log may go away; serving goes on.
  signal(SIGPIPE, SIG_IGN);
  // Bytes that are no message get a status; a line each would let strangers fill the log.
  google::protobuf::SetLogHandler(nullptr);
  Shutdown shutdown;
  const SignalWatcher watcher({SIGTERM, SIGINT}, [&](int signal) { shutdown.OnSignal(signal); });
  server::ServerOptions options;
  options.listen = flags.listen;
  options.max_message_bytes = int64_t{flags.max_message_mb} << 20;
  options.max_prompt_tokens = flags.max_prompt_tokens;
  options.max_requests = flags.max_requests;
  const std::shared_ptr<spdlog::logger> log = MakeLog();
  if (flags.log) options.log = log;
  serving->process.log = [log](const std::string& line) { log->warn("{}", line); };
  absl::StatusOr<std::unique_ptr<LocalServer>> local = LocalServer::Start(*serving, options);
  if (!local.ok()) return Fail(invocation, "serve", local.status());
  for (const std::string& warning : (*local)->serving().checkpoint().model.warnings) {
    log->warn("{}", warning);
  }
  server::Server& server = (*local)->server();
  // Before anybody is told that there is a server: who reads the line may signal at once.
  shutdown.Arm(&server);
  log->info("model {} ({})", flags.model.model,
            (*local)->serving().checkpoint().model.architecture);
  log->info("{}", PlanText((*local)->serving(), serving->process));
  log->info("started: {}", PhasesText((*local)->serving().start_phases()));
  invocation.out << "listening on " << server.address() << std::endl;

  shutdown.Wait();
  log->info("shutting down, draining for at most {} s", flags.drain_seconds);
  const int32_t ended = server.Shutdown(absl::Seconds(flags.drain_seconds));
  log->info("ended{}", ended > 0 ? fmt::format(", {} requests were cut short", ended) : "");
  // Whatever still has something to say says it before the log ends.
  shutdown.Disarm();
  local->reset();
  EndLog();
  return 0;
}

}  // namespace mneme::cli
