#include "clients/cli/model_flags.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "clients/cli/invocation.h"
#include "engine/plan/cluster.h"
#include "engine/ranks/rank_host.h"
#include "loader/files/mapped_file.h"

namespace mneme::cli {
namespace {

constexpr int32_t kMostTokens = 1 << 20;
// Each takes up a block table and rows of buffers, running or not.
constexpr int32_t kMostSequences = 4096;
constexpr int64_t kMostPositions = int64_t{1} << 24;
// 2^52 bytes.
constexpr int64_t kMostMegabytes = int64_t{1} << 32;

// What --layout, --table-layout, --expert-layout and --prefill-layout say.
absl::Status ParseLayouts(const ModelFlags& flags, plan::LayoutPins* pins) {
  const std::string& prefill = flags.prefill_layout;
  for (const std::string& layout : flags.layout) {
    const size_t equals = layout.find('=');
    if (layout == "split") {
      pins->weights = plan::LayoutPins::Weights::kSplit;
    } else if (layout == "free") {
      pins->weights = plan::LayoutPins::Weights::kFree;
    } else if (equals != std::string::npos && equals > 0) {
      pins->operators.push_back({layout.substr(0, equals), layout.substr(equals + 1)});
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("--layout: '", layout, "' is none of free, split, OPERATOR=SIGNATURE"));
    }
  }
  using LargeSteps = plan::LayoutPins::LargeSteps;
  if (prefill == "same" || prefill == "rows") {
    pins->large_steps = prefill == "same" ? LargeSteps::kSame : LargeSteps::kRows;
  } else if (prefill != "free") {
    return absl::InvalidArgumentError(
        absl::StrCat("--prefill-layout: '", prefill, "' is none of free, same, rows"));
  }
  using Experts = plan::LayoutPins::Experts;
  if (flags.expert_layout == "experts" || flags.expert_layout == "width") {
    pins->experts = flags.expert_layout == "width" ? Experts::kWidth : Experts::kWhole;
  } else if (flags.expert_layout != "free") {
    return absl::InvalidArgumentError(absl::StrCat("--expert-layout: '", flags.expert_layout,
                                                   "' is none of free, experts, width"));
  }
  using Tables = plan::LayoutPins::Tables;
  for (const auto& [name, value] :
       {std::pair("free", Tables::kFree), std::pair("rows", Tables::kRows),
        std::pair("columns", Tables::kColumns), std::pair("selections", Tables::kSelections)}) {
    if (flags.table_layout != name) continue;
    pins->tables = value;
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("--table-layout: '", flags.table_layout,
                                                 "' is none of free, rows, columns, selections"));
}

}  // namespace

void ModelFlags::AddTo(FlagTable* flags, const std::string& model_help) {
  flags->Add("model", &model, "DIR", model_help);
  flags->Add("ignore-config-key", &ignore_config_key, "KEY",
             "A key of the model's config that Mneme does not know and that changes nothing.");
  flags->Add("weights", &weights, "f32|bf16|stored",
             "Widen weights to float32, round them to bfloat16, or take them as stored.");
  flags->Add("huge-pages", &huge_pages,
             "Copy a converted model's weights into memory of huge pages instead of serving them "
             "where its files are mapped: slower to start, and memory of its own, for faster steps "
             "(docs/serving.md).");
  flags->Add("isa", &isa, "portable|avx2|avx512|best", "The instruction set to use.");
  flags->Add("kernels", &kernels, "simd|reference",
             "The kernels to use; `reference` is the plain, slow definition of each.");
  flags->Add("max-step-tokens", &max_step_tokens, {1, kMostTokens}, "N", "Rows of a step.");
  flags->Add("max-sequences", &max_sequences, {1, kMostSequences}, "N",
             "Choices that run at a time.");
  flags->Add("max-model-len", &max_model_len, {0, kMostPositions}, "N",
             "Tokens of the longest sequence; 0: the checkpoint's.");
  flags->Add("kv-cache-mb", &kv_cache_mb, {0, kMostMegabytes}, "MB",
             "Size of the KV cache; 0: what --max-sequences full contexts need, at most a quarter "
             "of the free memory or one context.");
  flags->Add("kv-block-tokens", &kv_block_tokens, {16, kMostTokens}, "N",
             "Positions of a KV block, a multiple of 16.");
  flags->Add("ranks", &ranks, {0, plan::kMaxRanks}, "N",
             "Threads that share the work of each step; 0: as many as pay, at most one per core.");
  flags->Add(
      "processes", &processes, {0, plan::kMaxRanks}, "N",
      "Processes of this host that share the work instead of threads; each holds its part of "
      "the weights, and one that dies is started again.");
  flags->Add(
      "rank-hosts", &rank_hosts, "HOST:PORT,...",
      "Ranks on other hosts (mneme rank --listen) that share the work, instead of --processes. "
      "Their network must be private.");
  flags->Add("rank-token-file", &rank_token_file, "FILE",
             "With --rank-hosts: what the ranks know this process by; 16 to 1024 bytes.");
  flags->Add("rank-bind", &rank_bind, "HOST",
             "With ranks over TCP: this host's name or address in their network.");
  flags->Add("transport", &transport, "auto|shm|tcp",
             "How processes exchange: through shared memory, or over TCP as hosts must.");
  flags->Add("rank-timeout", &rank_timeout, {0.1, 3600}, "S",
             "With --processes: how long a process may be silent before it is started again.");
  flags->Add(
      "layout", &layout, "free|split|OP=SIGNATURE",
      "How the plan divides the work: as the cost model has it; so that no rank has the whole "
      "of a weight that can be split; or one operator (`*`: any characters) by a signature "
      "that `plan` prints, e.g. 'block.*.ffn.up=(B, S(0)) -> S(1)'.");
  flags->Add("table-layout", &table_layout, "free|rows|columns|selections",
             "How the ranks divide value tables.");
  flags->Add("expert-layout", &expert_layout, "free|experts|width",
             "How the ranks divide a Mixture-of-Experts: each has some of the experts, or some "
             "hidden units of every expert.");
  flags->Add("prefill-layout", &prefill_layout, "free|same|rows",
             "How larger steps divide the work, with the same weights and bits: as the cost model "
             "has it; as a decode step does; by the step's rows, wherever that can be.");
  flags->Add("cluster", &cluster, "NAME|FILE",
             "The machines to plan for: what `calibrate` wrote, or NxKIND on paper (cpu, a100, "
             "h100, h200, b200). Without it: what is typical of a CPU.");
  flags->Add(
      "memory-per-rank", &memory_per_rank_mb, {0, kMostMegabytes}, "MB",
      "What one rank may hold of weights, KV cache and registers, in place of what --cluster "
      "says; threads have it together. 0: as the cluster says.");
}

absl::StatusOr<ModelOptions> ModelFlags::ToOptions() const {
  ModelOptions options;
  options.model_directory = model;
  options.inspect.ignored_config_keys = {ignore_config_key.begin(), ignore_config_key.end()};
  if (weights == "f32") {
    options.widen_to_f32 = true;
  } else if (weights == "bf16") {
    options.round_to_bf16 = true;
  } else if (weights != "stored") {
    return absl::InvalidArgumentError(
        absl::StrCat("--weights: '", weights, "' is none of f32, bf16, stored"));
  }
  options.huge_pages = huge_pages;
  if (isa != "best") {
    options.isa = kernels::ParseIsa(isa);
    if (!options.isa.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--isa: '", isa, "' is none of portable, avx2, avx512, best"));
    }
    if (*options.isa > kernels::DetectIsa()) {
      return absl::InvalidArgumentError(absl::StrCat("--isa: this machine has no ", isa,
                                                     ", its best is ",
                                                     kernels::IsaName(kernels::DetectIsa())));
    }
  }
  if (kernels == "reference") {
    options.reference_kernels = true;
  } else if (kernels != "simd") {
    return absl::InvalidArgumentError(
        absl::StrCat("--kernels: '", kernels, "' is none of simd, reference"));
  }
  if (kv_block_tokens % 16 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--kv-block-tokens: ", kv_block_tokens, " is not a multiple of 16"));
  }
  options.max_step_tokens = max_step_tokens;
  options.max_sequences = max_sequences;
  options.max_model_len = max_model_len;
  options.kv_cache_bytes = kv_cache_mb << 20;
  options.kv_block_tokens = kv_block_tokens;
  options.ranks = ranks;
  if (absl::Status status = SetProcesses(&options); !status.ok()) return status;
  if (absl::Status s = ParseLayouts(*this, &options.pins); !s.ok()) return s;
  options.memory_per_rank_bytes = memory_per_rank_mb << 20;
  if (!cluster.empty()) {
    absl::StatusOr<plan::Cluster> loaded = plan::LoadCluster(cluster);
    if (!loaded.ok()) {
      return absl::Status(loaded.status().code(),
                          absl::StrCat("--cluster: ", std::string(loaded.status().message())));
    }
    options.cluster = *std::move(loaded);
  }
  return options;
}

absl::Status ModelFlags::SetProcesses(ModelOptions* options) const {
  if ((ranks > 0) + (processes > 0) + !rank_hosts.empty() > 1) {
    return absl::InvalidArgumentError(absl::StrCat("of --ranks ", ranks, ", --processes ",
                                                   processes, " and --rank-hosts '", rank_hosts,
                                                   "' only one can be"));
  }
  ProcessSettings& process = options->process;
  process.processes = processes;
  if (!rank_hosts.empty()) {
    process.hosts = absl::StrSplit(rank_hosts, ',');
    process.processes = static_cast<int32_t>(process.hosts.size()) + 1;
    absl::StatusOr<std::string> token = ReadToken(rank_token_file);
    if (!token.ok()) return token.status();
    process.token = *std::move(token);
  }
  if (transport != "auto" && transport != "shm" && transport != "tcp") {
    return absl::InvalidArgumentError(
        absl::StrCat("--transport: '", transport, "' is none of auto, shm, tcp"));
  }
  if (transport == "shm" && !rank_hosts.empty()) {
    return absl::InvalidArgumentError("--transport shm: hosts share no memory");
  }
  process.tcp = transport == "tcp";
  process.bind_host = rank_bind;
  // A rank is served by what runs now, whatever its file is called by then.
  process.executable = "/proc/self/exe";
  process.build = kVersion;
  process.rank_timeout_seconds = rank_timeout;
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  if (path.empty()) {
    return absl::InvalidArgumentError("--rank-token-file is needed with ranks on other hosts");
  }
  absl::StatusOr<std::string> token = loader::ReadSmallFile(path, ranks::kMostTokenBytes + 1);
  if (!token.ok()) return token;
  // Editors end files with a line's end.
  while (!token->empty() && (token->back() == '\n' || token->back() == '\r')) token->pop_back();
  if (token->size() < ranks::kLeastTokenBytes || token->size() > ranks::kMostTokenBytes) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": a token has ", ranks::kLeastTokenBytes,
                                                   " to ", ranks::kMostTokenBytes,
                                                   " bytes, this one ", token->size()));
  }
  return token;
}

}  // namespace mneme::cli
