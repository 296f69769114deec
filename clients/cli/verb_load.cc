#include <memory>
#include <optional>
#include <random>

#include "clients/cli/load_run.h"
#include "clients/cli/local_server.h"
#include "clients/cli/model_flags.h"
#include "clients/cli/verbs.h"

namespace mneme::cli {
namespace {

struct Flags {
  ModelFlags model;
  LoadOptions load;
  std::string server;
  std::optional<uint64_t> seed;

  FlagTable Table() {
    FlagTable flags("load", "",
                    "Sends requests to a server, a fixed number at a time, and prints latencies, "
                    "rates, bytes per token and the runtime's own share of a step. Without "
                    "--server it measures a server of its own.");
    constexpr int32_t kMost = 1 << 20;
    flags.Add("server", &server, "HOST:PORT", "The server to measure.");
    flags.Add("streams", &load.streams, {1, 1024}, "N", "Requests at a time.");
    flags.Add("requests", &load.requests, {1, kMost}, "N", "Requests in all.");
    flags.Add("prompt-tokens", &load.prompt_tokens, {1, kMost}, "N", "Tokens of each prompt.");
    flags.Add("output-tokens", &load.output_tokens, {1, kMost}, "N", "Tokens of each output.");
    flags.Add("seed", &seed, "S",
              "Of the prompts. Default: drawn, so that no run finds another's "
              "prompts cached.");
    model.AddTo(&flags, "Measure this checkpoint. Without it: the demo model.");
    return flags;
  }
};

}  // namespace

int RunLoadVerb(const Invocation& invocation) {
  Flags flags;
  FlagTable table = flags.Table();
  int exit_status = 0;
  if (!ParseFlags(invocation, &table, 0, &exit_status)) return exit_status;
  flags.load.seed = flags.seed ? *flags.seed : std::random_device()();
  std::unique_ptr<LocalServer> local;
  if (flags.server.empty()) {
    absl::StatusOr<std::unique_ptr<LocalServer>> started =
        StartOnFreePort(flags.model, invocation.executable);
    if (!started.ok()) return Fail(invocation, "load", started.status());
    local = *std::move(started);
    flags.server = local->server().address();
  }
  const absl::StatusOr<std::unique_ptr<client::Client>> client =
      client::Client::Connect({.address = flags.server});
  if (!client.ok()) return Fail(invocation, "load", client.status());
  // Not measured: threads, pages and connections become warm.
  LoadOptions warm_up = flags.load;
  warm_up.requests = 1;
  warm_up.seed = ~flags.load.seed;
  const absl::StatusOr<LoadResult> warm = RunLoad(client->get(), warm_up);
  if (!warm.ok()) return Fail(invocation, "load", warm.status());
  const absl::StatusOr<LoadResult> result = RunLoad(client->get(), flags.load);
  if (!result.ok()) return Fail(invocation, "load", result.status());
  invocation.out << LoadTable(*result);
  return 0;
}

}  // namespace mneme::cli
