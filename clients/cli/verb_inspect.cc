#include <cinttypes>
#include <cstdio>

#include "clients/cli/checkpoint_report.h"
#include "clients/cli/verbs.h"
#include "clients/cli/verify_run.h"
#include "loader/checkpoint/checkpoint.h"
#include "loader/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"

namespace mneme::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Inspected {
  loader::Checkpoint checkpoint;
  int32_t tokenizer_entries = 0;  // 0: the model has no tokenizer
};

absl::StatusOr<Inspected> Inspect(const std::string& directory) {
  absl::StatusOr<loader::Checkpoint> checkpoint = loader::InspectCheckpoint(directory);
  if (!checkpoint.ok()) return checkpoint.status();
  Inspected inspected{.checkpoint = *std::move(checkpoint)};
  const absl::StatusOr<std::unique_ptr<loader::Tokenizer>> tokenizer =
      loader::Tokenizer::Load(directory);
  if (tokenizer.ok()) {
    inspected.tokenizer_entries = (*tokenizer)->vocab_size();
  } else if (!absl::IsNotFound(tokenizer.status())) {
    return tokenizer.status();
  }
  return inspected;
}

Json ToJson(const TensorCount& count) {
  return {{"tensors", count.tensors}, {"elements", count.elements}, {"bytes", count.bytes}};
}

Json MemoryJson(const loader::MemoryDescription& memory) {
  Json layers = Json::array();
  for (const loader::MemoryPlacement& layer : memory.layers) {
    layers.push_back(
        {{"read_block", layer.read_block}, {"add_block", layer.add_block}, {"lost", layer.lost}});
  }
  return {{"layers", layers},
          {"heads", memory.heads},
          {"selections_per_head", memory.top_k},
          {"key_count", memory.key_count},
          {"key_dim", memory.key_dim},
          {"slots", memory.slots},
          {"value_dim", memory.value_dim},
          {"pre_value_dim", memory.pre_value_dim},
          {"window", memory.window},
          {"shared_table", memory.shared_table}};
}

void PrintJson(const Inspected& inspected, std::ostream& out) {
  const loader::Checkpoint& checkpoint = inspected.checkpoint;
  const loader::ModelDescription& model = checkpoint.model;
  const CheckpointReport report = ReportOn(checkpoint);
  Json json = {{"name", NameOf(checkpoint.directory)},
               {"architecture", model.architecture},
               {"family", model.family},
               {"parameters", report.parameters},
               {"bytes", report.total.bytes},
               {"file_bytes", checkpoint.files->file_bytes()},
               {"tensors", report.total.tensors}};
  for (const auto& [name, count] : report.classes) json["classes"][name] = ToJson(count);
  for (const auto& [name, count] : report.dtypes) json["dtypes"][name] = ToJson(count);
  json["model"] = {{"dim", model.dim},
                   {"layers", model.layers},
                   {"heads", model.attention.heads},
                   {"kv_heads", model.attention.kv_heads},
                   {"head_dim", model.attention.head_dim},
                   {"ffn_hidden", model.ffn.hidden},
                   {"vocab_size", model.vocab_size},
                   {"embedding_size", model.embedding_size},
                   {"max_sequence_length", model.max_sequence_length},
                   {"eos_token_ids", model.eos_token_ids}};
  if (model.memory.has_value()) json["memory"] = MemoryJson(*model.memory);
  json["tokenizer_entries"] = inspected.tokenizer_entries;
  json["warnings"] = model.warnings;
  json["refused"] = nullptr;
  out << json.dump(2, ' ', false, Json::error_handler_t::replace) << "\n";
}

void PrintCounts(const char* title, const std::map<std::string, TensorCount>& counts,
                 std::ostream& out) {
  char line[160];
  std::snprintf(line, sizeof line, "%-14s %8s %16s %16s\n", title, "tensors", "elements", "bytes");
  out << line;
  for (const auto& [name, count] : counts) {
    std::snprintf(line, sizeof line, "  %-12s %8" PRId64 " %16" PRId64 " %16" PRId64 "\n",
                  name.c_str(), count.tensors, count.elements, count.bytes);
    out << line;
  }
}

void PrintText(const Inspected& inspected, std::ostream& out) {
  const loader::Checkpoint& checkpoint = inspected.checkpoint;
  const loader::ModelDescription& model = checkpoint.model;
  const CheckpointReport report = ReportOn(checkpoint);
  out << NameOf(checkpoint.directory) << ": " << model.architecture << ", " << report.parameters
      << " parameters, " << report.total.bytes << " bytes\n"
      << model.layers << " layers of width " << model.dim << ", " << model.attention.heads
      << " heads (" << model.attention.kv_heads << " kv) of " << model.attention.head_dim
      << ", FFN " << model.ffn.hidden << ", vocabulary " << model.vocab_size << ", context "
      << model.max_sequence_length << "\n";
  if (model.memory.has_value()) {
    const loader::MemoryDescription& memory = *model.memory;
    out << memory.layers.size() << " memory layers: " << memory.heads << " x " << memory.top_k
        << " selections of " << memory.slots << " slots x (" << memory.pre_value_dim << " + "
        << memory.value_dim << "), " << memory.key_count << " x " << memory.key_count << " keys of "
        << memory.key_dim << "\n";
  }
  out << (inspected.tokenizer_entries > 0
              ? "tokenizer: " + std::to_string(inspected.tokenizer_entries) + " entries\n"
              : "no tokenizer: served with token ids only\n");
  PrintCounts("class", report.classes, out);
  PrintCounts("dtype", report.dtypes, out);
  for (const std::string& warning : model.warnings) out << "warning: " << warning << "\n";
}

}  // namespace

int RunInspect(const Invocation& invocation) {
  std::string directory;
  std::string verified;
  bool json = false;
  FlagTable flags("inspect", "",
                  "Says what a checkpoint holds: architecture, parameters and bytes by class, "
                  "dtypes, warnings. One that cannot be served is refused with the reason.");
  flags.Add("model", &directory, "DIR", "The checkpoint.");
  flags.Add("verify", &verified, "DIR",
            "In place of --model: a folder that `convert` wrote, of which every byte is compared "
            "with the checksums of its manifest.");
  flags.Add("json", &json, "One JSON object; for a refused checkpoint with the key \"refused\".");
  int exit_status = 0;
  if (!ParseFlags(invocation, &flags, 0, &exit_status)) return exit_status;
  if (directory.empty() == verified.empty()) {
    invocation.err << "mneme inspect: "
                   << (directory.empty() ? "--model is needed"
                                         : "--model and --verify do not go together")
                   << std::endl;
    return kExitUsage;
  }
  if (!verified.empty()) return RunVerify(invocation, verified, json);
  const absl::StatusOr<Inspected> inspected = Inspect(directory);
  if (!inspected.ok()) {
    if (json) {
      const Json refused = {{"name", NameOf(directory)},
                            {"code", absl::StatusCodeToString(inspected.status().code())},
                            {"refused", std::string(inspected.status().message())}};
      invocation.out << refused.dump(2, ' ', false, Json::error_handler_t::replace) << std::endl;
    }
    return Fail(invocation, "inspect", inspected.status());
  }
  if (json) {
    PrintJson(*inspected, invocation.out);
  } else {
    PrintText(*inspected, invocation.out);
  }
  return 0;
}

}  // namespace mneme::cli
