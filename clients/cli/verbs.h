// The verbs of `mneme`, one file each.
#ifndef MNEME_CLIENTS_CLI_VERBS_H_
#define MNEME_CLIENTS_CLI_VERBS_H_

#include "clients/cli/command_line.h"
#include "clients/cli/invocation.h"

namespace mneme::cli {

int RunServe(const Invocation& invocation);
int RunGenerate(const Invocation& invocation);
int RunEval(const Invocation& invocation);
int RunPlan(const Invocation& invocation);
int RunCalibrate(const Invocation& invocation);
int RunInspect(const Invocation& invocation);
int RunConvert(const Invocation& invocation);
int RunTokenize(const Invocation& invocation);
int RunDetokenize(const Invocation& invocation);
int RunDemo(const Invocation& invocation);
int RunLoadVerb(const Invocation& invocation);
int RunBench(const Invocation& invocation);
int RunRank(const Invocation& invocation);

inline constexpr Verb kVerbs[] = {
    {"demo", "stream text from the demo model and measure it", RunDemo},
    {"serve", "serve a model over gRPC", RunServe},
    {"generate", "generate text through a server", RunGenerate},
    {"eval", "logits, greedy tokens or the loss of a text", RunEval},
    {"load", "measure a server: latencies, rates, bytes per token", RunLoadVerb},
    {"bench", "time the steps of a model, operator by operator", RunBench},
    {"plan", "how a model would run: operators, memory, bytes per token", RunPlan},
    {"calibrate", "measure this machine for the planner", RunCalibrate},
    {"inspect", "what a checkpoint holds, or why it is refused", RunInspect},
    {"convert", "write a checkpoint in the form it is served in", RunConvert},
    {"tokenize", "texts to token ids", RunTokenize},
    {"detokenize", "token ids to texts", RunDetokenize},
    {"rank", "serve one rank of a model to its front process (started by it)", RunRank},
};

}  // namespace mneme::cli

#endif  // MNEME_CLIENTS_CLI_VERBS_H_
