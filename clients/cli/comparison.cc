#include "clients/cli/comparison.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "clients/cli/checkpoint_report.h"
#include "clients/cli/generate_report.h"
#include "clients/cli/load_run.h"
#include "clients/cli/local_server.h"
#include "clients/cli/perplexity.h"
#include "clients/cpp/client.h"

namespace mneme::cli {
namespace {

struct Running {
  std::unique_ptr<LocalServer> local;
  std::unique_ptr<client::Client> client;
};

absl::StatusOr<Running> Start(ModelFlags flags, const std::string& directory) {
  flags.model = directory;
  Running running;
  absl::StatusOr<std::unique_ptr<LocalServer>> local = StartOnFreePort(flags, "mneme");
  if (!local.ok()) return local.status();
  running.local = *std::move(local);
  absl::StatusOr<std::unique_ptr<client::Client>> client =
      client::Client::Connect({.address = running.local->server().address()});
  if (!client.ok()) return client.status();
  running.client = *std::move(client);
  return running;
}

absl::StatusOr<double> LossOf(const ComparisonOptions& options, const std::string& directory,
                              const std::string& text) {
  ModelFlags flags = options.flags;
  flags.model = directory;
  const absl::StatusOr<ModelOptions> model = flags.ToOptions();
  if (!model.ok()) return model.status();
  const absl::StatusOr<PerplexityResult> result = Perplexity({.model = *model, .text_path = text});
  if (!result.ok()) return result.status();
  return result->loss;
}

absl::Status ServeRound(const ComparisonOptions& options, int32_t round, Running* running,
                        ComparedModel* model) {
  for (size_t i = 0; i < options.streams.size(); ++i) {
    LoadOptions load;
    load.streams = options.streams[i];
    load.requests = options.streams[i];
    load.prompt_tokens = options.prompt_tokens;
    load.output_tokens = options.output_tokens;
    // No prompt is found cached.
    load.seed = static_cast<uint64_t>(round) * options.streams.size() + i + 1;
    const absl::StatusOr<LoadResult> result = RunLoad(running->client.get(), load);
    if (!result.ok()) return result.status();
    const double tokens = static_cast<double>(load.requests) * load.output_tokens;
    double bytes = 0;
    for (const StreamRun& run : result->runs) {
      for (const v1::Traffic::Class& c : run.result.usage.traffic().classes()) {
        bytes += static_cast<double>(c.read_bytes());
      }
    }
    if (round < 0) continue;  // a warm-up
    model->served[i].tokens_per_second.push_back(tokens / result->seconds);
    model->served[i].bytes_per_token.push_back(bytes / tokens);
  }
  return absl::OkStatus();
}

// "123 (120-130)".
template <class Format>
std::string Spread(const std::vector<double>& values, const Format& format) {
  return absl::StrCat(format(Quantile(values, 0.5)), " (",
                      format(*std::min_element(values.begin(), values.end())), " - ",
                      format(*std::max_element(values.begin(), values.end())), ")");
}

}  // namespace

absl::StatusOr<std::vector<ComparedModel>> Compare(
    const ComparisonOptions& options, const std::function<void(const std::string&)>& progress) {
  std::vector<ComparedModel> models;
  std::vector<Running> running;
  for (const std::string& directory : options.directories) {
    ComparedModel& model = models.emplace_back();
    model.name = NameOf(directory);
    progress(absl::StrCat(model.name, ": losses"));
    const absl::StatusOr<double> heldout = LossOf(options, directory, options.heldout_path);
    if (!heldout.ok()) return heldout.status();
    const absl::StatusOr<double> seen = LossOf(options, directory, options.seen_path);
    if (!seen.ok()) return seen.status();
    model.heldout_loss = *heldout;
    model.seen_loss = *seen;
    absl::StatusOr<Running> started = Start(options.flags, directory);
    if (!started.ok()) return started.status();
    const loader::Checkpoint& checkpoint = started->local->serving().checkpoint();
    const CheckpointReport report = ReportOn(checkpoint);
    model.architecture = checkpoint.model.architecture;
    const v1::Cluster& cluster = started->local->serving().plan().cluster();
    model.served_on = absl::StrCat(cluster.ranks(), " x ", cluster.device(), " ", cluster.isa());
    model.parameters = report.parameters;
    model.active_parameters = report.active_parameters;
    model.served.resize(options.streams.size());
    running.push_back(*std::move(started));
    const int64_t first = running[0].local->serving().checkpoint().model.vocab_size;
    if (checkpoint.model.vocab_size != first) {
      return absl::InvalidArgumentError(absl::StrCat(model.name, " has a vocabulary of ",
                                                     checkpoint.model.vocab_size, ", ",
                                                     models[0].name, " one of ", first));
    }
  }
  for (int32_t round = -1; round < options.rounds; ++round) {
    progress(round < 0 ? "warm-up" : absl::StrCat("round ", round + 1, " of ", options.rounds));
    for (size_t i = 0; i < models.size(); ++i) {
      // Every other round the other way around: what a round heats or disturbs falls on both.
      const size_t m = round % 2 == 0 ? i : models.size() - 1 - i;
      absl::Status status = ServeRound(options, round, &running[m], &models[m]);
      if (!status.ok()) return status;
    }
  }
  return models;
}

std::string ComparisonTable(const ComparisonOptions& options,
                            const std::vector<ComparedModel>& models) {
  std::string table;
  const auto row = [&](const std::string& title, const auto& cell) {
    absl::StrAppend(&table, absl::StrFormat("%-28s", title));
    for (const ComparedModel& model : models) {
      absl::StrAppend(&table, absl::StrFormat("  %28s", cell(model)));
    }
    absl::StrAppend(&table, "\n");
  };
  row("", [](const ComparedModel& m) { return m.name; });
  row("architecture", [](const ComparedModel& m) { return m.architecture; });
  row("served on", [](const ComparedModel& m) { return m.served_on; });
  row("parameters", [](const ComparedModel& m) { return absl::StrCat(m.parameters); });
  row("active for a token",
      [](const ComparedModel& m) { return absl::StrCat(m.active_parameters); });
  row("loss, held-out text",
      [](const ComparedModel& m) { return absl::StrFormat("%.4f", m.heldout_loss); });
  row("loss, seen text",
      [](const ComparedModel& m) { return absl::StrFormat("%.4f", m.seen_loss); });
  for (size_t i = 0; i < options.streams.size(); ++i) {
    const std::string streams =
        absl::StrCat(options.streams[i], options.streams[i] == 1 ? " stream" : " streams");
    row("tokens/s, " + streams, [i](const ComparedModel& m) {
      return Spread(m.served[i].tokens_per_second,
                    [](double v) { return absl::StrFormat("%.0f", v); });
    });
  }
  for (size_t i = 0; i < options.streams.size(); ++i) {
    const std::string streams =
        absl::StrCat(options.streams[i], options.streams[i] == 1 ? " stream" : " streams");
    row("bytes read/token, " + streams, [i](const ComparedModel& m) {
      return HumanBytes(Quantile(m.served[i].bytes_per_token, 0.5));
    });
  }
  absl::StrAppend(&table, "\nMedian (least - most) of ", options.rounds,
                  " alternating rounds; every request: ", options.prompt_tokens,
                  " random tokens, then ", options.output_tokens,
                  " greedy ones. Bytes are those of whole requests, prompts included.\n");
  return table;
}

}  // namespace mneme::cli
