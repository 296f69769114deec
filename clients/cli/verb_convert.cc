#include <algorithm>
#include <atomic>
#include <csignal>
#include <optional>
#include <string>
#include <vector>

#include "clients/cli/progress_bar.h"
#include "clients/cli/signals.h"
#include "clients/cli/verbs.h"
#include "loader/checkpoint/checkpoint.h"
#include "loader/native/convert.h"

namespace mneme::cli {
namespace {

using loader::Manifest;

std::optional<Manifest::DType> ParseDType(const std::string& text) {
  for (const auto dtype :
       {Manifest::DType::kStored, Manifest::DType::kBf16, Manifest::DType::kF32}) {
    if (text == loader::ManifestDTypeName(dtype)) return dtype;
  }
  return std::nullopt;
}

absl::StatusOr<loader::ConvertReport> Convert(const std::string& in, const std::string& out,
                                              const std::vector<std::string>& ignored,
                                              const loader::ConvertOptions& options,
                                              const Invocation& invocation,
                                              const std::atomic<bool>* stop) {
  // Before minutes may be spent on looking at the source.
  if (absl::Status status = loader::CheckConvertFolders(in, out); !status.ok()) return status;
  const absl::StatusOr<loader::Checkpoint> checkpoint =
      loader::InspectCheckpoint(in, {.ignored_config_keys = {ignored.begin(), ignored.end()}});
  if (!checkpoint.ok()) return checkpoint.status();
  ProgressBar bar("converting", invocation.err, invocation.StandardErrorIsTerminal());
  return loader::ConvertCheckpoint(
      *checkpoint, out, options,
      {[&bar](int64_t done, int64_t total) { bar.Update(done, total); }, stop});
}

}  // namespace

int RunConvert(const Invocation& invocation) {
  loader::ConvertOptions options;
  std::string dtype = "stored";
  std::vector<std::string> ignored;
  int64_t shard_mb = loader::kMostShardBytes >> 20;
  FlagTable flags(
      "convert", "IN OUT",
      "Writes the checkpoint in the folder IN in the form it is served in to the folder "
      "OUT, from where `serve --model OUT` maps it without copying. One that was "
      "stopped goes on where it was when the same command is run again.");
  flags.Add("dtype", &dtype, "stored|bf16|f32",
            "Matrices and tables as they are stored, rounded to bf16, or widened to f32.");
  flags.Add(
      "shard-mb", &shard_mb, {loader::kLeastShardBytes >> 20, loader::kMostShardBytes >> 20}, "MB",
      "The largest file, in 2^20 bytes: what is written again after a crash. A matrix "
      "of one expert, or a few rows, of more bytes than this have a larger file of their own.");
  flags.Add("ignore-config-key", &ignored, "KEY",
            "A key of the config that Mneme does not know and that changes nothing.");
  int exit_status = 0;
  if (!ParseFlags(invocation, &flags, 2, &exit_status)) return exit_status;
  if (flags.positionals().size() != 2) {
    invocation.err << "mneme convert: IN and OUT are needed, two folders" << std::endl;
    return kExitUsage;
  }
  for (size_t i : {0, 1}) {
    if (!flags.positionals()[i].empty()) continue;
    invocation.err << "mneme convert: " << (i == 0 ? "IN" : "OUT") << " is empty" << std::endl;
    return kExitUsage;
  }
  if (std::find(ignored.begin(), ignored.end(), "") != ignored.end()) {
    invocation.err << "mneme convert: --ignore-config-key: '' is no key" << std::endl;
    return kExitUsage;
  }
  const std::optional<Manifest::DType> parsed = ParseDType(dtype);
  if (!parsed.has_value()) {
    invocation.err << "mneme convert: --dtype: '" << dtype << "' is none of stored, bf16, f32"
                   << std::endl;
    return kExitUsage;
  }
  options.dtype = *parsed;
  options.shard_bytes = shard_mb << 20;
  std::atomic<bool> stop = false;
  // A limit on the size of files is an error like a full disk, not the end of the process.
  std::signal(SIGXFSZ, SIG_IGN);
  const SignalWatcher watcher({SIGINT, SIGTERM}, [&stop](int) { stop = true; });
  const std::string& out = flags.positionals()[1];
  const absl::StatusOr<loader::ConvertReport> report =
      Convert(flags.positionals()[0], out, ignored, options, invocation, &stop);
  if (absl::IsCancelled(report.status())) {
    invocation.err << "mneme convert: " << out
                   << ": stopped; what is finished is kept, the same command goes on" << std::endl;
    return kExitInterrupted;
  }
  if (!report.ok()) return Fail(invocation, "convert", report.status());
  if (report->complete_before) {
    invocation.err << "mneme convert: " << out << ": was complete already" << std::endl;
    for (const std::string& name : report->renewed) {
      invocation.err << "mneme convert: " << out << "/" << name
                     << ": was missing or changed, and is copied again" << std::endl;
    }
  } else if (report->shards_before > 0) {
    invocation.err << "mneme convert: " << report->shards_before << " of " << report->shards
                   << " shards were finished before" << std::endl;
  }
  invocation.out << out << ": " << report->shards
                 << (report->shards == 1 ? " shard, " : " shards, ") << BytesText(report->bytes)
                 << ", conversion " << report->conversion << std::endl;
  return 0;
}

}  // namespace mneme::cli
