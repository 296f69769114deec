#include "clients/cli/model_flags.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/plan/cluster.h"

namespace mneme::cli {
namespace {

constexpr int32_t kMostTokens = 1 << 20;
// Each takes up a block table and rows of buffers, running or not.
constexpr int32_t kMostSequences = 4096;
constexpr int64_t kMostPositions = int64_t{1} << 24;
// 2^52 bytes.
constexpr int64_t kMostMegabytes = int64_t{1} << 32;

}  // namespace

void ModelFlags::AddTo(FlagTable* flags, const std::string& model_help) {
  flags->Add("model", &model, "DIR", model_help);
  flags->Add("weights", &weights, "f32|bf16|stored",
             "Widen weights to float32, round them to bfloat16, or take them as stored.");
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
  flags->Add("cluster", &cluster, "NAME|FILE",
             "The machines to plan for: what `calibrate` wrote, or NxKIND on paper (cpu, a100, "
             "h100, h200, b200). Without it: what is typical of a CPU.");
}

absl::StatusOr<ModelOptions> ModelFlags::ToOptions() const {
  ModelOptions options;
  options.model_directory = model;
  if (weights == "f32") {
    options.widen_to_f32 = true;
  } else if (weights == "bf16") {
    options.round_to_bf16 = true;
  } else if (weights != "stored") {
    return absl::InvalidArgumentError(
        absl::StrCat("--weights: '", weights, "' is none of f32, bf16, stored"));
  }
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

}  // namespace mneme::cli
