#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "clients/cli/evaluation.h"
#include "clients/cli/model_flags.h"
#include "clients/cli/perplexity.h"
#include "clients/cli/verbs.h"
#include "nlohmann/json.hpp"

namespace mneme::cli {
namespace {

struct Flags {
  ModelFlags model;
  std::string ids;
  std::string out;
  std::string perplexity;
  int64_t window = 256;
  int32_t greedy = 0;
  bool trace = false;
  bool json = false;

  FlagTable Table() {
    FlagTable flags("eval", "",
                    "Computes, through the schedule, plan and kernels of serving, either the "
                    "logits of given token ids (--ids, --out) or the loss of a text "
                    "(--perplexity).");
    model.AddTo(&flags, "The checkpoint.");
    flags.Add("ids", &ids, "IN.safetensors",
              "Holds input_ids [B, T] int64, and perhaps greedy_prompt.");
    flags.Add("out", &out, "OUT.safetensors", "Gets logits [B, T, embedding size] float32.");
    flags.Add("trace", &trace,
              "Also write mem_grid_index.i, mem_score.i and mem_out.i of every memory layer i, and "
              "router_topk.l and router_weight.l of every block l with experts.");
    flags.Add("greedy", &greedy, "N",
              "Also write greedy [B, N]: greedy continuations of greedy_prompt, or of input_ids.");
    flags.Add("perplexity", &perplexity, "FILE.txt", "Print the mean loss of this text.");
    flags.Add("window", &window, "W", "Tokens of a window of --perplexity.");
    flags.Add("json", &json, "Print the result of --perplexity as one JSON object.");
    return flags;
  }
};

int Usage(const Invocation& invocation, const std::string& message) {
  invocation.err << "mneme eval: " << message << std::endl;
  return kExitUsage;
}

int PrintPerplexity(const Invocation& invocation, const Flags& flags, const ModelOptions& options) {
  const absl::StatusOr<PerplexityResult> result =
      Perplexity({.model = options, .text_path = flags.perplexity, .window = flags.window});
  if (!result.ok()) return Fail(invocation, "eval", result.status());
  if (flags.json) {
    const nlohmann::ordered_json json = {{"loss", result->loss},
                                         {"loss_per_byte", result->loss_per_byte},
                                         {"perplexity", std::exp(result->loss)},
                                         {"window", flags.window},
                                         {"windows", result->windows},
                                         {"predictions", result->predictions},
                                         {"tokens", result->tokens},
                                         {"bytes", result->bytes},
                                         {"predicted_bytes", result->predicted_bytes}};
    invocation.out << json.dump() << "\n";
    return 0;
  }
  char text[512];
  std::snprintf(text, sizeof text,
                "loss per token   %.5f nats (perplexity %.3f)\n"
                "loss per byte    %.5f nats (%.4f bits)\n"
                "predictions      %lld in %lld windows of %lld\n"
                "text             %lld tokens, %lld bytes\n",
                result->loss, std::exp(result->loss), result->loss_per_byte,
                result->loss_per_byte / std::log(2.0), static_cast<long long>(result->predictions),
                static_cast<long long>(result->windows), static_cast<long long>(flags.window),
                static_cast<long long>(result->tokens), static_cast<long long>(result->bytes));
  invocation.out << text;
  return 0;
}

}  // namespace

int RunEval(const Invocation& invocation) {
  Flags flags;
  FlagTable table = flags.Table();
  int exit_status = 0;
  if (!ParseFlags(invocation, &table, 0, &exit_status)) return exit_status;
  const bool logits = !flags.ids.empty() || !flags.out.empty();
  if (flags.model.model.empty()) return Usage(invocation, "--model is needed");
  if (logits == !flags.perplexity.empty()) {
    return Usage(invocation, "either --ids and --out, or --perplexity is needed");
  }
  if (logits && (flags.ids.empty() || flags.out.empty())) {
    return Usage(invocation, "--ids and --out belong together");
  }
  for (const char* flag : {"trace", "greedy"}) {
    if (!logits && table.given(flag)) {
      return Usage(invocation, absl::StrCat("--", flag, " goes with --ids, not with --perplexity"));
    }
  }
  for (const char* flag : {"window", "json"}) {
    if (logits && table.given(flag)) {
      return Usage(invocation, absl::StrCat("--", flag, " goes with --perplexity, not with --ids"));
    }
  }
  if (flags.greedy < 0) return Usage(invocation, "--greedy must not be negative");
  if (flags.window < 1) return Usage(invocation, "--window must be at least 1");
  const absl::StatusOr<ModelOptions> options = flags.model.ToOptions();
  if (!options.ok()) return Fail(invocation, "eval", options.status());
  if (!logits) return PrintPerplexity(invocation, flags, *options);
  const absl::Status status = Evaluate({.model = *options,
                                        .ids_path = flags.ids,
                                        .out_path = flags.out,
                                        .trace = flags.trace,
                                        .greedy_tokens = flags.greedy});
  return status.ok() ? 0 : Fail(invocation, "eval", status);
}

}  // namespace mneme::cli
