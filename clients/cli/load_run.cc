#include "clients/cli/load_run.h"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <random>
#include <thread>

namespace mneme::cli {
namespace {

v1::GenerateRequest LoadRequest(const LoadOptions& options, int32_t request, int32_t vocab_size) {
  v1::GenerateRequest out;
  const std::vector<int32_t> prompt = LoadPrompt(options, request, vocab_size);
  out.mutable_token_ids()->mutable_ids()->Assign(prompt.begin(), prompt.end());
  out.mutable_sampling()->set_temperature(0);
  out.mutable_stopping()->set_max_tokens(options.output_tokens);
  out.mutable_stopping()->set_ignore_eos(true);
  return out;
}

void RunOne(client::Client* client, const v1::GenerateRequest& request, StreamRun* run) {
  run->clock.Start();
  const std::unique_ptr<client::GenerateStream> stream = client->Start(request, {});
  v1::GenerateReply reply;
  while (stream->Next(&reply)) {
    for (const v1::ChoiceDelta& delta : reply.choices()) {
      run->clock.OnTokens(delta.token_ids_size());
    }
    run->result.Add(reply);
  }
  run->clock.Stop();
  run->status = stream->Finish();
}

}  // namespace

std::vector<int32_t> LoadPrompt(const LoadOptions& options, int32_t request, int32_t vocab_size) {
  std::mt19937_64 random(options.seed * 1'000'003 + static_cast<uint64_t>(request));
  std::uniform_int_distribution<int32_t> id(1, std::max(1, vocab_size - 1));
  std::vector<int32_t> prompt(static_cast<size_t>(options.prompt_tokens));
  for (int32_t& token : prompt) token = id(random);
  return prompt;
}

absl::StatusOr<LoadResult> RunLoad(client::Client* client, const LoadOptions& options) {
  const absl::StatusOr<v1::GetModelReply> model = client->GetModel();
  if (!model.ok()) return model.status();
  LoadResult result;
  absl::StatusOr<v1::GetStatsReply> stats = client->GetStats();
  if (!stats.ok()) return stats.status();
  result.before = *stats;
  result.runs.resize(static_cast<size_t>(options.requests));
  std::atomic<int32_t> next{0};
  const auto work = [&] {
    for (int32_t i = next++; i < options.requests; i = next++) {
      StreamRun* run = &result.runs[static_cast<size_t>(i)];
      RunOne(client, LoadRequest(options, i, model->vocab_size()), run);
      if (!run->status.ok()) next = options.requests;
    }
  };
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> readers;
  readers.reserve(static_cast<size_t>(options.streams));
  for (int32_t i = 0; i < options.streams; ++i) readers.emplace_back(work);
  for (std::thread& reader : readers) reader.join();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (const StreamRun& run : result.runs) {
    if (!run.status.ok()) return run.status;
  }
  stats = client->GetStats();
  if (!stats.ok()) return stats.status();
  result.after = *stats;
  return result;
}

std::string LoadTable(const LoadResult& result) {
  std::string out = StreamTable(result.runs, result.seconds);
  const double steps =
      static_cast<double>(result.after.steps_total() - result.before.steps_total());
  const double step_seconds =
      result.after.step_seconds_total() - result.before.step_seconds_total();
  const double runtime_seconds =
      result.after.runtime_seconds_total() - result.before.runtime_seconds_total();
  if (steps <= 0 || step_seconds <= 0) return out;
  char lines[400];
  std::snprintf(lines, sizeof lines,
                "%-24s %.0f of %.3f ms, %.1f %% of the time\n"
                "%-24s %.2f %% of a step\n",
                "steps", steps, step_seconds / steps * 1e3, 100 * step_seconds / result.seconds,
                "runtime's own share", 100 * runtime_seconds / step_seconds);
  return out + lines;
}

}  // namespace mneme::cli
