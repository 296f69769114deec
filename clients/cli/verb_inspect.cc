#include <charconv>
#include <cinttypes>
#include <cstdio>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
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

absl::StatusOr<Inspected> Inspect(const std::string& directory,
                                  const loader::InspectOptions& options) {
  absl::StatusOr<loader::Checkpoint> checkpoint = loader::InspectCheckpoint(directory, options);
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

// As a person writes it: 0.7, not the double next to the float.
Json Shortest(float value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  double number = 0;
  std::from_chars(text, end, number);
  return number;
}

Json MoeJson(const loader::MoeDescription& moe) {
  return {{"experts", moe.experts},
          {"experts_per_token", moe.top_k},
          {"hidden", moe.hidden},
          {"shared_hidden", moe.shared_hidden},
          {"dense_layers", moe.dense_blocks}};
}

// What the checkpoint says of generation, by the names of its file.
Json GenerationJson(const loader::GenerationDefaults& defaults) {
  Json json = Json::object();
  if (defaults.temperature) json["temperature"] = Shortest(*defaults.temperature);
  if (defaults.top_p) json["top_p"] = Shortest(*defaults.top_p);
  if (defaults.top_k) json["top_k"] = *defaults.top_k;
  if (defaults.min_p) json["min_p"] = Shortest(*defaults.min_p);
  if (defaults.repetition_penalty)
    json["repetition_penalty"] = Shortest(*defaults.repetition_penalty);
  if (defaults.max_new_tokens) json["max_new_tokens"] = *defaults.max_new_tokens;
  return json;
}

void PrintJson(const Inspected& inspected, std::ostream& out) {
  const loader::Checkpoint& checkpoint = inspected.checkpoint;
  const loader::ModelDescription& model = checkpoint.model;
  const CheckpointReport report = ReportOn(checkpoint);
  Json json = {{"name", NameOf(checkpoint.directory)},
               {"architecture", model.architecture},
               {"family", model.family},
               {"parameters", report.parameters},
               {"active_parameters", report.active_parameters},
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
  if (model.moe.has_value()) json["moe"] = MoeJson(*model.moe);
  json["generation"] = GenerationJson(checkpoint.generation);
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
      << " parameters (" << report.active_parameters << " active for a token), "
      << report.total.bytes << " bytes\n"
      << model.layers << " layers of width " << model.dim << ", " << model.attention.heads
      << " heads (" << model.attention.kv_heads << " kv) of " << model.attention.head_dim
      << (model.ffn.hidden > 0 ? absl::StrCat(", FFN ", model.ffn.hidden) : "") << ", vocabulary "
      << model.vocab_size << ", context " << model.max_sequence_length << "\n";
  if (model.memory.has_value()) {
    const loader::MemoryDescription& memory = *model.memory;
    out << memory.layers.size() << " memory layers: " << memory.heads << " x " << memory.top_k
        << " selections of " << memory.slots << " slots x (" << memory.pre_value_dim << " + "
        << memory.value_dim << "), " << memory.key_count << " x " << memory.key_count << " keys of "
        << memory.key_dim << "\n";
  }
  if (model.moe.has_value()) {
    const loader::MoeDescription& moe = *model.moe;
    out << moe.experts << " experts of " << moe.hidden << ", " << moe.top_k
        << " for each token, in " << model.layers - static_cast<int64_t>(moe.dense_blocks.size())
        << " of the layers";
    if (moe.shared_hidden > 0) out << "; beside them an FFN " << moe.shared_hidden << " for all";
    out << "\n";
  }
  out << (inspected.tokenizer_entries > 0
              ? "tokenizer: " + std::to_string(inspected.tokenizer_entries) + " entries\n"
              : "no tokenizer: served with token ids only\n");
  const char* separator = "generation defaults: ";
  const Json generation = GenerationJson(checkpoint.generation);
  for (const auto& [name, value] : generation.items()) {
    out << std::exchange(separator, ", ") << name << " " << value.dump();
  }
  if (!generation.empty()) out << "\n";
  if (!model.eos_token_ids.empty()) {
    out << "end of sequence: " << Json(model.eos_token_ids).dump() << "\n";
  }
  PrintCounts("class", report.classes, out);
  PrintCounts("dtype", report.dtypes, out);
  for (const std::string& warning : model.warnings) out << "warning: " << warning << "\n";
}

}  // namespace

int RunInspect(const Invocation& invocation) {
  std::string directory;
  std::vector<std::string> ignored;
  std::string verified;
  bool json = false;
  FlagTable flags("inspect", "",
                  "Says what a checkpoint holds: architecture, parameters and bytes by class, "
                  "dtypes, warnings. One that cannot be served is refused with the reason.");
  flags.Add("model", &directory, "DIR", "The checkpoint.");
  flags.Add("ignore-config-key", &ignored, "KEY",
            "A key of the config that Mneme does not know and that changes nothing.");
  flags.Add("verify", &verified, "DIR",
            "In place of --model: a folder that `convert` wrote, of which every byte is compared "
            "with the checksums of its manifest.");
  flags.Add("json", &json, "One JSON object; of what is refused with the key \"refused\".");
  int exit_status = 0;
  if (!ParseFlags(invocation, &flags, 0, &exit_status)) return exit_status;
  if (directory.empty() == verified.empty()) {
    invocation.err << "mneme inspect: "
                   << (directory.empty() ? "--model DIR or --verify DIR is needed"
                                         : "--model and --verify do not go together")
                   << std::endl;
    return kExitUsage;
  }
  if (!verified.empty()) return RunVerify(invocation, verified, json);
  const absl::StatusOr<Inspected> inspected =
      Inspect(directory, {.ignored_config_keys = {ignored.begin(), ignored.end()}});
  if (!inspected.ok()) {
    if (json) PrintRefusal(NameOf(directory), inspected.status(), invocation.out);
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
