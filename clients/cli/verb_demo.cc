#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "clients/cli/comparison.h"
#include "clients/cli/demo_model.h"
#include "clients/cli/local_server.h"
#include "clients/cli/model_flags.h"
#include "clients/cli/stream_table.h"
#include "clients/cli/verbs.h"

namespace mneme::cli {
namespace {

struct Flags {
  ModelFlags model;
  int32_t max_tokens = 96;
  int32_t streams = 1;
  double temperature = 0;
  int64_t seed = 1;
  bool compare = false;

  FlagTable Table() {
    FlagTable flags("demo", "[PROMPT]",
                    "Starts a server on the demo model, streams its text over gRPC, and says how "
                    "fast it was and how many bytes it moved. The model knows a dictionary of "
                    "hacker slang: an entry's opening is a good prompt. Default: \"hacker: n.\"");
    flags.Add("max-tokens", &max_tokens, {1, 1 << 20}, "N", "Output tokens of each stream.");
    flags.Add("streams", &streams, {1, 256}, "N", "Streams at a time; the first one is shown.");
    flags.Add("temperature", &temperature, "T", "0: greedy.");
    flags.Add("seed", &seed, "S", "For temperatures above 0.");
    flags.Add("compare", &compare,
              "Serve both demo models in turn instead, and print one table: sizes, losses, tokens "
              "per second and bytes per token.");
    model.AddTo(&flags, "`olmoe`, the demo's Mixture-of-Experts, or another checkpoint.");
    return flags;
  }
};

void RunStream(client::Client* client, const v1::GenerateRequest& request, std::ostream* show,
               StreamRun* run) {
  run->clock.Start();
  const std::unique_ptr<client::GenerateStream> stream = client->Start(request, {});
  v1::GenerateReply reply;
  while (stream->Next(&reply)) {
    for (const v1::ChoiceDelta& delta : reply.choices()) {
      run->clock.OnTokens(delta.token_ids_size());
      if (show != nullptr) *show << delta.text() << std::flush;
    }
    run->result.Add(reply);
  }
  run->clock.Stop();
  run->status = stream->Finish();
}

// A few tokens that nobody sees, so that what is measured is the steady state. Of another prompt:
// the measured one must not be found in the prefix cache.
void WarmUp(client::Client* client, const v1::GetModelReply& model) {
  const int32_t prompt_tokens = std::clamp(model.max_sequence_length() - 4, 1, 32);
  v1::GenerateRequest request;
  for (int32_t i = 0; i < prompt_tokens; ++i) {
    request.mutable_token_ids()->add_ids((i * 131 + 7) % std::max(model.vocab_size(), 1));
  }
  request.mutable_sampling()->set_temperature(0);
  request.mutable_stopping()->set_max_tokens(4);
  request.mutable_stopping()->set_ignore_eos(true);
  (void)client->Generate(request, {}, nullptr);
}

int Usage(const Invocation& invocation, const std::string& message) {
  invocation.err << "mneme demo: " << message << std::endl;
  return kExitUsage;
}

int RunComparison(const Invocation& invocation, const ModelFlags& model) {
  ComparisonOptions options;
  options.flags = model;
  for (const char* name : {kDemoModel, kMoeDemoModel}) {
    const absl::StatusOr<std::string> found = FindDemo(name, invocation.executable);
    if (!found.ok()) return Fail(invocation, "demo", found.status());
    options.directories.push_back(*found);
  }
  const absl::StatusOr<std::string> texts = FindDemo(kDemoTexts, invocation.executable);
  if (!texts.ok()) return Fail(invocation, "demo", texts.status());
  options.heldout_path = *texts + "/heldout.txt";
  options.seen_path = *texts + "/seen.txt";
  const absl::StatusOr<std::vector<ComparedModel>> models =
      Compare(options, [&](const std::string& line) { invocation.err << line << std::endl; });
  if (!models.ok()) return Fail(invocation, "demo", models.status());
  invocation.out << ComparisonTable(options, *models);
  return 0;
}

}  // namespace

int RunDemo(const Invocation& invocation) {
  Flags flags;
  FlagTable table = flags.Table();
  int exit_status = 0;
  if (!ParseFlags(invocation, &table, 1, &exit_status)) return exit_status;
  if (flags.compare) {
    for (const char* flag : {"max-tokens", "streams", "temperature", "seed"}) {
      if (!table.given(flag)) continue;
      return Usage(invocation, absl::StrCat("--compare has requests of its own: no --", flag));
    }
    if (flags.model.model.empty() && table.positionals().empty()) {
      return RunComparison(invocation, flags.model);
    }
    return Usage(invocation, "--compare takes no prompt and no --model");
  }
  const std::string prompt = table.positionals().empty() ? "hacker: n." : table.positionals()[0];
  absl::StatusOr<std::unique_ptr<LocalServer>> local =
      StartOnFreePort(flags.model, invocation.executable);
  if (!local.ok()) return Fail(invocation, "demo", local.status());
  const absl::StatusOr<std::unique_ptr<client::Client>> client =
      client::Client::Connect({.address = (*local)->server().address()});
  if (!client.ok()) return Fail(invocation, "demo", client.status());
  const absl::StatusOr<v1::GetModelReply> model = (*client)->GetModel();
  if (!model.ok()) return Fail(invocation, "demo", model.status());

  v1::GenerateRequest request;
  request.set_text(prompt);
  request.mutable_sampling()->set_temperature(static_cast<float>(flags.temperature));
  request.mutable_sampling()->set_seed(static_cast<uint64_t>(flags.seed));
  request.mutable_stopping()->set_max_tokens(flags.max_tokens);
  request.mutable_stopping()->set_ignore_eos(flags.streams > 1);
  WarmUp(client->get(), *model);

  invocation.out << model->name() << " (" << model->architecture() << ", " << model->parameters()
                 << " parameters) on " << model->ranks() << " x " << model->device() << " "
                 << model->isa() << ", " << (*local)->server().address() << "\n\n"
                 << prompt << std::flush;
  std::vector<StreamRun> runs(static_cast<size_t>(flags.streams));
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> others;
  for (size_t i = 1; i < runs.size(); ++i) {
    others.emplace_back([&, i] { RunStream(client->get(), request, nullptr, &runs[i]); });
  }
  RunStream(client->get(), request, &invocation.out, &runs[0]);
  for (std::thread& other : others) other.join();
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (const StreamRun& run : runs) {
    if (!run.status.ok()) return Fail(invocation, "demo", run.status);
  }
  invocation.out << "\n\n" << StreamTable(runs, seconds);
  return 0;
}

}  // namespace mneme::cli
